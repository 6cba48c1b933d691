/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process.c - fork and exec: a child runs on to its end while its parent waits.
 *
 * Theory of operation. A fork copies all of the program's memory aside, and everything a process has of its own:
 * descriptors, working directory, what it does with signals. The child is a thread of another group in the same
 * memory; threads of the parent's group do not run. At the child's end memory and the rest are put back and the parent
 * goes on. vfork and its kind copy only when the child executes, since until then they share by design. What is executed
 * is any program of the image; what the program itself has written cannot become executable.
 */
#include "unikernel/process.h"

#include <linux/sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "unikernel/answers.h"
#include "unikernel/descriptors.h"
#include "unikernel/exit.h"
#include "unikernel/heap.h"
#include "unikernel/path.h"
#include "unikernel/signals.h"
#include "unikernel/wide.h"

#define WORDS_MOST 65536u
#define DEPTH_MOST 16

struct ended {
	struct ended *next;
	int32_t id;
	int status;
};

struct process {
	struct process *parent;
	int32_t id;
	struct ended *ended; /* children that nobody has waited for */
	/* What the parent gets back at the end of this one. */
	struct thread *waiting;
	struct memory_copy *memory; /* NULL while it is shared */
	struct wide *wide;
	struct descriptors *descriptors;
	struct signals_copy *signals;
	struct node *working;
	struct program program;
	uint32_t umask;
	int8_t nice;
	bool has_executed, has_ended;
};

static struct process first = { .id = 1 };
static struct process *current = &first;
static int depth;
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

void process_init(
	const struct boot *given, const struct program *first_program, uint64_t start, uint64_t end)
{
	boot = *given;
	program = *first_program;
	node_hold(program.node);
	stack_start = start;
	stack_end = end;
	signals_set_end(end_by_signal);
}

const struct program *process_program(void)
{
	return &program;
}

static void set_current(struct process *process)
{
	current = process;
	answers[SYS_getpid] = process->id;
	answers[SYS_getppid] = process->parent ? process->parent->id : 0;
}

/* Below the stack pointer nothing of the caller's is worth a copy. */
static struct memory_copy *copy_memory(uint64_t sp)
{
	bool is_main = sp > stack_start && sp <= stack_end;
	return memory_copy(is_main ? stack_start : 0, is_main ? (sp - 4096) & ~UINT64_C(4095) : 0);
}

static void free_child(struct process *child)
{
	if (child->memory)
		memory_copy_free(child->memory);
	wide_free(child->wide);
	if (child->descriptors)
		descriptors_free(child->descriptors);
	heap_free(child->signals);
	node_drop(child->program.node);
	heap_free(child);
}

static struct process *new_child(const struct registers *r, uint64_t flags)
{
	struct process *child = heap_alloc(sizeof(*child));
	if (!child)
		return NULL;
	child->parent = current;
	child->waiting = current_thread;
	child->descriptors = descriptors_copy();
	child->signals = signals_copy();
	child->working = path_working;
	child->umask = path_umask;
	child->nice = current->nice;
	child->program = program;
	node_hold(program.node);
	if (!(flags & CLONE_VM))
		child->memory = copy_memory(r->rsp);
	bool has_wide = !(flags & CLONE_VM) && wide_is_used();
	if (has_wide)
		child->wide = wide_fork();
	if ((has_wide && !child->wide) || !child->descriptors || !child->signals ||
		(!child->memory && !(flags & CLONE_VM))) {
		free_child(child);
		return NULL;
	}
	return child;
}

static void put_back(struct process *child)
{
	descriptors_put_back(child->descriptors);
	child->descriptors = NULL;
	signals_put_back(child->signals);
	child->signals = NULL;
	node_drop(path_working);
	path_working = child->working;
	path_umask = child->umask;
	if (child->has_executed) {
		load_unmap(&program);
		if (load_again(&child->program) < 0)
			kernel_exit(128 + SIGKILL);
	}
	node_drop(program.node);
	program = child->program;
	if (child->memory) {
		memory_put_back(child->memory);
		wide_end();
		wide_enter(child->wide);
	}
	child->memory = NULL;
}

int64_t process_fork(const struct registers *r, const struct fork_request *request)
{
	if (depth >= DEPTH_MOST)
		return -EAGAIN;
	struct registers begin = *r;
	begin.rax = 0;
	if (request->stack)
		begin.rsp = request->stack;
	struct process *child = new_child(r, request->flags);
	struct thread *thread = child ? thread_new(&begin) : NULL;
	if (!thread) {
		if (child)
			free_child(child);
		return child ? -EAGAIN : -ENOMEM;
	}
	child->id = thread->id;
	thread->group = (uint32_t)child->id;
	thread->fs = request->flags & CLONE_SETTLS ? request->fs : thread_fs();
	thread->blocked = current_thread->blocked;
	thread->other_stack = current_thread->other_stack;
	memcpy(thread->name, current_thread->name, sizeof(thread->name));
	if (request->flags & CLONE_CHILD_SETTID)
		*(int32_t *)at(request->child_tid) = thread->id;
	if (request->flags & CLONE_PARENT_SETTID)
		*(int32_t *)at(request->parent_tid) = thread->id;
	node_hold(path_working);
	depth++;
	set_current(child);
	uint32_t group = thread_set_group(thread->group);
	thread_ready(thread);
	while (!child->has_ended)
		(void)thread_wait_frozen();
	/* The child has put everything back and is gone. */
	(void)group;
	int64_t id = child->id;
	heap_free(child);
	return id;
}

void process_end(int status)
{
	kernel_has_no_caller = true; /* whoever called does not come back */
	struct process *child = current;
	struct process *parent = child->parent;
	if (!parent)
		return;
	struct ended *ended = heap_alloc(sizeof(*ended));
	put_back(child);
	if (ended) {
		*ended = (struct ended){ parent->ended, child->id, status };
		parent->ended = ended;
	}
	while (child->ended) {
		struct ended *next = child->ended->next;
		heap_free(child->ended);
		child->ended = next;
	}
	depth--;
	set_current(parent);
	child->has_ended = true;
	(void)thread_set_group(child->waiting->group);
	thread_ready(child->waiting);
	signals_raise(child->waiting, SIGCHLD);
	thread_exit();
}

int64_t process_wait(int32_t wanted, bool stays, int *ret_status)
{
	if (!current->ended)
		return -ECHILD;
	for (struct ended **link = &current->ended; *link; link = &(*link)->next) {
		struct ended *one = *link;
		if (wanted > 0 && one->id != wanted)
			continue;
		/* The oldest first: it stands last. */
		if (wanted <= 0 && one->next)
			continue;
		int32_t id = one->id;
		*ret_status = one->status;
		if (stays)
			return id;
		*link = one->next;
		heap_free(one);
		return id;
	}
	return wanted > 0 ? -ECHILD : 0;
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
	load_unmap(&program);
	wide_end();
	memory_reset(stack_start, stack_end);
	current->has_executed = true;
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
	if (e == 0 && current->parent && !current->memory) {
		/* Until here it was shared with the parent, which must find it as it is now. */
		current->memory = copy_memory(current->waiting == current_thread ? 0 : r->rsp);
		e = current->memory ? 0 : -ENOMEM;
		if (e == 0)
			current->wide = wide_leave();
	}
	if (e == 0)
		begin_anew(r, &words, arguments, node, path);
	heap_free(words.bytes);
	return e < 0 ? e : 0;
}
