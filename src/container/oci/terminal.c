/* SPDX-License-Identifier: Apache-2.0 */
/*
 * terminal.c - poll(2) between two terminals.
 */
#include "container/oci/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>

#include "base/channel.h"
#include "base/file.h"
#include "host/process.h"

int terminal_send(const char *path, int terminal, struct error *e)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(address.sun_path))
		return error_set(e, -ENAMETOOLONG, "console socket %s: too long", path);
	strcpy(address.sun_path, path);
	cleanup(close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return error_errno(e, "connect to the console socket %s", path);
	static const char name[] = "/dev/pts/0";
	int r = channel_send(fd, name, sizeof(name) - 1, &terminal, 1);
	return r < 0 ? error_code(e, r, "send the terminal to %s", path) : 0;
}

struct pump {
	int terminal;
	int pidfd;
	int signals;
	bool has_input;
};

static void copy_size(const struct pump *pump)
{
	struct winsize size;
	if (pump->terminal >= 0 && ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0)
		(void)ioctl(pump->terminal, TIOCSWINSZ, &size);
}

static void take_signal(const struct pump *pump)
{
	struct signalfd_siginfo info;
	if (read(pump->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGWINCH)
		copy_size(pump);
	else
		(void)!process_signal(pump->pidfd, (int)info.ssi_signo);
}

/* False when there is nothing more to come. */
static bool copy(int from, int to)
{
	char bytes[4096];
	ssize_t got = read(from, bytes, sizeof(bytes));
	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	return got > 0 && file_write_all(to, bytes, (size_t)got) == 0;
}

static void pump_until_end(struct pump *pump)
{
	bool is_over = false;
	while (!is_over || pump->terminal >= 0) {
		struct pollfd wait[] = {
			{ .fd = is_over ? -1 : pump->pidfd, .events = POLLIN },
			{ .fd = pump->signals, .events = POLLIN },
			{ .fd = pump->terminal, .events = POLLIN },
			{ .fd = pump->has_input ? STDIN_FILENO : -1, .events = POLLIN },
		};
		/* After the end only what the terminal still holds. */
		int ready = poll(wait, ARRAY_SIZE(wait), is_over ? 0 : -1);
		if (ready < 0 && errno != EINTR)
			return;
		if (ready == 0 && is_over)
			return;
		if (ready < 0)
			continue;
		if (wait[2].revents && !copy(pump->terminal, STDOUT_FILENO)) {
			close(pump->terminal);
			pump->terminal = -1;
		}
		if (wait[1].revents)
			take_signal(pump);
		if (wait[3].revents && (pump->terminal < 0 || !copy(STDIN_FILENO, pump->terminal)))
			pump->has_input = false;
		if (wait[0].revents)
			is_over = true;
	}
}

int terminal_wait(int terminal, int pidfd, int *ret, struct error *e)
{
	sigset_t set;
	sigfillset(&set);
	for (int fatal = 0; fatal < 5; fatal++)
		sigdelset(&set, (const int[]){ SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGCHLD }[fatal]);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	struct pump pump = { .terminal = terminal,
		.pidfd = pidfd,
		.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK),
		.has_input = terminal >= 0 };
	struct termios before;
	bool is_terminal = terminal >= 0 && tcgetattr(STDIN_FILENO, &before) == 0;
	if (is_terminal) {
		struct termios raw = before;
		cfmakeraw(&raw);
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
		copy_size(&pump);
	}
	pump_until_end(&pump);
	if (is_terminal)
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &before);
	if (pump.terminal >= 0)
		close(pump.terminal);
	if (pump.signals >= 0)
		close(pump.signals);
	int r = process_wait(pidfd, ret);
	return r < 0 ? error_code(e, r, "wait for the container") : 0;
}
