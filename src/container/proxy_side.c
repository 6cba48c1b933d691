/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_side.c - sockets of a proxy, made in the namespaces of the host or of the instance.
 *
 * The process that moves the bytes has no rights at all. Who connects for it is a process of its own on the
 * other side, without a capability: it gets the number of a port and gives back a socket.
 */
#include "container/proxy_side.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "base/channel.h"
#include "container/aside.h"
#include "host/jail.h"
#include "host/process.h"

#define BACKLOG       1024
#define BIND_TRIES    20
#define BIND_AGAIN_NS (50 * NS_PER_MS)

union address {
	struct sockaddr any;
	struct sockaddr_in four;
	struct sockaddr_in6 six;
	struct sockaddr_un un;
};

static socklen_t fill(const struct proxy_address *from, size_t index, union address *to)
{
	*to = (union address){};
	if (from->protocol == PROXY_UNIX) {
		size_t length = strlen(from->path);
		to->un.sun_family = AF_UNIX;
		memcpy(to->un.sun_path, from->path, length);
		if (from->path[0] != '@')
			return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
		to->un.sun_path[0] = '\0';
		return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
	}
	uint16_t port = htons(from->ports[index]);
	if (from->is_ipv6) {
		to->six.sin6_family = AF_INET6;
		to->six.sin6_port = port;
		(void)inet_pton(AF_INET6, from->host, &to->six.sin6_addr);
		return sizeof(to->six);
	}
	to->four.sin_family = AF_INET;
	to->four.sin_port = port;
	(void)inet_pton(AF_INET, from->host, &to->four.sin_addr);
	return sizeof(to->four);
}

static int open_socket(const struct proxy_address *address)
{
	int family = address->protocol == PROXY_UNIX ? AF_UNIX
		: address->is_ipv6                   ? AF_INET6
						     : AF_INET;
	int type = address->protocol == PROXY_UDP ? SOCK_DGRAM : SOCK_STREAM;
	int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return fd < 0 ? -errno : fd;
}

/* A socket file that nobody listens at is left from before. */
static void remove_stale(const union address *address, socklen_t length)
{
	struct stat stat;
	const char *path = address->un.sun_path;
	if (address->any.sa_family != AF_UNIX || !*path || lstat(path, &stat) < 0 ||
		!S_ISSOCK(stat.st_mode))
		return;
	cleanup(close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, &address->any, length) < 0 && errno == ECONNREFUSED)
		(void)unlink(path);
}

/* Whoever had the port before may be about to end. */
static int bind_patiently(int fd, const union address *address, socklen_t length)
{
	for (int i = 0; i < BIND_TRIES; i++) {
		if (bind(fd, &address->any, length) == 0)
			return 0;
		if (errno != EADDRINUSE)
			return -errno;
		remove_stale(address, length);
		(void)nanosleep(&(struct timespec){ .tv_nsec = BIND_AGAIN_NS }, NULL);
	}
	return -EADDRINUSE;
}

