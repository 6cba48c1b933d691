/* SPDX-License-Identifier: Apache-2.0 */
/*
 * channel.c - messages and descriptors over SOCK_SEQPACKET.
 */
#include "base/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define CHANNEL_TYPE (SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK)

int channel_pair(int ret[2], struct error *e)
{
	if (socketpair(AF_UNIX, CHANNEL_TYPE, 0, ret) < 0)
		return error_errno(e, "socketpair");
	return 0;
}

/* A path of at most 107 bytes for any depth of directory. */
static int address_in(int dir, const char *name, struct sockaddr_un *address, struct error *e)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	int length = dir == AT_FDCWD || name[0] == '/'
		? snprintf(address->sun_path, sizeof(address->sun_path), "%s", name)
		: snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%s", dir,
			  name);
	if (length < 0 || (size_t)length >= sizeof(address->sun_path))
		return error_set(e, -ENAMETOOLONG, "socket %s: the name is too long", name);
	return 0;
}

int channel_listen(int dir, const char *name, mode_t mode, int *ret, struct error *e)
{
	struct sockaddr_un address;
	int r = address_in(dir, name, &address, e);
	if (r < 0)
		return r;
	cleanup(close) int fd = socket(AF_UNIX, CHANNEL_TYPE, 0);
	if (fd < 0)
		return error_errno(e, "socket");
	if (unlinkat(dir, name, 0) < 0 && errno != ENOENT)
		return error_errno(e, "remove the old socket %s", name);
	/* Before bind: the mode of the socket file comes from it. */
	if (fchmod(fd, mode) < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(fd, 64) < 0)
		return error_errno(e, "listen on %s", name);
	*ret = TAKE_FD(fd);
	return 0;
}

int channel_accept(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

int channel_connect(int dir, const char *name, int *ret, struct error *e)
{
	struct sockaddr_un address;
	int r = address_in(dir, name, &address, e);
	if (r < 0)
		return r;
	cleanup(close) int fd = socket(AF_UNIX, CHANNEL_TYPE, 0);
	if (fd < 0)
		return error_errno(e, "socket");
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return error_errno(e, "connect to %s", name);
	*ret = TAKE_FD(fd);
	return 0;
}

union control {
	struct cmsghdr header;
	char room[CMSG_SPACE(CHANNEL_FDS_MAX * sizeof(int))];
};

int channel_send(int channel, const void *data, size_t length, const int *fds, size_t fd_count)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = length };
	return channel_send_iov(channel, &iov, 1, fds, fd_count);
}

int channel_send_iov(
	int channel, const struct iovec *iov, size_t iov_count, const int *fds, size_t fd_count)
{
	assert(fd_count <= CHANNEL_FDS_MAX);
	union control control = {};
	struct msghdr message = {
		.msg_iov = (struct iovec *)(uintptr_t)iov,
		.msg_iovlen = (__typeof__(((struct msghdr *)0)->msg_iovlen))iov_count,
	};
	if (fd_count > 0) {
		message.msg_control = &control;
		message.msg_controllen = (socklen_t)CMSG_SPACE(fd_count * sizeof(int));
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = (socklen_t)CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(header), fds, fd_count * sizeof(int));
	}
	ssize_t put;
	do
		put = sendmsg(channel, &message, MSG_NOSIGNAL);
	while (put < 0 && errno == EINTR);
	return put < 0 ? -errno : 0;
}

static size_t take_fds(struct msghdr *message, int all[CHANNEL_FDS_MAX])
{
	size_t count = 0;
	for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
		header = CMSG_NXTHDR(message, header)) {
		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;
		size_t here = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		assert(count + here <= CHANNEL_FDS_MAX);
		memcpy(all + count, CMSG_DATA(header), here * sizeof(int));
		count += here;
	}
	return count;
}

ssize_t channel_receive(int channel, void *data, size_t size, int *fds, size_t *fd_count)
{
	union control control = {};
	struct iovec iov = { .iov_base = data, .iov_len = size };
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t got;
	do
		got = recvmsg(channel, &message, MSG_CMSG_CLOEXEC);
	while (got < 0 && (errno == EINTR || errno == ECONNRESET));
	if (got < 0)
		return -errno;

	int all[CHANNEL_FDS_MAX];
	size_t count = take_fds(&message, all);
	size_t room = fd_count ? *fd_count : 0;
	if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || count > room) {
		for (size_t i = 0; i < count; i++)
			close(all[i]);
		if (fd_count)
			*fd_count = 0;
		return -EMSGSIZE;
	}
	if (count)
		memcpy(fds, all, count * sizeof(int));
	if (fd_count)
		*fd_count = count;
	return got;
}
