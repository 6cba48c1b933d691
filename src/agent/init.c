/* SPDX-License-Identifier: Apache-2.0 */
/*
 * init.c - mounts, modules, root, children.
 */
#include "agent/init.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/disk.h"
#include "agent/network.h"
#include "agent/power.h"
#include "agent/tune.h"
#include "base/file.h"
#include "base/text.h"

#define MODULES_FILE   "/berth/modules"
#define CONFIGURE_FILE "/berth/configure"
#define COMMAND_FILE   "/berth/command"
#define FILE_MAX       (1 * MIB)
#define WORDS_MAX      1024
#define DEVICE_WAIT_MS 60000 /* a bound: a host that has other things to do */

struct settings {
	char root[64], type[16], upper[64], disk[64], exec[256];
};

void init_say(const char *format, ...)
{
	char line[512];
	va_list list;
	va_start(list, format);
	int n = vsnprintf(line, sizeof(line) - 1, format, list);
	va_end(list);
	size_t length = n < 0 ? 0 : (size_t)n < sizeof(line) - 1 ? (size_t)n : sizeof(line) - 2;
	line[length] = '\n';
	cleanup(close) int fd = open("/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0)
		(void)!write(fd, line, length + 1);
}

static const struct {
	const char *type, *path, *options;
	unsigned long flags;
} mounts[] = {
	{ "devtmpfs", "/dev", "mode=0755", MS_NOSUID },
	{ "proc", "/proc", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
	{ "sysfs", "/sys", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
	{ "tmpfs", "/run", "mode=0755", MS_NOSUID | MS_NODEV },
	{ "devpts", "/dev/pts", "mode=0620,ptmxmode=0666", MS_NOSUID | MS_NOEXEC },
	{ "tmpfs", "/dev/shm", NULL, MS_NOSUID | MS_NODEV },
};

static int mount_all(struct error *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
		mkdir(mounts[i].path, 0755);
		if (mount(mounts[i].type, mounts[i].path, mounts[i].type, mounts[i].flags,
			    mounts[i].options) < 0 &&
			errno != EBUSY)
			return error_errno(e, "mount %s", mounts[i].path);
	}
	return 0;
}

static void load_modules(void)
{
	cleanup(free) char *list = NULL;
	struct error e = {};
	if (file_read(AT_FDCWD, MODULES_FILE, FILE_MAX, &list, NULL, &e) < 0)
		return;
	char *rest = NULL;
	for (char *path = strtok_r(list, "\n", &rest); path; path = strtok_r(NULL, "\n", &rest)) {
		cleanup(close) int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST))
			init_say("berth-agent: module %s: %s", path, strerror(errno));
	}
}

static void take_word(struct settings *settings, const char *word)
{
	static const struct {
		const char *key;
		size_t offset, size;
	} keys[] = {
		{ "berth.root=", offsetof(struct settings, root), sizeof(settings->root) },
		{ "berth.type=", offsetof(struct settings, type), sizeof(settings->type) },
		{ "berth.upper=", offsetof(struct settings, upper), sizeof(settings->upper) },
		{ "berth.disk=", offsetof(struct settings, disk), sizeof(settings->disk) },
		{ "berth.exec=", offsetof(struct settings, exec), sizeof(settings->exec) },
	};
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (text_starts(word, keys[i].key))
			snprintf((char *)settings + keys[i].offset, keys[i].size, "%s",
				word + strlen(keys[i].key));
}

