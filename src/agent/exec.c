/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec.c - a program, its descriptors and a connection, in one poll loop.
 */
#include "agent/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "base/file.h"

#define WORDS_MAX 1024
#define CHUNK     16384

struct command {
	const char *cwd;
	char *args[WORDS_MAX + 1];
	char *env[WORDS_MAX + 1];
	struct agent_exec head;
};

struct running {
	int connection;
	pid_t pid;
	int in, out, err; /* our ends; a terminal is in and out */
	bool is_terminal;
	bool host_is_gone;
};

static int parse(struct frame *frame, struct command *ret)
{
	if (frame->bytes < sizeof(ret->head))
		return -EPROTO;
	memcpy(&ret->head, frame->data, sizeof(ret->head));
	if (ret->head.arguments == 0 || ret->head.arguments > WORDS_MAX ||
		ret->head.environment > WORDS_MAX)
		return -EPROTO;
	char *at = (char *)frame->data + sizeof(ret->head),
	     *end = (char *)frame->data + frame->bytes;
	uint32_t count = 1u + ret->head.arguments + ret->head.environment;
	for (uint32_t i = 0; i < count; i++) {
		char *stop = at < end ? memchr(at, '\0', (size_t)(end - at)) : NULL;
		if (!stop)
			return -EPROTO;
		if (i == 0)
			ret->cwd = at;
		else if (i <= ret->head.arguments)
			ret->args[i - 1] = at;
		else
			ret->env[i - 1 - ret->head.arguments] = at;
		at = stop + 1;
	}
	return 0;
}

/* In the child; writes an errno to `report` if the program cannot be run. */
static void become(const struct command *command, int in, int out, int err, int report)
{
	char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	char home[] = "HOME=/root", term[] = "TERM=xterm";
	char *const default_env[] = { path, home, term, NULL };
	char *const *env = command->head.environment ? command->env : default_env;
	setsid();
	if (command->head.flags & AGENT_EXEC_TERMINAL)
		ioctl(in, TIOCSCTTY, 0);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	for (int i = 0; env[i]; i++)
		if (strncmp(env[i], "PATH=", 5) == 0)
			setenv("PATH", env[i] + 5, 1);
	if (dup2(in, 0) >= 0 && dup2(out, 1) >= 0 && dup2(err, 2) >= 0 && setgroups(0, NULL) == 0 &&
		setgid(command->head.gid) == 0 && setuid(command->head.uid) == 0 &&
		chdir(*command->cwd ? command->cwd : "/") == 0)
		execvpe(command->args[0], command->args, env);
	int code = -errno;
	(void)!write(report, &code, sizeof(code));
	_exit(127);
}

static void close_two(const int pair[2])
{
	for (int i = 0; i < 2; i++)
		if (pair[i] >= 0)
			close(pair[i]);
}

/* Starts the program; 0 or the errno with which it could not be. */
static int start(const struct command *command, struct running *ret)
{
	int in[2] = { -1, -1 }, out[2] = { -1, -1 }, err[2] = { -1, -1 }, report[2], code = 0,
	    r = 0;
	if (pipe2(report, O_CLOEXEC) < 0)
		return -errno;
	ret->is_terminal = command->head.flags & AGENT_EXEC_TERMINAL;
	if (ret->is_terminal) {
		struct winsize size = { .ws_col = command->head.columns,
			.ws_row = command->head.rows };
		r = openpty(&out[0], &in[0], NULL, NULL, size.ws_col ? &size : NULL);
		if (r == 0)
			fcntl(out[0], F_SETFD, FD_CLOEXEC);
	} else if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 ||
		pipe2(err, O_CLOEXEC) < 0) {
		r = -1;
	}
	ret->pid = r < 0 ? -1 : fork();
	if (ret->pid == 0)
		become(command, in[0], ret->is_terminal ? in[0] : out[1],
			ret->is_terminal ? in[0] : err[1], report[1]);
	if (ret->pid < 0)
		code = -errno;
	close(report[1]);
	if (code == 0 && read(report[0], &code, sizeof(code)) != (ssize_t)sizeof(code))
		code = 0;
	close(report[0]);
	if (code < 0) {
		if (ret->pid > 0)
			waitpid(ret->pid, NULL, 0);
		close_two(in);
		close_two(out);
		close_two(err);
		return code;
	}
	close(in[0]);
	if (ret->is_terminal) {
		ret->in = ret->out = out[0];
		ret->err = -1;
		return 0;
	}
	close(out[1]);
	close(err[1]);
	ret->in = in[1];
	ret->out = out[0];
	ret->err = err[0];
	return 0;
}

