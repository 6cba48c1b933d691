/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process.c - fork, exec and the end of processes, which take turns.
 *
 * Theory of operation. One process has its memory, descriptors and signals in place and runs; all others have theirs in
 * struct process (memory_copy.c). Threads of one group belong to one process; where no thread of the running one can go on,
 * another process takes its place. A forked child goes first: what it executes, or its end, is mostly near. vfork and its kind
 * share the parent's memory until they execute or end, and as long the parent is lent: it does not run. What is executed is any
 * program of the image; what the program itself has written cannot become executable.
 */
#include "unikernel/process.h"

#include <linux/sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "unikernel/answers.h"
#include "unikernel/descriptors.h"
#include "unikernel/exit.h"
#include "unikernel/heap.h"
#include "unikernel/memory_copy.h"
#include "unikernel/path.h"
#include "unikernel/signals.h"
#include "unikernel/wide.h"

#define WORDS_MOST     65536u
#define PROCESSES_MOST 64

struct process {
	struct process *next; /* all */
	struct process *parent;
	int32_t id, team, session;
	uint32_t group; /* of its threads */
	int status;     /* once it has ended */
	bool has_ended;
	bool is_lent;               /* a child has its memory */
	struct thread *lender;      /* of a child that has its parent's: who waits for it */
	struct wait_queue children; /* who waits for the end of one */
	struct memory_copy *memory; /* while it does not run: this and the following */
	struct wide *wide;
	struct descriptors *descriptors;
	struct signals_copy *signals;
	struct node *working;
	struct program program;
	uint32_t umask;
	int8_t nice;
};

static struct process first = { .id = 1, .team = 1, .session = 1 };
static struct process *current = &first, *all = &first;
static int count = 1;
static struct boot boot;
static struct program program;
static uint64_t stack_start, stack_end;

int8_t *process_nice(void)
{
	return &current->nice;
}

static void end_by_signal(int signal)
{
	process_end(signal);
}

static bool run_group(uint32_t group);

void process_init(
	const struct boot *given, const struct program *first_program, uint64_t start, uint64_t end)
{
	boot = *given;
	program = *first_program;
	node_hold(program.node);
	stack_start = start;
	stack_end = end;
	signals_set_end(end_by_signal);
	signals_set_outside(process_signal_outside);
	signals_set_kill(process_kill);
	thread_set_switch(run_group);
}

const struct program *process_program(void)
{
	return &program;
}

int32_t process_id(void)
{
	return current->id;
}

int32_t process_parent(void)
{
	return current->parent ? current->parent->id : 0;
}

static void set_current(struct process *process)
{
	current = process;
	answers[SYS_getpid] = process->id;
	answers[SYS_getppid] = process_parent();
}

static struct process *find(int32_t id)
{
	struct process *one = all;
	while (one && one->id != id)
		one = one->next;
	return one;
}

/* Below all of its stack pointers nothing of the main stack is worth a copy. */
static struct memory_stack stack_of(const struct process *process)
{
	struct memory_stack stack = { .all = { stack_start, stack_end } };
	uint64_t lowest = stack_end + 1;
	for (const struct thread *thread = all_threads; thread; thread = thread->next) {
		const struct registers *r = at(thread->kernel_sp - sizeof(*r));
		if (thread->group == process->group && r->rsp > stack_start && r->rsp < lowest)
			lowest = r->rsp;
	}
	if (lowest <= stack_end && lowest - stack_start > 2 * KERNEL_PAGE)
		stack.unused = (struct memory_span){ stack_start,
			(lowest - KERNEL_PAGE) & ~(uint64_t)(KERNEL_PAGE - 1) };
	return stack;
}

static void leave_rest(struct process *process)
{
	process->descriptors = descriptors_leave();
	process->signals = signals_copy();
	if (!process->descriptors || !process->signals)
		memory_is_out();
	process->working = path_working;
	process->umask = path_umask;
	process->program = program;
}

/* `from`: the memory of who ran until now; NULL if that has ended. */
static void enter(struct process *to, struct memory_copy *from)
{
	if (to->memory) {
		if (to->program.node != program.node) {
			load_unmap(&program);
			if (load_again(&to->program) < 0)
				memory_is_out();
		}
		memory_enter(from, to->memory);
		wide_enter(to->wide);
	}
	to->memory = NULL;
	to->wide = NULL;
	descriptors_put_back(to->descriptors);
	signals_put_back(to->signals);
	to->descriptors = NULL;
	to->signals = NULL;
	path_working = to->working;
	path_umask = to->umask;
	program = to->program;
	set_current(to);
}

