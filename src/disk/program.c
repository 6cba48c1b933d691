/* SPDX-License-Identifier: Apache-2.0 */
/*
 * program.c - one program, run to its end.
 */
#include "disk/program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/text.h"

#define PROGRAM_PATH "/usr/sbin:/usr/bin:/sbin:/bin"
#define COMPLAINT    400 /* bytes of its standard error that fit into a sentence */

static char *find(const char *name)
{
	if (strchr(name, '/'))
		return access(name, X_OK) == 0 ? alloc_text(name) : NULL;
	const char *part = PROGRAM_PATH;
	while (*part) {
		size_t length = strcspn(part, ":");
		char *path = alloc_printf("%.*s/%s", (int)length, part, name);
		if (access(path, X_OK) == 0)
			return path;
		free(path);
		part += length + (part[length] == ':');
	}
	return NULL;
}

bool program_exists(const char *name)
{
	cleanup(free) char *path = find(name);
	return path != NULL;
}

/* The last bytes that come, so that a program that says much still ends with its reason. */
static void read_complaint(int fd, char complaint[COMPLAINT + 1])
{
	size_t length = 0;
	for (;;) {
		char block[256];
		ssize_t got = read(fd, block, sizeof(block));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		size_t kept = length + (size_t)got > COMPLAINT ? COMPLAINT - (size_t)got : length;
		memmove(complaint, complaint + (length - kept), kept);
		memcpy(complaint + kept, block, (size_t)got);
		length = kept + (size_t)got;
	}
	while (length > 0 && (complaint[length - 1] == '\n' || complaint[length - 1] == ' '))
		length--;
	complaint[length] = '\0';
	for (char *at = complaint; *at; at++)
		if ((unsigned char)*at < ' ')
			*at = ' ';
}

static int start(const char *path, char *const argv[], int output, int complaints, pid_t *ret)
{
	static char path_variable[] = "PATH=" PROGRAM_PATH;
	static char locale[] = "LC_ALL=C", home[] = "HOME=/", temporary[] = "TMPDIR=/tmp";
	char *environment[] = { path_variable, locale, home, temporary, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	if (output >= 0)
		posix_spawn_file_actions_adddup2(&actions, output, 1);
	else
		posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, complaints, 2);
	sigset_t none;
	sigemptyset(&none);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	int r = posix_spawn(ret, path, &actions, &attributes, argv, environment);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	return -r;
}

int program_run(char *const argv[], int output, struct error *e)
{
	cleanup(free) char *path = find(argv[0]);
	if (!path)
		return error_set(e, -ENOENT, "the program %s is not installed", argv[0]);
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_errno(e, "pipe");
	cleanup(close) int complaints = ends[0];
	pid_t pid;
	int r = start(path, argv, output, ends[1], &pid);
	close(ends[1]);
	if (r < 0)
		return error_code(e, r, "start %s", path);

	char complaint[COMPLAINT + 1] = "";
	read_complaint(complaints, complaint);
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return error_errno(e, "wait for %s", argv[0]);
	if (WIFSIGNALED(status))
		return error_set(e, -EIO, "%s was ended by signal %d: %s", argv[0],
			WTERMSIG(status), complaint);
	if (WEXITSTATUS(status) != 0)
		return error_set(e, -EIO, "%s failed: %s", argv[0],
			complaint[0] ? complaint : "it gave no reason");
	return 0;
}