static void end_input(struct running *running)
{
	if (running->in < 0)
		return;
	if (running->is_terminal)
		(void)!write(running->in, "\004", 1);
	else
		close(running->in);
	running->in = -1;
}

/* One frame of the host. */
static void take_frame(struct running *running, struct frame *frame)
{
	struct agent_resize resize;
	struct agent_number number;
	if (frame_read(running->connection, frame) <= 0) {
		/* Nobody waits for the program any more. */
		running->host_is_gone = true;
		kill(-running->pid, SIGHUP);
		end_input(running);
	} else if (frame->type == AGENT_DATA && frame->bytes == 0) {
		end_input(running);
	} else if (frame->type == AGENT_DATA && running->in >= 0) {
		if (file_write_all(running->in, frame->data, frame->bytes) < 0)
			end_input(running);
	} else if (frame->type == AGENT_RESIZE && frame->bytes >= sizeof(resize)) {
		memcpy(&resize, frame->data, sizeof(resize));
		struct winsize size = { .ws_col = resize.columns, .ws_row = resize.rows };
		if (running->is_terminal)
			ioctl(running->out, TIOCSWINSZ, &size);
	} else if (frame->type == AGENT_SIGNAL && frame->bytes >= sizeof(number)) {
		memcpy(&number, frame->data, sizeof(number));
		kill(-running->pid, number.value);
	}
}

/* Output that is there; false when there will be no more. */
static bool pump(const struct running *running, int fd, enum agent_type type)
{
	static uint8_t bytes[CHUNK];
	ssize_t n = read(fd, bytes, sizeof(bytes));
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (n <= 0)
		return false; /* a terminal says EIO when its last user is gone */
	if (!running->host_is_gone &&
		frame_write(running->connection, type, NULL, 0, bytes, (size_t)n) < 0)
		return false;
	return true;
}

static void run(struct running *running, struct frame *frame)
{
	int out = running->out, err = running->err;
	signal(SIGPIPE, SIG_IGN);
	while (out >= 0 || err >= 0) {
		struct pollfd polls[] = {
			{ .fd = running->host_is_gone ? -1 : running->connection,
				.events = POLLIN },
			{ .fd = out, .events = POLLIN },
			{ .fd = err, .events = POLLIN },
		};
		if (poll(polls, ARRAY_SIZE(polls), -1) < 0 && errno != EINTR)
			break;
		if (polls[0].revents)
			take_frame(running, frame);
		if (polls[1].revents && !pump(running, out, AGENT_STDOUT))
			out = -1;
		if (polls[2].revents && !pump(running, err, AGENT_STDERR))
			err = -1;
	}
}

void exec_serve(int fd, struct frame *frame)
{
	struct command *command = alloc(struct command);
	struct running running = { .connection = fd };
	int status = 0;
	int r = parse(frame, command);
	if (r == 0)
		r = start(command, &running);
	if (r < 0) {
		(void)!frame_error(fd, r, NULL);
		free(command);
		return;
	}
	run(&running, frame);
	while (waitpid(running.pid, &status, 0) < 0 && errno == EINTR)
		;
	const struct agent_number number = { .value = status };
	(void)!frame_write(fd, AGENT_EXIT, &number, sizeof(number), NULL, 0);
	free(command);
}