static bool run_group(uint32_t group)
{
	struct memory_copy *from = NULL;
	struct process *to = all;
	struct node *ended = current ? NULL : program.node;
	while (to && (to->group != group || to->has_ended))
		to = to->next;
	if (!to || to->is_lent)
		return false;
	if (current) {
		struct memory_stack stack = stack_of(current);
		from = memory_leave(&stack);
		if (!from)
			memory_is_out();
		current->memory = from;
		current->wide = wide_leave();
		leave_rest(current);
	}
	enter(to, from);
	if (ended)
		node_drop(ended);
	return true;
}

static void free_process(struct process *process)
{
	for (struct process **link = &all; *link; link = &(*link)->next)
		if (*link == process) {
			*link = process->next;
			break;
		}
	count--;
	heap_free(process);
}

/* What the parent has while its child runs; false without memory. */
static bool put_parent_aside(struct process *parent, bool is_lent)
{
	parent->descriptors = descriptors_copy();
	bool is_whole = parent->descriptors != NULL;
	if (is_whole && !is_lent) {
		struct memory_stack stack = stack_of(parent);
		bool has_wide = wide_is_used();
		parent->memory = memory_fork(&stack);
		parent->wide = parent->memory && has_wide ? wide_fork() : NULL;
		is_whole = parent->memory && (!has_wide || parent->wide);
	}
	parent->signals = is_whole ? signals_copy() : NULL;
	if (parent->signals) {
		parent->working = path_working;
		parent->umask = path_umask;
		parent->program = program;
		parent->is_lent = is_lent;
		node_hold(path_working); /* the child's */
		node_hold(program.node);
		return true;
	}
	if (parent->memory)
		memory_drop(parent->memory);
	wide_free(parent->wide);
	if (parent->descriptors)
		descriptors_free(parent->descriptors);
	parent->memory = NULL;
	parent->wide = NULL;
	parent->descriptors = NULL;
	return false;
}

int64_t process_fork(const struct registers *r, const struct fork_request *request)
{
	struct process *parent = current, *child;
	struct registers begin = *r;
	if (count >= PROCESSES_MOST)
		return -EAGAIN;
	begin.rax = 0;
	if (request->stack)
		begin.rsp = request->stack;
	child = heap_alloc(sizeof(*child));
	struct thread *thread = child ? thread_new(&begin) : NULL;
	bool is_lent = (request->flags & CLONE_VM) != 0;
	if (!thread || !put_parent_aside(parent, is_lent)) {
		if (thread)
			thread_drop(thread);
		heap_free(child);
		return -ENOMEM;
	}
	int64_t id = thread->id;
	*child = (struct process){ .next = all,
		.parent = parent,
		.id = thread->id,
		.group = (uint32_t)thread->id,
		.team = parent->team,
		.session = parent->session,
		.nice = parent->nice,
		.lender = is_lent ? current_thread : NULL };
	all = child;
	count++;
	thread->group = child->group;
	thread->fs = request->flags & CLONE_SETTLS ? request->fs : thread_fs();
	thread->blocked = current_thread->blocked;
	thread->other_stack = current_thread->other_stack;
	memcpy(thread->name, current_thread->name, sizeof(thread->name));
	if (request->flags & CLONE_CHILD_SETTID)
		*(int32_t *)at(request->child_tid) = thread->id;
	if (request->flags & CLONE_PARENT_SETTID)
		*(int32_t *)at(request->parent_tid) = thread->id;
	set_current(child);
	(void)thread_set_group(child->group);
	thread_ready(thread);
	if (!is_lent)
		thread_ready(current_thread);
	do
		thread_wait_frozen();
	while (parent->is_lent);
	return id;
}

/* To a process that may not run just now. */
static void signal_to(struct process *process, int signal, const siginfo_t *info)
{
	if (process->has_ended)
		return;
	if (process == current)
		signals_send(NULL, signal, info);
	else
		signals_send_aside(process->signals, process->group, signal, info);
}

void process_signal(int32_t id, int signal)
{
	struct process *process = find(id);
	siginfo_t info = { .si_signo = signal, .si_code = SI_KERNEL };
	if (process)
		signal_to(process, signal, &info);
}

bool process_is_there(int32_t id)
{
	const struct process *process = find(id);
	return process && !process->has_ended;
}

/* What a terminal sends is for all, the rest for the first. */
void process_signal_outside(int signal)
{
	siginfo_t info = { .si_signo = signal, .si_code = SI_KERNEL };
	bool is_for_all = signal == SIGINT || signal == SIGQUIT || signal == SIGWINCH;
	for (struct process *one = all; one; one = one->next)
		if (one == &first || is_for_all)
			signal_to(one, signal, &info);
}

static bool is_meant(const struct process *process, int32_t wanted)
{
	if (wanted > 0)
		return process->id == wanted;
	if (wanted == -1)
		return true;
	return process->team == (wanted == 0 ? current->team : -wanted);
}

