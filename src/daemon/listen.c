/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listen.c - the daemon's socket.
 */
#include "daemon/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/text.h"

#define FIRST_PASSED_FD 3
#define SOCKET_NAME     "unix.socket"
#define BACKLOG         4096

gid_t listen_group(const char *name)
{
	struct group group, *found = NULL;
	char buffer[16384 / 2];
	if (getgrnam_r(name, &group, buffer, sizeof(buffer), &found) != 0 || !found)
		return (gid_t)-1;
	return found->gr_gid;
}

/* As sd_listen_fds(3) says; -ENOENT if nothing was passed. */
static int passed(struct error *e)
{
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
	uint64_t number;
	if (!pid || !count || text_to_u64(pid, &number) < 0 || number != (uint64_t)getpid())
		return -ENOENT;
	if (text_to_u64(count, &number) < 0 || number != 1)
		return error_set(e, -EINVAL, "LISTEN_FDS: one socket is wanted");
	int is_listening = 0, type = 0;
	socklen_t size = sizeof(int);
	if (getsockopt(FIRST_PASSED_FD, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size) < 0 ||
		getsockopt(FIRST_PASSED_FD, SOL_SOCKET, SO_TYPE, &type, &size) < 0)
		return error_errno(e, "LISTEN_FDS");
	if (!is_listening || type != SOCK_STREAM)
		return error_set(e, -EINVAL, "LISTEN_FDS: a listening stream socket is wanted");
	if (fcntl(FIRST_PASSED_FD, F_SETFD, FD_CLOEXEC) < 0 ||
		fcntl(FIRST_PASSED_FD, F_SETFL, O_NONBLOCK) < 0)
		return error_errno(e, "LISTEN_FDS");
	return FIRST_PASSED_FD;
}

int listen_open(int dir, gid_t group, int *ret, bool *ret_is_passed, struct error *e)
{
	int r = passed(e);
	if (r >= 0) {
		*ret = r;
		*ret_is_passed = true;
		return 0;
	}
	if (r != -ENOENT)
		return r;

	/* Not DIR/unix.socket: a path of any length would not fit. */
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" SOCKET_NAME, dir);
	cleanup(close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_errno(e, "socket");
	if (unlinkat(dir, SOCKET_NAME, 0) < 0 && errno != ENOENT)
		return error_errno(e, "remove the old " SOCKET_NAME);
	if (fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return error_errno(e, "bind " SOCKET_NAME);
	if (group != (gid_t)-1 && fchownat(dir, SOCKET_NAME, (uid_t)-1, group, 0) < 0)
		return error_errno(e, "give " SOCKET_NAME " to its group");
	if (fchmodat(dir, SOCKET_NAME, 0660, 0) < 0 || listen(fd, BACKLOG) < 0)
		return error_errno(e, "listen on " SOCKET_NAME);
	*ret = TAKE_FD(fd);
	*ret_is_passed = false;
	return 0;
}