static int listen_one(const struct proxy_request *request, size_t index, int *ret, struct error *e)
{
	const struct proxy_address *at = &request->listen;
	union address address;
	socklen_t length = fill(at, index, &address);
	cleanup(close) int fd = open_socket(at);
	if (fd < 0)
		return error_code(e, fd, "listen: make a socket");
	int on = 1;
	if (at->protocol != PROXY_UNIX)
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (at->is_ipv6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	int r = bind_patiently(fd, &address, length);
	if (r == 0 && at->protocol != PROXY_UDP && listen(fd, BACKLOG) < 0)
		r = -errno;
	if (r < 0 && at->protocol == PROXY_UNIX)
		return error_code(e, r, "listen at %s", at->path);
	if (r < 0)
		return error_code(e, r, "listen at %s port %u", at->host, at->ports[index]);
	if (at->protocol == PROXY_UNIX && at->path[0] == '/' &&
		(chown(at->path, request->uid, request->gid) < 0 ||
			chmod(at->path, request->mode) < 0))
		return error_errno(e, "give %s away", at->path);
	*ret = TAKE_FD(fd);
	return 0;
}

static int listen_all(
	const struct proxy_request *request, int *ret, size_t *ret_count, struct error *e)
{
	size_t count = request->listen.port_count ?: 1, i = 0;
	int r = 0;
	for (; i < count && r == 0; i += r == 0)
		r = listen_one(request, i, &ret[i], e);
	while (r < 0 && i > 0)
		close(ret[--i]);
	*ret_count = i;
	return r;
}

struct inside {
	const struct proxy_request *request;
	int channel;
};

static int listen_inside(void *data, int root, struct error *e)
{
	struct inside *inside = data;
	int fds[PROXY_PORTS_MAX];
	size_t count;
	(void)root;
	int r = listen_all(inside->request, fds, &count, e);
	/* So many as fit into a message at a time. */
	for (size_t i = 0; r == 0 && i < count; i++)
		r = channel_send(inside->channel, "f", 1, &fds[i], 1);
	return r;
}

int proxy_listen(const struct proxy_request *request, const struct container *container, int pidfd,
	int *ret, size_t *ret_count, struct error *e)
{
	if (!request->listens_inside)
		return listen_all(request, ret, ret_count, e);
	int pair[2];
	int r = channel_pair(pair, e);
	if (r < 0)
		return r;
	cleanup(close) int ours = pair[0];
	cleanup(close) int theirs = pair[1];
	struct inside inside = { request, theirs };
	r = aside_enter(container, pidfd, CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS, listen_inside,
		&inside, e);
	*ret_count = 0;
	while (r == 0 && *ret_count < PROXY_PORTS_MAX) {
		char byte;
		size_t fd_count = 1;
		ssize_t got = channel_receive(ours, &byte, 1, &ret[*ret_count], &fd_count);
		if (got != 1 || fd_count != 1)
			break;
		++*ret_count;
	}
	if (r == 0 && *ret_count != (request->listen.port_count ?: 1))
		r = error_set(e, -EIO, "listen: sockets were lost on their way");
	return r;
}

/* -- the connector -------------------------------------------------------------------------------- */

struct answer {
	int32_t code;
};

static int connect_one(const struct proxy_address *to, uint32_t index)
{
	union address address;
	if (index >= (to->port_count ?: 1))
		index = 0;
	socklen_t length = fill(to, index, &address);
	cleanup(close) int fd = open_socket(to);
	if (fd < 0)
		return fd;
	if (connect(fd, &address.any, length) < 0 && errno != EINPROGRESS)
		return -errno;
	return TAKE_FD(fd);
}

/* Until the other side closes. */
static void serve(const struct proxy_address *to, int channel)
{
	for (;;) {
		struct pollfd poll_fd = { .fd = channel, .events = POLLIN };
		uint32_t index;
		size_t fd_count = 0;
		if (poll(&poll_fd, 1, -1) < 0 && errno != EINTR)
			return;
		ssize_t got = channel_receive(channel, &index, sizeof(index), NULL, &fd_count);
		if (got == -EAGAIN)
			continue;
		if (got != sizeof(index))
			return;
		cleanup(close) int fd = connect_one(to, index);
		struct answer answer = { fd < 0 ? fd : 0 };
		if (channel_send(channel, &answer, sizeof(answer), &fd, fd >= 0) < 0)
			return;
	}
}

static int drop(const struct proxy_request *request, bool is_on_host, struct error *e)
{
	/* In the instance it is its root, without a capability. */
	if (is_on_host &&
		(setgroups(0, NULL) < 0 ||
			setresgid(request->run_as_gid, request->run_as_gid, request->run_as_gid) <
				0 ||
			setresuid(request->run_as_uid, request->run_as_uid, request->run_as_uid) <
				0))
		return error_errno(e, "become user %u", request->run_as_uid);
	return jail_enter(&(struct jail){ .drop_capabilities = true }, e);
}

static int be_connector(const struct proxy_request *request, const struct container *container,
	int pidfd, int channel, struct error *e)
{
	bool is_on_host = request->listens_inside;
	int namespaces = CLONE_NEWNET | CLONE_NEWNS | (container->uid_count ? CLONE_NEWUSER : 0);
	if (!is_on_host) {
		if (setns(pidfd, namespaces) < 0)
			return error_errno(e, "enter the instance");
		if (container->uid_count &&
			(setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 ||
				setresuid(0, 0, 0) < 0))
			return error_errno(e, "become the instance's root");
	}
	int r = drop(request, is_on_host, e);
	if (r < 0)
		return r;
	struct answer ready = { 0 };
	r = channel_send(channel, &ready, sizeof(ready), NULL, 0);
	if (r == 0)
		serve(&request->connect, channel);
	return r;
}

static int receive_answer(int channel, int *ret_fd)
{
	struct answer answer = { -EIO };
	struct pollfd poll_fd = { .fd = channel, .events = POLLIN };
	size_t fd_count = 1;
	*ret_fd = -1;
	while (poll(&poll_fd, 1, -1) < 0 && errno == EINTR)
		;
	ssize_t got = channel_receive(channel, &answer, sizeof(answer), ret_fd, &fd_count);
	if (got != sizeof(answer))
		return -EPIPE;
	if (fd_count == 0)
		*ret_fd = -1;
	return answer.code;
}

int proxy_start_connector(const struct proxy_request *request, const struct container *container,
	int pidfd, int *ret, struct error *e)
{
	int pair[2], child = -1, ignored;
	int r = channel_pair(pair, e);
	if (r < 0)
		return r;
	cleanup(close) int ours = pair[0];
	cleanup(close) int theirs = pair[1];
	pid_t pid = process_clone(0, -1, &child);
	if (pid < 0)
		return error_code(e, pid, "make a process");
	if (pid == 0) {
		struct error why = {};
		close(TAKE_FD(ours));
		if (be_connector(request, container, pidfd, theirs, &why) < 0) {
			fprintf(stderr, "proxy: %s\n", why.text);
			_exit(1);
		}
		_exit(0);
	}
	close(child);
	close(TAKE_FD(theirs));
	r = receive_answer(ours, &ignored);
	if (r < 0)
		return error_set(
			e, r, "the other side of the walls could not be entered; see runner.log");
	*ret = TAKE_FD(ours);
	return 0;
}

int proxy_connect(int connector, uint32_t index)
{
	int fd;
	int r = channel_send(connector, &index, sizeof(index), NULL, 0);
	if (r == 0)
		r = receive_answer(connector, &fd);
	return r < 0 ? r : fd;
}