int64_t process_kill(int32_t wanted, int signal)
{
	siginfo_t info = { .si_signo = signal, .si_code = SI_USER };
	bool has_any = false;
	info.si_pid = current->id;
	for (struct process *one = all; one; one = one->next) {
		if (!is_meant(one, wanted) || (wanted == -1 && (one == current || one == &first)))
			continue;
		has_any = true;
		if (signal)
			signal_to(one, signal, &info);
	}
	return has_any ? 0 : -ESRCH;
}

static void tell_parent(struct process *child)
{
	struct process *parent = child->parent;
	siginfo_t info = { .si_signo = SIGCHLD };
	info.si_code = WIFEXITED(child->status) ? CLD_EXITED : CLD_KILLED;
	info.si_pid = child->id;
	info.si_status =
		WIFEXITED(child->status) ? WEXITSTATUS(child->status) : WTERMSIG(child->status);
	bool is_wanted = signals_want_children(parent->signals);
	signal_to(parent, SIGCHLD, &info);
	wait_notify(&parent->children);
	if (!is_wanted)
		free_process(child);
}

void process_end(int status)
{
	struct process *child = current, *parent = child->parent;
	if (!parent)
		return;
	thread_end_others();
	kernel_has_no_caller = true; /* whoever called does not come back */
	descriptors_close_all();
	node_drop(path_working);
	for (struct process *one = all, *next; one; one = next) {
		next = one->next;
		if (one->parent != child)
			continue;
		one->parent = &first;
		if (one->has_ended)
			tell_parent(one);
	}
	child->status = status;
	child->has_ended = true;
	(void)thread_set_group(GROUP_NONE);
	if (child->lender) {
		struct node *ended = program.node;
		struct thread *lender = child->lender;
		parent->is_lent = false;
		enter(parent, NULL);
		node_drop(ended);
		(void)thread_set_group(parent->group);
		tell_parent(child);
		thread_ready(lender);
	} else {
		wide_end();
		current = NULL;
		tell_parent(child);
	}
	thread_exit();
}

int64_t process_wait(int32_t wanted, int options, int *ret_status)
{
	struct process *self = current;
	for (;;) {
		bool has_any = false;
		struct process *found = NULL;
		for (struct process *one = all; one; one = one->next) {
			if (one->parent != self || !is_meant(one, wanted))
				continue;
			has_any = true;
			if (one->has_ended)
				found = one; /* the oldest stands last */
		}
		if (found) {
			int32_t id = found->id;
			*ret_status = found->status;
			if (!(options & WNOWAIT))
				free_process(found);
			return id;
		}
		if (!has_any)
			return -ECHILD;
		if (options & WNOHANG)
			return 0;
		int r = wait_on(&self->children, FOREVER);
		if (r < 0)
			return r;
	}
}

int64_t process_team(int32_t id, bool wants_session)
{
	const struct process *process = id ? find(id) : current;
	if (!process)
		return -ESRCH;
	return wants_session ? process->session : process->team;
}

int64_t process_set_team(int32_t id, int32_t team)
{
	struct process *process = id ? find(id) : current;
	if (!process || (process != current && process->parent != current))
		return -ESRCH;
	if (team < 0)
		return -EINVAL;
	if (process->session == process->id || process->session != current->session)
		return -EPERM;
	process->team = team ? team : process->id;
	return 0;
}

int64_t process_new_session(void)
{
	for (const struct process *one = all; one; one = one->next)
		if (one->team == current->id)
			return -EPERM;
	current->team = current->session = current->id;
	return current->id;
}

/* Words one behind the other, as struct boot has them. */
struct words {
	char *bytes;
	uint64_t length;
	uint32_t count;
};

static int add_word(struct words *words, const char *word)
{
	size_t length = strlen(word) + 1;
	if (words->length + length > WORDS_MOST)
		return -E2BIG;
	memcpy(words->bytes + words->length, word, length);
	words->length += length;
	words->count++;
	return 0;
}

static int add_words(struct words *words, char *const *list)
{
	int r = 0;
	for (uint32_t i = 0; r == 0 && list && list[i]; i++)
		r = add_word(words, list[i]);
	return r;
}

int process_read_script(struct node *node, char *line, const char **ret_word)
{
	memset(line, 0, SCRIPT_LINE);
	int64_t got = node_read(node, line, SCRIPT_LINE - 1, 0);
	if (got < 4 || line[0] != '#' || line[1] != '!')
		return 0;
	char *c = line + 2;
	while (*c == ' ' || *c == '\t')
		c++;
	char *start = c;
	while (*c && *c != ' ' && *c != '\t' && *c != '\n')
		c++;
	char *word = c;
	while (*word == ' ' || *word == '\t')
		*word++ = '\0';
	char *end = word;
	while (*end && *end != '\n')
		end++;
	if (*c == '\n')
		*c = '\0';
	*end = '\0';
	memmove(line, start, strlen(start) + 1);
	*ret_word = word == c ? "" : word;
	return 1;
}

