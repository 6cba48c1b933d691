/* SPDX-License-Identifier: Apache-2.0 */
/*
 * areas_sockets.c - the area of sockets: TCP, UDP and unix, on loopback.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "areas.h"

#define MANY (3 << 20)

static int option(int fd, int level, int name)
{
	int value = -7;
	socklen_t length = sizeof(value);
	return getsockopt(fd, level, name, &value, &length) < 0 ? -1 : value;
}

static short events(int fd, short asked)
{
	struct pollfd one = { .fd = fd, .events = asked };
	poll(&one, 1, 10000);
	return one.revents;
}

static struct sockaddr_in local(uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static int listener(uint16_t *port)
{
	struct sockaddr_in address = local(0);
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	SAY(fd);
	SAY(bind(fd, (struct sockaddr *)&address, sizeof(address)));
	SAY(bind(fd, (struct sockaddr *)&address, sizeof(address)));
	SAY(listen(fd, 5));
	SAY(getsockname(fd, (struct sockaddr *)&address, &length));
	*port = ntohs(address.sin_port);
	SAY(*port > 1023);
	SAY(option(fd, SOL_SOCKET, SO_ACCEPTCONN));
	SAY(option(fd, SOL_SOCKET, SO_TYPE));
	return fd;
}

static void *send_many(void *argument)
{
	int fd = *(int *)argument;
	char *bytes = malloc(MANY);
	for (int i = 0; i < MANY; i++)
		bytes[i] = (char)(i * 7);
	long done = 0;
	while (done < MANY) {
		long count = send(fd, bytes + done, (size_t)(MANY - done), 0);
		if (count <= 0)
			break;
		done += count;
	}
	shutdown(fd, SHUT_WR);
	free(bytes);
	return (void *)done;
}

static void stream(void)
{
	uint16_t port;
	char text[64] = {};
	int on = 1, waiting = 0;
	int server = listener(&port);
	struct sockaddr_in address = local(port), peer = {};
	socklen_t length = sizeof(peer);
	SAY(fcntl(server, F_SETFL, O_NONBLOCK));
	SAY(accept(server, NULL, NULL));
	SAY(fcntl(server, F_SETFL, 0));
	int client = socket(AF_INET, SOCK_STREAM, 0);
	SAY(events(client, POLLIN | POLLOUT));
	SAY(send(client, "x", 1, MSG_NOSIGNAL));
	SAY(recv(client, text, 1, 0));
	SAY(connect(client, (struct sockaddr *)&address, sizeof(address)));
	SAY(connect(client, (struct sockaddr *)&address, sizeof(address)));
	SAY(setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)));
	SAY(option(client, IPPROTO_TCP, TCP_NODELAY));
	int taken = accept4(server, (struct sockaddr *)&peer, &length, SOCK_NONBLOCK);
	SAY(taken);
	SAY(length);
	SAY(peer.sin_family);
	SAY(peer.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
	SAY(recv(taken, text, sizeof(text), 0));
	SAY(events(client, POLLIN | POLLOUT));
	const struct iovec parts[] = { { (char[]){ "hello " }, 6 }, { (char[]){ "" }, 0 },
		{ (char[]){ "world" }, 5 } };
	SAY(writev(client, parts, 3));
	SAY(events(taken, POLLIN));
	SAY(recv(taken, text, 5, MSG_PEEK));
	SAY(ioctl(taken, FIONREAD, &waiting));
	SAY(waiting);
	SAY(read(taken, text, sizeof(text)));
	puts(text);
	SAY(getpeername(client, (struct sockaddr *)&peer, &length));
	SAY(peer.sin_port == htons(port));
	pthread_t thread;
	void *sent = NULL;
	SAY(fcntl(taken, F_SETFL, 0));
	pthread_create(&thread, NULL, send_many, &client);
	long got = 0, count, wrong = 0;
	static char buffer[100000];
	while ((count = recv(taken, buffer, sizeof(buffer), 0)) > 0)
		for (long i = 0; i < count; i++, got++)
			wrong += buffer[i] != (char)(got * 7);
	pthread_join(thread, &sent);
	SAY(count);
	SAY(got);
	SAY(wrong);
	SAY((long)sent);
	SAY(events(taken, POLLIN | POLLRDHUP));
	int file = open("/tmp/areas-file", O_RDWR | O_CREAT | O_TRUNC, 0600);
	SAY(write(file, "0123456789abcdef", 16));
	off_t offset = 2;
	SAY(sendfile(taken, file, &offset, 8));
	SAY(offset);
	memset(text, 0, sizeof(text));
	SAY(recv(client, text, 8, MSG_WAITALL));
	puts(text);
	SAY(close(taken));
	SAY(recv(client, text, sizeof(text), 0));
	SAY(events(client, POLLIN | POLLRDHUP) & (POLLIN | POLLRDHUP));
	SAY(close(client));
	SAY(close(server));
	int refused = socket(AF_INET, SOCK_STREAM, 0);
	SAY(connect(refused, (struct sockaddr *)&address, sizeof(address)));
	SAY(option(refused, SOL_SOCKET, SO_ERROR));
	SAY(close(refused));
	close(file);
	SAY(unlink("/tmp/areas-file"));
}

static void under_way(void)
{
	uint16_t port;
	int server = listener(&port), events_fd = epoll_create1(0);
	struct sockaddr_in address = local(port);
	int client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	int r = connect(client, (struct sockaddr *)&address, sizeof(address));
	SAY(r == 0 || errno == EINPROGRESS);
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.fd = 9 }, got[4];
	SAY(epoll_ctl(events_fd, EPOLL_CTL_ADD, client, &event));
	SAY(epoll_wait(events_fd, got, 4, 10000));
	SAY(got[0].events);
	SAY(option(client, SOL_SOCKET, SO_ERROR));
	int taken = accept(server, NULL, NULL);
	SAY(write(taken, "abc", 3));
	SAY(epoll_wait(events_fd, got, 4, 10000));
	SAY(got[0].events & EPOLLIN);
	SAY(epoll_wait(events_fd, got, 4, 0));
	const struct linger now = { 1, 0 };
	SAY(setsockopt(taken, SOL_SOCKET, SO_LINGER, &now, sizeof(now)));
	SAY(close(taken));
	char text[8];
	SAY(epoll_wait(events_fd, got, 4, 10000));
	SAY(read(client, text, sizeof(text)) != 0);
	close(client);
	close(server);
	close(events_fd);
}

static void datagrams(void)
{
	char text[64] = {};
	int a = socket(AF_INET, SOCK_DGRAM, 0), b = socket(AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_in address = local(0), from = {};
	socklen_t length = sizeof(address);
	SAY(bind(a, (struct sockaddr *)&address, sizeof(address)));
	SAY(getsockname(a, (struct sockaddr *)&address, &length));
	SAY(send(b, "x", 1, 0));
	SAY(sendto(b, "one", 3, 0, (struct sockaddr *)&address, sizeof(address)));
	SAY(sendto(b, "", 0, 0, (struct sockaddr *)&address, sizeof(address)));
	SAY(connect(b, (struct sockaddr *)&address, sizeof(address)));
	struct iovec parts[] = { { (char[]){ "thr" }, 3 }, { (char[]){ "ee" }, 2 } };
	const struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
	SAY(sendmsg(b, &message, 0));
	length = sizeof(from);
	SAY(recvfrom(a, text, sizeof(text), 0, (struct sockaddr *)&from, &length));
	SAY(from.sin_family);
	SAY(recv(a, text, sizeof(text), 0));
	SAY(recv(a, text, 2, MSG_TRUNC));
	SAY(recv(a, text, 2, MSG_DONTWAIT));
	static char large[70000];
	SAY(send(b, large, sizeof(large), 0));
	const struct timeval little = { 0, 20000 };
	SAY(setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &little, sizeof(little)));
	SAY(recv(a, text, sizeof(text), 0));
	close(a);
	SAY(send(b, "x", 1, 0));
	SAY(events(b, POLLIN));
	SAY(send(b, "x", 1, 0));
	close(b);
}

static void unix_names(int type, const char *name, int abstract)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX }, other;
	socklen_t length = sizeof(other);
	strcpy(address.sun_path + abstract, name);
	socklen_t bytes = (socklen_t)(sizeof(sa_family_t) + abstract + strlen(name) + !abstract);
	int server = socket(AF_UNIX, type, 0), client = socket(AF_UNIX, type, 0);
	SAY(connect(client, (struct sockaddr *)&address, bytes));
	SAY(bind(server, (struct sockaddr *)&address, bytes));
	int again = socket(AF_UNIX, type, 0);
	SAY(bind(again, (struct sockaddr *)&address, bytes));
	close(again);
	if (type != SOCK_DGRAM)
		SAY(listen(server, 3));
	SAY(connect(client, (struct sockaddr *)&address, bytes));
	int taken = type == SOCK_DGRAM ? server : accept(server, NULL, NULL);
	SAY(taken);
	SAY(write(client, "first", 5));
	SAY(write(client, "second", 6));
	char text[32] = {};
	SAY(read(taken, text, sizeof(text)));
	puts(text);
	SAY(getpeername(client, (struct sockaddr *)&other, &length));
	SAY(length);
	if (taken != server)
		close(taken);
	close(server);
	close(client);
	if (!abstract)
		SAY(unlink(name));
}

static void pairs(void)
{
	int pair[2], passed[2];
	char text[16] = {}, control[CMSG_SPACE(sizeof(int))];
	SAY(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	SAY(pipe(passed));
	struct iovec part = { (char[]){ "take" }, 4 };
	struct msghdr message = { .msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control) };
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);
	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(head), &passed[1], sizeof(int));
	SAY(sendmsg(pair[0], &message, 0));
	SAY(close(passed[1]));
	part = (struct iovec){ text, sizeof(text) };
	memset(control, 0, sizeof(control));
	message.msg_controllen = sizeof(control);
	SAY(recvmsg(pair[1], &message, 0));
	int fd = -1;
	head = CMSG_FIRSTHDR(&message);
	SAY(head != NULL);
	if (head)
		memcpy(&fd, CMSG_DATA(head), sizeof(int));
	SAY(write(fd, "through", 7));
	SAY(read(passed[0], text, sizeof(text)));
	puts(text);
	SAY(close(pair[1]));
	SAY(send(pair[0], "x", 1, MSG_NOSIGNAL));
	SAY(read(pair[0], text, sizeof(text)));
	SAY(socketpair(AF_INET, SOCK_STREAM, 0, pair));
	SAY(socket(AF_UNIX, 77, 0));
	SAY(socket(4711, SOCK_STREAM, 0));
	SAY(listen(0, 1));
	SAY(listen(4000, 1));
}

static void version6(void)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_addr = in6addr_any }, from;
	socklen_t length = sizeof(address);
	char text[INET6_ADDRSTRLEN];
	int server = socket(AF_INET6, SOCK_STREAM, 0);
	SAY(bind(server, (struct sockaddr *)&address, sizeof(address)));
	SAY(listen(server, 3));
	SAY(getsockname(server, (struct sockaddr *)&address, &length));
	struct sockaddr_in four = local(ntohs(address.sin6_port));
	int client = socket(AF_INET, SOCK_STREAM, 0);
	SAY(connect(client, (struct sockaddr *)&four, sizeof(four)));
	length = sizeof(from);
	int taken = accept(server, (struct sockaddr *)&from, &length);
	SAY(taken);
	puts(inet_ntop(AF_INET6, &from.sin6_addr, text, sizeof(text)));
	close(taken);
	close(client);
	client = socket(AF_INET6, SOCK_STREAM, 0);
	address.sin6_addr = in6addr_loopback;
	SAY(connect(client, (struct sockaddr *)&address, sizeof(address)));
	taken = accept(server, (struct sockaddr *)&from, &length);
	puts(inet_ntop(AF_INET6, &from.sin6_addr, text, sizeof(text)));
	SAY(write(client, "six", 3));
	SAY(read(taken, text, sizeof(text)));
	close(taken);
	close(client);
	close(server);
}

void sockets(void)
{
	stream();
	under_way();
	datagrams();
	version6();
	unix_names(SOCK_STREAM, "/tmp/areas-socket", 0);
	unix_names(SOCK_DGRAM, "/tmp/areas-socket", 0);
	unix_names(SOCK_SEQPACKET, "berth-areas", 1);
	pairs();
}
