/* SPDX-License-Identifier: Apache-2.0 */
/*
 * instance.c - from the plan of a unikernel to its locked process, and until its end.
 *
 * Theory of operation. The runner makes all that needs rights: the image, the volume, the tap, the terminal. Meanwhile the
 * daemon makes the control groups and the rules of the network, and greets.
 * Its child enters the control groups, leaves every namespace, becomes a user of its own, loads the program and
 * locks itself; the runner stays as its keeper. The child holds a pipe open until it is locked: what it writes
 * into it is why the instance could not be started, its end without a word that the program runs.
 */
#include "tender/instance.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>

#include "base/file.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/text.h"
#include "host/process.h"
#include "model/json.h"
#include "runner/await.h"
#include "runner/keeper.h"
#include "tender/build.h"
#include "tender/enter.h"
#include "tender/machine.h"
#include "tender/machine_state.h"
#include "tender/monitor.h"
#include "tender/plan.h"
#include "tender/plug.h"
#include "tender/process.h"
#include "tender/suspend.h"

#define PLAN_BYTES_MAX MIB
#define STATE_BESIDE   (256 * MIB) /* of a state: the program where it is linked to, the library OS */
#define LAST_WORDS_MS  5000        /* a bound: what it waits for is the end of the terminal */

struct instance {
	struct tender_plan *plan;
	int image, terminal, slave, volume;
	uint64_t volume_bytes;
	struct card card;
	int ready[2]; /* the child's end is [1] */
	struct suspend suspend;
	int kvm;     /* or -1 */
	int channel; /* the child's end of that one's, or -1 */
	int restore; /* the file that it goes on from, or -1 */
	struct snapshot_place place;
	uint64_t clock_ahead_ns;
	const void *root;
	size_t root_bytes;
	struct report *report; /* shared with the child; what stands in it is not trusted */
};

static int open_image(struct instance *instance, struct error *e)
{
	struct stat status;
	int r = build_image(instance->plan, e);
	if (r < 0)
		return r;
	int fd = open(instance->plan->image, O_RDONLY | O_CLOEXEC); /* for the child */
	if (fd < 0 || fstat(fd, &status) < 0)
		return error_errno(e, "open %s", instance->plan->image);
	instance->root_bytes = (size_t)status.st_size;
	instance->image = fd;
	bool is_fixed = !instance->plan->is_machine &&
		(instance->plan->is_stateful || instance->plan->restore);
	instance->place.image_bytes = instance->root_bytes;
	instance->place.image_time =
		(uint64_t)status.st_mtim.tv_sec * NS_PER_SEC + (uint64_t)status.st_mtim.tv_nsec;
	instance->root =
		mmap(is_fixed ? (void *)(uintptr_t)SNAPSHOT_IMAGE_AT : NULL, instance->root_bytes,
			PROT_READ, MAP_PRIVATE | (is_fixed ? MAP_FIXED_NOREPLACE : 0), fd, 0);
	return instance->root == MAP_FAILED ? error_errno(e, "map %s", instance->plan->image) : 0;
}

/* Its storage: a block device or a file as large as one. */
static int open_volume(struct instance *instance, struct error *e)
{
	const char *path = instance->plan->volume;
	if (!path)
		return 0;
	int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC); /* for the child */
	off_t bytes = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
	if (bytes < 0)
		return error_errno(e, "open %s", path);
	instance->volume = fd;
	instance->volume_bytes = (uint64_t)bytes;
	/* What goes on from a snapshot knows what stands on it. */
	return instance->restore < 0 ? build_volume(fd, instance->volume_bytes, e) : 0;
}

/* Its clock does not go back, though the host's does when that is started anew. */
static int keep_clock(struct instance *instance, struct error *e)
{
	uint64_t now = loop_now(), then = instance->place.clock_ns;
	if (then <= now)
		return 0;
	uint64_t ahead_s = (then - now) / NS_PER_SEC + 1;
	if (unshare(CLONE_NEWTIME) < 0)
		return error_errno(e, "a time namespace: the host was started anew since");
	int r = file_write_value_f(
		AT_FDCWD, "/proc/self/timens_offsets", "monotonic %" PRIu64 " 0", ahead_s);
	if (r < 0)
		return error_code(e, r, "set the clock: the host was started anew since");
	instance->clock_ahead_ns = ahead_s * NS_PER_SEC;
	return 0;
}