int process_find_file(const char *path, struct node **ret)
{
	int r = path_find(path_working, path, true, ret);
	if (r == 0 && (!S_ISREG((*ret)->mode) || !((*ret)->mode & 0111)))
		r = -EACCES;
	return r;
}

/* The program itself, or for a script the one that reads it; *path becomes its name. */
static int find_program(
	struct words *words, const char **path, char *const *list, char *line, struct node **ret)
{
	const char *word = NULL, *script = *path;
	int r = process_find_file(*path, ret);
	if (r < 0)
		return r;
	if (!process_read_script(*ret, line, &word))
		return add_words(words, list);
	*path = line;
	r = process_find_file(line, ret);
	if (r == 0)
		r = add_word(words, line);
	if (r == 0 && *word)
		r = add_word(words, word);
	if (r == 0)
		r = add_word(words, script);
	return r == 0 && list && list[0] ? add_words(words, list + 1) : r;
}

static void name_thread(struct thread *thread, const char *path)
{
	const char *name = path;
	memset(thread->name, 0, sizeof(thread->name));
	for (const char *c = name; *c; c++)
		if (*c == '/')
			name = c + 1;
	memcpy(thread->name, name, strlen(name) < 15 ? strlen(name) : 15);
}

/* `to` has PROGRAM_PATH bytes; what is longer has no name. */
static void make_absolute(const char *path, char *to)
{
	int64_t length = path[0] == '/' ? 1 : path_of(path_working, to, PROGRAM_PATH);
	size_t start = length > 2 ? (size_t)length - 1 : 0; /* none for the root */
	bool has_slash = path[0] == '/';
	if (length < 0 || start + !has_slash + strlen(path) >= PROGRAM_PATH) {
		to[0] = '\0';
		return;
	}
	if (!has_slash)
		to[start++] = '/';
	memcpy(to + start, path, strlen(path) + 1);
}

/* There is no way back from here: what goes wrong ends the process. */
static void begin_anew(struct registers *r, const struct words *words, uint32_t arguments,
	struct node *node, const char *path)
{
	struct boot start = boot;
	struct thread *self = current_thread;
	struct program fresh;
	char name[PROGRAM_PATH]; /* the caller's memory goes */
	make_absolute(path, name);
	kernel_has_no_caller = true;
	start.words_address = address_of(words->bytes);
	start.words_bytes = (uint32_t)words->length;
	start.argument_count = arguments;
	start.environment_count = words->count - arguments;
	struct memory_stack stack = { .all = { stack_start, stack_end } };
	thread_end_others();
	load_unmap(&program);
	if (current->lender) {
		current->parent->wide = wide_leave();
		memory_begin(current->parent->memory, &stack);
		current->parent->is_lent = false;
		thread_ready(current->lender);
		current->lender = NULL;
	} else {
		wide_end();
	}
	memory_reset(stack_start, stack_end);
	struct node *before = program.node;
	node_hold(node);
	program = (struct program){ .node = node }; /* should that fail */
	if (load_program(node, name, &fresh) < 0) {
		process_end(SIGKILL);
		kernel_exit(128 + SIGKILL);
	}
	node_drop(node);
	program = fresh;
	node_hold(program.node);
	node_drop(before);
	*r = (struct registers){ .cs = r->cs, .ss = r->ss, .rflags = 0x202, .number = UINT64_MAX };
	r->rip = program.first;
	r->rsp = load_stack(&start, &program, stack_end);
	unikernel_must_look = true;
	thread_set_fs(0);
	self->clear_child_tid = self->robust_list = 0;
	self->other_stack = (stack_t){};
	self->has_blocked_before = false;
	name_thread(self, name);
	signals_reset();
	descriptors_close_on_exec();
	kernel_has_no_caller = false;
}

int64_t process_execute(
	struct registers *r, const char *path, char *const *list, char *const *settings)
{
	struct words words = { .bytes = heap_alloc_raw(WORDS_MOST) };
	struct node *node = NULL;
	char line[SCRIPT_LINE];
	int e = words.bytes ? find_program(&words, &path, list, line, &node) : -ENOMEM;
	uint32_t arguments = words.count;
	if (e == 0)
		e = add_words(&words, settings);
	if (e == 0)
		e = load_check(node);
	if (e == 0 && current->lender) {
		/* Until here it was shared with the parent, which must find it as it is now. */
		struct memory_stack stack = stack_of(current->parent);
		current->parent->memory = memory_leave(&stack);
		e = current->parent->memory ? 0 : -ENOMEM;
	}
	if (e == 0)
		begin_anew(r, &words, arguments, node, path);
	heap_free(words.bytes);
	return e < 0 ? e : 0;
}