static void read_settings(struct settings *ret)
{
	char line[4096];
	char *rest = NULL;
	*ret = (struct settings){ .type = "erofs" };
	if (file_read_line(AT_FDCWD, "/proc/cmdline", line, sizeof(line)) <= 0)
		return;
	for (char *word = strtok_r(line, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
		take_word(ret, word);
}

/* Waits until the device's node is there. */
static int wait_for(const char *device, struct error *e)
{
	cleanup(close) int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (watch < 0 || inotify_add_watch(watch, "/dev", IN_CREATE) < 0)
		return error_errno(e, "watch /dev");
	while (access(device, F_OK) < 0) {
		struct pollfd poll_fd = { .fd = watch, .events = POLLIN };
		char events[4096];
		if (poll(&poll_fd, 1, DEVICE_WAIT_MS) <= 0)
			return error_set(e, -ENODEV, "%s does not appear", device);
		(void)!read(watch, events, sizeof(events));
	}
	return 0;
}

static int mount_upper(const struct settings *settings, struct error *e)
{
	bool in_memory = strcmp(settings->upper, "memory") == 0;
	int r = in_memory ? 0 : wait_for(settings->upper, e);
	if (r < 0)
		return r;
	if (mount(in_memory ? "tmpfs" : settings->upper, "/berth/upper",
		    in_memory ? "tmpfs" : "ext4", MS_NOATIME, NULL) < 0)
		return error_errno(e, "mount %s", settings->upper);
	if (!in_memory)
		disk_grow(settings->upper, "/berth/upper");
	mkdir("/berth/upper/upper", 0755);
	mkdir("/berth/upper/work", 0700);
	if (mount("overlay", "/berth/root", "overlay", 0,
		    "lowerdir=/berth/lower,upperdir=/berth/upper/upper,workdir=/berth/upper/work") <
		0)
		return error_errno(e, "lay %s over the root", settings->upper);
	return 0;
}

/* What is mounted here moves along into the new root. */
static int enter_root(struct error *e)
{
	static const char *const moved[] = { "/dev", "/proc", "/sys", "/run" };
	for (size_t i = 0; i < ARRAY_SIZE(moved); i++) {
		char path[64];
		snprintf(path, sizeof(path), "/berth/root%s", moved[i]);
		mkdir(path, 0755);
		if (mount(moved[i], path, NULL, MS_MOVE, NULL) < 0)
			return error_errno(e, "the new root has no %s", moved[i]);
	}
	if (chdir("/berth/root") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 ||
		chroot(".") < 0 || chdir("/") < 0)
		return error_errno(e, "enter the new root");
	return 0;
}

static int mount_root(const struct settings *settings, struct error *e)
{
	static const char *const dirs[] = { "/berth", "/berth/lower", "/berth/upper",
		"/berth/root" };
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		mkdir(dirs[i], 0755);
	int r = wait_for(settings->disk[0] ? settings->disk : settings->root, e);
	if (r == 0 && settings->disk[0]) {
		r = disk_mount_root(settings->disk, "/berth/root", e);
		return r == 0 ? enter_root(e) : r;
	}
	if (r < 0)
		return r;
	const char *target = settings->upper[0] ? "/berth/lower" : "/berth/root";
	if (mount(settings->root, target, settings->type, MS_RDONLY, NULL) < 0)
		return error_errno(e, "mount %s as %s", settings->root, settings->type);
	if (settings->upper[0])
		r = mount_upper(settings, e);
	return r == 0 ? enter_root(e) : r;
}

/* Host name, cards and name servers, in the root that the guest has now. */
static void configure(char *lines)
{
	struct error e = {};
	if (lines && network_configure(lines, &e) < 0)
		init_say("berth-agent: %s", e.text);
}

int init_set_up(struct init *ret, struct error *e)
{
	cleanup(free) char *lines = NULL;
	struct settings settings;
	int r = mount_all(e);
	if (r < 0)
		return r;
	tune_memory();
	load_modules();
	network_loopback();
	read_settings(&settings);
	memcpy(ret->exec, settings.exec, sizeof(ret->exec));
	(void)!file_read(AT_FDCWD, CONFIGURE_FILE, FILE_MAX, &lines, NULL, NULL);
	(void)!file_read(
		AT_FDCWD, COMMAND_FILE, FILE_MAX, &ret->command, &ret->command_length, NULL);
	r = settings.root[0] || settings.disk[0] ? mount_root(&settings, e) : 0;
	configure(lines);
	ret->is_guest_of_init = r == 0 && settings.disk[0] && access("/sbin/init", X_OK) == 0;
	return r;
}

/* Each with a letter before and a NUL behind: w a word, e environment, d the directory. */
static void take_command(const struct init *init, char **words)
{
	size_t count = 0;
	for (size_t at = 0; at < init->command_length; at += strlen(init->command + at) + 1) {
		char *value = init->command + at + 1;
		if (init->command[at] == 'w' && count < WORDS_MAX)
			words[count++] = value;
		else if (init->command[at] == 'e')
			putenv(value);
		else if (init->command[at] == 'd' && chdir(value) < 0)
			init_say("berth-agent: %s: %s", value, strerror(errno));
	}
	words[count] = NULL;
}

static bool has_program(const struct init *init)
{
	return init->exec[0] || (init->command_length > 0 && init->command[0] == 'w');
}

/* The child's process number, or 0 if there is nothing to run. */
static pid_t start_exec(const struct init *init)
{
	static char *words[WORDS_MAX + 1];
	const char *program = init->exec;
	pid_t pid = has_program(init) ? fork() : 0;
	if (pid != 0 || !has_program(init))
		return pid;
	setsid();
	int fd = open("/dev/console", O_RDWR);
	if (fd >= 0) {
		ioctl(fd, TIOCSCTTY, 0);
		for (int i = 0; i < 3; i++)
			dup2(fd, i);
	}
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	setenv("HOME", "/root", 1);
	setenv("TERM", "linux", 1);
	if (init->command_length > 0) {
		take_command(init, words);
		program = words[0] ?: program;
		if (words[0])
			execvp(words[0], words);
	}
	execl(program, program, (char *)NULL);
	init_say("berth-agent: %s: %s", program, strerror(errno));
	_exit(127);
}

void init_run(const struct init *init)
{
	if (init->is_guest_of_init) {
		/* The disk's own system goes on; the server is a child that it inherits. */
		execl("/sbin/init", "/sbin/init", (char *)NULL);
		init_say("berth-agent: /sbin/init: %s", strerror(errno));
	}
	sigset_t all;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	pid_t program = start_exec(init);
	for (;;) {
		int signal = 0, status;
		if (sigwait(&all, &signal) != 0)
			continue;
		if (signal == SIGUSR2 || signal == SIGTERM)
			power_off_now(signal == SIGTERM);
		for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
			if (pid == program) {
				init_say("berth-agent: the main program ended with status %d",
					WIFEXITED(status) ? WEXITSTATUS(status)
							  : 128 + WTERMSIG(status));
				power_off_now(false);
			}
	}
}