/* The state that it goes on from, and the way to ask it for its own. */
static int open_state(struct instance *instance, struct error *e)
{
	const struct tender_plan *plan = instance->plan;
	uint64_t memory_bytes = plan->memory_bytes;
	int ends[2], r = 0;
	if (plan->restore) {
		instance->restore = open(plan->restore, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		if (instance->restore < 0)
			return error_errno(e, "open its state");
		r = plan->is_machine ? machine_state_read(instance->restore, &instance->place, e)
				     : snapshot_read(instance->restore, &instance->place, e);
		if (r == 0)
			r = keep_clock(instance, e);
		if (r < 0)
			return error_prefix(e, r, "its state: %s", plan->restore);
		memory_bytes = instance->place.memory_bytes;
	}
	if (!plan->is_stateful && !plan->restore)
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return error_errno(e, "make a channel for its state");
	instance->suspend.channel = ends[0];
	instance->suspend.bytes_max = memory_bytes + STATE_BESIDE;
	instance->channel = ends[1];
	return 0;
}

/* A file of the instance's directory; in memory only when it is run by hand. */
static int open_report(struct instance *instance, int dir, struct error *e)
{
	static const struct report empty = { .version = REPORT_VERSION };
	int flags = MAP_SHARED | (dir < 0 ? MAP_ANONYMOUS : 0);
	cleanup(close) int fd = dir < 0
		? -1
		: openat(dir, REPORT_FILE, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
			  0600);
	if (dir >= 0 && (fd < 0 || file_write_all(fd, &empty, sizeof(empty)) < 0))
		return error_errno(e, "make %s", REPORT_FILE);
	instance->report =
		mmap(NULL, sizeof(*instance->report), PROT_READ | PROT_WRITE, flags, fd, 0);
	return instance->report == MAP_FAILED ? error_errno(e, "map %s", REPORT_FILE) : 0;
}

/* Its console: what the program writes is what its keeper reads. */
static int open_terminal(struct instance *instance, struct error *e)
{
	cleanup(close) int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	int unlocked = 0;
	if (master < 0 || ioctl(master, TIOCSPTLCK, &unlocked) < 0)
		return error_errno(e, "make a terminal");
	int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return error_errno(e, "open the terminal");
	instance->slave = slave;
	instance->terminal = TAKE_FD(master);
	return 0;
}

static int take_terminal(const struct instance *instance, struct error *e)
{
	if (setsid() < 0 || ioctl(instance->slave, TIOCSCTTY, 0) < 0)
		return error_errno(e, "take the terminal");
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (dup2(instance->slave, fd) < 0)
			return error_errno(e, "take the terminal");
	return 0;
}

/* In the child: returns only if it failed. */
static int become_unikernel(const struct instance *instance, pid_t parent, struct error *e)
{
	const struct tender_plan *plan = instance->plan;
	struct unikernel_options options = { .memory_bytes = instance->restore < 0
			? plan->memory_bytes
			: instance->place.memory_bytes,
		.root = instance->root,
		.root_bytes = instance->root_bytes,
		.root_fd = instance->image,
		.card = &instance->card,
		.volume_fd = instance->volume,
		.volume_bytes = instance->volume_bytes,
		.channel_fd = instance->channel < 0 ? 0 : instance->channel,
		.from_fd = instance->restore < 0 ? 0 : instance->restore,
		.place = instance->place,
		.clock_ahead_ns = instance->clock_ahead_ns,
		.directory = plan->cwd,
		.ready_fd = instance->ready[1],
		.report = instance->report };
	options.arguments = enter_words(plan->arguments, &options.argument_count);
	options.environment = enter_words(plan->environment, &options.environment_count);
	int r = enter_groups(plan->cgroups, e);
	if (r == 0)
		r = take_terminal(instance, e);
	if (r == 0)
		r = enter_nothing(plan->uid, e);
	if (r < 0)
		return r;
	/* After the last change of user, which would undo it. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		return error_set(e, -ESRCH, "the runner has gone");
	return plan->is_machine ? machine_run(instance->kvm, &options, e)
				: process_run(NULL, 0, &options, e);
}

/* What the library OS said before its end. */
static int read_last_words(const struct instance *instance, struct error *e)
{
	char words[256];
	ssize_t length = 0, got = 1;
	/* A terminal passes on what was written a little later. */
	while (got > 0 && length < (ssize_t)sizeof(words) - 1) {
		struct pollfd more = { .fd = instance->terminal, .events = POLLIN };
		got = poll(&more, 1, LAST_WORDS_MS) > 0
			? read(instance->terminal, words + length,
				  sizeof(words) - 1 - (size_t)length)
			: 0;
		length += got > 0 ? got : 0;
	}
	while (length > 0 && (uint8_t)words[length - 1] <= ' ')
		length--;
	words[length > 0 ? length : 0] = '\0';
	for (char *at = words; *at; at++)
		if ((uint8_t)*at < ' ' || (uint8_t)*at >= 0x7f)
			*at = ' ';
	return error_set(e, -ENOEXEC, "%.200s",
		length > 0 ? words : "the unikernel ended before its program began");
}

static int wait_until_locked(const struct instance *instance, struct error *e)
{
	struct error told = {};
	ssize_t got;
	do
		got = read(instance->ready[0], &told, sizeof(told));
	while (got < 0 && errno == EINTR);
	if (got == sizeof(told)) {
		told.text[sizeof(told.text) - 1] = '\0';
		return error_set(e, -EIO, "%s", told.text);
	}
	return __atomic_load_n(&instance->report->started_ns, __ATOMIC_RELAXED)
		? 0
		: read_last_words(instance, e);
}

static int start(struct instance *instance, struct keeper *keeper, struct error *e)
{
	struct keeper_process process = { .stop_signal = instance->plan->stop_signal };
	pid_t parent = getpid();
	if (pipe2(instance->ready, O_CLOEXEC) < 0)
		return error_errno(e, "make a pipe");
	cleanup(close) int group = enter_open_group(instance->plan->cgroups);
	process.pid = process_clone(0, group, &process.pidfd);
	if (process.pid == 0) {
		struct error why = {};
		(void)!become_unikernel(instance, parent, &why);
		(void)!write(instance->ready[1], &why, sizeof(why));
		_exit(127);
	}
	if (process.pid < 0)
		return error_code(e, process.pid, "start a process");
	close(TAKE_FD(instance->ready[1]));
	close(TAKE_FD(instance->slave));
	close(TAKE_FD(instance->image));
	if (instance->channel >= 0)
		close(TAKE_FD(instance->channel));
	if (instance->restore >= 0)
		close(TAKE_FD(instance->restore));
	if (instance->kvm >= 0)
		close(TAKE_FD(instance->kvm));
	if (instance->volume)
		close(instance->volume);
	if (instance->card.fd)
		close(instance->card.fd); /* the tap goes with the child */
	munmap((void *)(uintptr_t)instance->root, instance->root_bytes);
	int r = wait_until_locked(instance, e);
	if (r < 0) {
		int status;
		(void)!process_signal(process.pidfd, SIGKILL);
		(void)!process_wait(process.pidfd, &status);
		return r;
	}
	/* As its real user it may still send it signals when it has no rights any more. */
	if (setresuid(instance->plan->uid, 0, 0) < 0)
		return error_errno(e, "share the unikernel's user");
	process.terminal = TAKE_FD(instance->terminal);
	instance->suspend.pidfd = process.pidfd;
	return keeper_take(keeper, &process, e);
}

static int read_plan(struct instance *instance, const char *path, struct error *e)
{
	cleanup(free) char *text = NULL;
	size_t length;
	int r = file_read(AT_FDCWD, path, PLAN_BYTES_MAX, &text, &length, e);
	return r < 0 ? r : tender_plan_read(text, length, &instance->plan, e);
}

static int make(struct instance *instance, struct keeper *keeper, struct error *e)
{
	int r = open_report(instance, keeper_dir(keeper), e);
	if (r < 0)
		return r;
	r = open_state(instance, e);
	if (r == 0 && instance->plan->is_machine)
		r = machine_probe(&instance->kvm, e);
	if (r == 0)
		r = open_image(instance, e);
	if (r == 0)
		r = open_terminal(instance, e);
	if (r == 0)
		r = open_volume(instance, e);
	/* What shapes a card's rates is the daemon's, and made with the first card that has some. */
	if (r == 0 && (instance->plan->nic.into_bits || instance->plan->nic.out_of_bits))
		r = await_greeting(e);
	if (r == 0)
		r = plug_card(instance->plan, &instance->card, e);
	if (r == 0)
		r = await_greeting(e);
	if (r < 0)
		return r;
	keeper_watch_memory(keeper, instance->plan->cgroups);
	return start(instance, keeper, e);
}

int instance_main(char **words, const char *plan_path, uint64_t began_ns)
{
	cleanup(keeper_free) struct keeper *keeper = NULL;
	struct instance instance = { .terminal = -1,
		.slave = -1,
		.ready = { -1, -1 },
		.suspend.channel = -1,
		.channel = -1,
		.kvm = -1,
		.restore = -1 };
	struct error e = {}, plan_error = {};
	int plan = read_plan(&instance, plan_path, &plan_error);
	if (plan == 0 && instance.plan->is_soft)
		plan = await_greeting(&plan_error);
	if (plan == 0 && instance.plan->is_soft)
		plan = monitor_become(instance.plan, plan_path, &plan_error);
	if (plan == 0 && !instance.plan->is_machine &&
		(instance.plan->is_stateful || instance.plan->restore))
		snapshot_same_addresses(words);
	int r = keeper_open(&(struct keeper_options){ .what = "unikernel",
				    .began_ns = began_ns,
				    .request = suspend_request,
				    .data = &instance.suspend },
		&keeper, &e);
	if (r == 0 && plan < 0) {
		r = plan;
		e = plan_error;
	}
	if (r == 0)
		r = make(&instance, keeper, &e);
	if (r == 0)
		r = keeper_run(keeper, &e);
	if (r < 0) {
		log_error("unikernel not started: %s", e.text);
		if (keeper && r != -ECONNRESET) /* then it was never started, and nobody listens */
			keeper_fail(keeper, r, &e);
	}
	tender_plan_free(instance.plan);
	return r < 0 ? 1 : 0;
}
