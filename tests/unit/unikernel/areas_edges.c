/* SPDX-License-Identifier: Apache-2.0 */
/*
 * areas_edges.c - the area of edges: rows of calls that a generator makes up, on every kind of pair.
 *
 * Nothing waits: all descriptors are non-blocking, and between two calls on TCP what is under way arrives.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "areas.h"

#define EVENTS     (POLLIN | POLLOUT | POLLPRI | POLLRDHUP)
#define PARTS_MOST 40
#ifndef ROUNDS
#define ROUNDS 20
#endif

enum kind { TCP, TCP6, UNIX_STREAM, UNIX_DATAGRAM, UNIX_ROWS, PIPE, UDP, KINDS };

static const char *const names[KINDS] = { "tcp", "tcp6", "stream", "datagram", "seqpacket", "pipe",
	"udp" };

static uint64_t state;

static unsigned pick(unsigned count)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned)(state >> 33) % count;
}

struct pair {
	enum kind kind;
	int fd[2], epoll;
	int made; /* bytes that were made, so that each is another one */
};

static socklen_t local(int family, struct sockaddr_storage *ret)
{
	struct sockaddr_in *four = (void *)ret;
	struct sockaddr_in6 *six = (void *)ret;
	memset(ret, 0, sizeof(*ret));
	ret->ss_family = (sa_family_t)family;
	if (family == AF_INET) {
		four->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		return sizeof(*four);
	}
	six->sin6_addr = in6addr_loopback;
	return sizeof(*six);
}

/*
 * What is under way on loopback has arrived, and its answers: a processor handles its packets in their order, so who runs
 * on one only and has a datagram back has all that was sent before. No time is long enough where others compute, too.
 */
static void arrive(void)
{
	static int own = -1;
	struct sockaddr_storage address;
	char byte = 0;
	if (own < 0) {
		socklen_t length = local(AF_INET, &address);
		own = socket(AF_INET, SOCK_DGRAM, 0);
		if (bind(own, (void *)&address, length) < 0 ||
			getsockname(own, (void *)&address, &length) < 0 ||
			connect(own, (void *)&address, length) < 0)
			puts("no datagrams");
	}
	for (int i = 0; i < 4; i++)
		if (send(own, &byte, 1, 0) != 1 || recv(own, &byte, 1, 0) != 1)
			puts("no datagram");
}

static void settle(const struct pair *pair)
{
	if (pair->kind <= TCP6 || pair->kind == UDP)
		arrive();
}

static void make_tcp(int family, int fd[2])
{
	struct sockaddr_storage address;
	socklen_t length = local(family, &address);
	int server = socket(family, SOCK_STREAM, 0);
	fd[0] = socket(family, SOCK_STREAM, 0);
	if (bind(server, (void *)&address, length) < 0 || listen(server, 1) < 0 ||
		getsockname(server, (void *)&address, &length) < 0 ||
		connect(fd[0], (void *)&address, length) < 0)
		puts("no pair");
	fd[1] = accept(server, NULL, NULL);
	close(server);
	/* What is sent is there, whenever it was acknowledged. */
	for (int i = 0, on = 1; i < 2; i++)
		setsockopt(fd[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void make_udp(int fd[2])
{
	struct sockaddr_storage address[2];
	for (int i = 0; i < 2; i++) {
		socklen_t length = local(AF_INET, &address[i]);
		fd[i] = socket(AF_INET, SOCK_DGRAM, 0);
		if (bind(fd[i], (void *)&address[i], length) < 0 ||
			getsockname(fd[i], (void *)&address[i], &length) < 0)
			puts("no pair");
	}
	for (int i = 0; i < 2; i++)
		if (connect(fd[i], (void *)&address[1 - i], sizeof(struct sockaddr_in)) < 0)
			puts("no pair");
}

static void make_pair(struct pair *pair, enum kind kind)
{
	static const int types[] = { [UNIX_STREAM] = SOCK_STREAM,
		[UNIX_DATAGRAM] = SOCK_DGRAM,
		[UNIX_ROWS] = SOCK_SEQPACKET };
	*pair = (struct pair){ .kind = kind };
	if (kind == TCP || kind == TCP6)
		make_tcp(kind == TCP ? AF_INET : AF_INET6, pair->fd);
	else if (kind == UDP)
		make_udp(pair->fd);
	else if (kind == PIPE ? pipe(pair->fd) : socketpair(AF_UNIX, types[kind], 0, pair->fd))
		puts("no pair");
	pair->epoll = epoll_create1(0);
	for (int i = 0; i < 2; i++)
		fcntl(pair->fd[i], F_SETFL, fcntl(pair->fd[i], F_GETFL) | O_NONBLOCK);
}

static void fill(struct pair *pair, char *bytes, int count)
{
	for (int i = 0; i < count; i++)
		bytes[i] = (char)('a' + pair->made++ % 26);
}

static void tell(const char *what, int who, long a, long b, long result)
{
	printf("%s %d %ld %ld = %ld %s\n", what, who, a, b, result,
		result < 0 ? strerrorname_np(errno) : "");
}

static void put(struct pair *pair, int who)
{
	static const int sizes[] = { 0, 1, 2, 7, 100, 1000 };
	char bytes[1000];
	/* An empty row that is left unread resets its connection or does not, with each Linux. */
	int size = sizes[pick(6)], fd = pair->fd[who];
	if (pair->kind == UNIX_ROWS && size == 0)
		return;
	fill(pair, bytes, size);
	tell("put", who, size, 0,
		pair->kind == PIPE ? write(fd, bytes, (size_t)size)
				   : send(fd, bytes, (size_t)size, MSG_NOSIGNAL));
}

static void get(struct pair *pair, int who)
{
	static const int sizes[] = { 0, 1, 3, 50, 2000 };
	static const int flags[] = { 0, 0, 0, MSG_PEEK, MSG_TRUNC, MSG_PEEK | MSG_TRUNC,
		MSG_DONTWAIT, MSG_WAITALL };
	char bytes[2001] = {};
	int size = sizes[pick(5)], flag = flags[pick(8)], fd = pair->fd[who];
	long got = pair->kind == PIPE ? read(fd, bytes, (size_t)size)
				      : recv(fd, bytes, (size_t)size, flag);
	tell("get", who, size, flag, got);
	if (got > 0 && !((flag & MSG_TRUNC) && pair->kind <= TCP6))
		printf("%.*s\n", (int)(got < 30 ? got : 30), bytes);
}

static size_t cut(struct iovec *parts, char *bytes, size_t room)
{
	size_t count = pick(PARTS_MOST), used = 0;
	for (size_t i = 0; i < count; i++) {
		size_t size = pick(4) ? pick(12) : 0;
		size = size < room - used ? size : room - used;
		parts[i] = (struct iovec){ bytes + used, size };
		used += size;
	}
	return count;
}

static void put_parts(struct pair *pair, int who)
{
	struct iovec parts[PARTS_MOST];
	char bytes[400];
	fill(pair, bytes, sizeof(bytes));
	struct msghdr message = { .msg_iov = parts };
	message.msg_iovlen = cut(parts, bytes, sizeof(bytes));
	if (pair->kind == UNIX_ROWS && message.msg_iovlen < 4)
		return;
	tell("put parts", who, (long)message.msg_iovlen, 0,
		pair->kind == PIPE ? writev(pair->fd[who], parts, (int)message.msg_iovlen)
				   : sendmsg(pair->fd[who], &message, MSG_NOSIGNAL));
}

static void get_parts(struct pair *pair, int who)
{
	static const int flags[] = { 0, MSG_PEEK, MSG_TRUNC };
	struct iovec parts[PARTS_MOST];
	struct sockaddr_storage from;
	char bytes[400] = {};
	struct msghdr message = {
		.msg_iov = parts, .msg_name = &from, .msg_namelen = sizeof(from)
	};
	int flag = flags[pick(pair->kind <= TCP6 ? 2 : 3)];
	message.msg_iovlen = cut(parts, bytes, sizeof(bytes));
	long got = pair->kind == PIPE ? readv(pair->fd[who], parts, (int)message.msg_iovlen)
				      : recvmsg(pair->fd[who], &message, flag);
	tell("get parts", who, (long)message.msg_iovlen, flag, got);
	if (got >= 0)
		printf("%x %d %.30s\n", (unsigned)message.msg_flags, (int)message.msg_namelen,
			bytes);
}

static void end_half(struct pair *pair, int who)
{
	int how = (int)pick(4);
	/* Whether it or the missing receiver is told first is another answer with each Linux. */
	if (pair->kind == UNIX_DATAGRAM)
		return;
	tell("shutdown", who, how, 0, shutdown(pair->fd[who], how));
}

static void look(struct pair *pair, int who)
{
	struct pollfd one = { .fd = pair->fd[who], .events = EVENTS };
	int r = poll(&one, 1, 0);
	tell("poll", who, one.revents, 0, r);
}

static void ask(struct pair *pair, int who)
{
	int value = -7;
	socklen_t length = sizeof(value);
	long r;
	switch (pick(5)) {
	case 0:
		r = ioctl(pair->fd[who], FIONREAD, &value);
		/* A datagram that was not read and one that is none: Linux tells apart what it takes from where. */
		tell("readable", who, value, 0, r);
		break;
	case 1:
		r = getsockopt(pair->fd[who], SOL_SOCKET, SO_ERROR, &value, &length);
		tell("error", who, value, 0, r);
		break;
	case 2: {
		struct sockaddr_storage name;
		length = sizeof(name);
		r = getpeername(pair->fd[who], (void *)&name, &length);
		tell("peer", who, r < 0 ? 0 : (long)length, 0, r);
		break;
	}
	case 3:
		r = getsockopt(pair->fd[who], SOL_SOCKET, SO_TYPE, &value, &length);
		tell("type", who, value, 0, r);
		break;
	default:
		r = accept(pair->fd[who], NULL, NULL);
		tell("accept", who, 0, 0, r);
		break;
	}
}

static void watch(struct pair *pair, int who)
{
	static const uint32_t modes[] = { 0, EPOLLET, EPOLLONESHOT, EPOLLET | EPOLLONESHOT };
	static const uint32_t kinds[] = { EPOLLIN, EPOLLOUT, EPOLLIN | EPOLLRDHUP,
		EPOLLIN | EPOLLOUT | EPOLLRDHUP };
	uint32_t kind = kinds[pick(4)], events = kind | modes[pick(4)];
	/* Linux tells again of room that was there whenever something was taken away, but for TCP. */
	if (pair->kind > TCP6 && (kind & EPOLLOUT))
		events &= ~(uint32_t)EPOLLET;
	int operation = 1 + (int)pick(3);
	struct epoll_event event = { .events = events, .data.u32 = (uint32_t)who };
	tell("epoll", who, operation, (long)events,
		epoll_ctl(pair->epoll, operation, pair->fd[who], &event));
}

static void wait_now(struct pair *pair)
{
	struct epoll_event got[4] = {};
	uint32_t of[2] = {};
	int r = epoll_wait(pair->epoll, got, 4, 0);
	for (int i = 0; i < r; i++)
		of[got[i].data.u32 & 1] = got[i].events;
	tell("wait", 0, of[0], of[1], r);
}

static void linger(struct pair *pair, int who)
{
	const struct linger value = { (int)pick(2), 0 };
	tell("linger", who, value.l_onoff, 0,
		setsockopt(pair->fd[who], SOL_SOCKET, SO_LINGER, &value, sizeof(value)));
}

static void step(struct pair *pair, bool may_close)
{
	int who = (int)pick(2);
	unsigned what = pick(may_close ? 30 : 29);
	if (what < 6)
		put(pair, who);
	else if (what < 11)
		get(pair, who);
	else if (what < 13)
		put_parts(pair, who);
	else if (what < 15)
		get_parts(pair, who);
	else if (what < 16)
		end_half(pair, who);
	else if (what < 20)
		look(pair, who);
	else if (what < 22)
		ask(pair, who);
	else if (what < 25)
		watch(pair, who);
	else if (what < 28)
		wait_now(pair);
	else if (what < 29)
		linger(pair, who);
	else {
		tell("close", who, 0, 0, close(pair->fd[who]));
		pair->fd[who] = -1;
	}
	if (what < 16 || what == 29) /* the others change nothing */
		settle(pair);
}

static int option(int fd, int level, int name)
{
	int value = -7;
	socklen_t length = sizeof(value);
	return getsockopt(fd, level, name, &value, &length) < 0 ? -1 : value;
}

static long set(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value));
}

static int events_of(int fd)
{
	struct pollfd one = { .fd = fd, .events = EVENTS };
	poll(&one, 1, 0);
	return one.revents;
}

/* Who is refused may try again; who connects to no family begins anew; a listener that is shut listens no more. */
static void ends_and_beginnings(void)
{
	struct sockaddr_storage address;
	const struct sockaddr none = { .sa_family = AF_UNSPEC };
	socklen_t length = local(AF_INET, &address);
	int waiting, server = socket(AF_INET, SOCK_STREAM, 0);
	SAY(listen(server, 2));
	SAY(getsockname(server, (void *)&address, &length));
	length = local(AF_INET, &address);
	((struct sockaddr_in *)&address)->sin_port = htons(1);
	int client = socket(AF_INET, SOCK_STREAM, 0);
	for (int i = 0; i < 2; i++) {
		SAY(connect(client, (void *)&address, length));
		SAY(events_of(client));
		SAY(option(client, SOL_SOCKET, SO_ERROR));
	}
	SAY(getsockname(server, (void *)&address, &length));
	((struct sockaddr_in *)&address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	SAY(connect(server, (void *)&address, length));
	SAY(ioctl(server, FIONREAD, &waiting));
	SAY(connect(client, (void *)&address, length));
	int taken = accept(server, NULL, NULL);
	SAY(connect(client, &none, sizeof(none)));
	SAY(events_of(client));
	arrive();
	SAY(recv(taken, &waiting, 1, MSG_DONTWAIT));
	SAY(connect(client, (void *)&address, length));
	SAY(set(client, IPPROTO_TCP, TCP_KEEPIDLE, 40000));
	SAY(set(client, IPPROTO_TCP, TCP_SYNCNT, 300));
	SAY(set(client, IPPROTO_TCP, TCP_SYNCNT, 3));
	SAY(option(client, IPPROTO_TCP, TCP_SYNCNT));
	SAY(option(client, IPPROTO_TCP, TCP_LINGER2));
	SAY(option(client, 999, 1));
	SAY(shutdown(server, SHUT_WR));
	SAY(events_of(server));
	SAY(shutdown(server, SHUT_RD));
	SAY(events_of(server));
	SAY(accept(server, NULL, NULL));
	SAY(listen(server, 1));
	close(taken);
	close(client);
	close(server);
}

/* Room in a connection is something to read for who watches the one that watches it. */
static void one_watches_another(void)
{
	static char bytes[1 << 16];
	struct epoll_event event = { .events = EPOLLOUT | EPOLLET }, got;
	int fd[2], inner = epoll_create1(0), outer = epoll_create1(0);
	make_tcp(AF_INET, fd);
	fcntl(fd[0], F_SETFL, O_NONBLOCK);
	SAY(epoll_ctl(inner, EPOLL_CTL_ADD, fd[0], &event));
	event.events = EPOLLIN | EPOLLET;
	SAY(epoll_ctl(outer, EPOLL_CTL_ADD, inner, &event));
	/* Until what the other side takes is full, too. */
	for (int quiet = 0; quiet < 20; quiet++, usleep(1000), arrive())
		while (write(fd[0], bytes, sizeof(bytes)) > 0)
			quiet = 0;
	SAY(epoll_wait(inner, &got, 1, 0) >= 0);
	SAY(epoll_wait(outer, &got, 1, 0) >= 0);
	fcntl(fd[1], F_SETFL, O_NONBLOCK);
	for (int quiet = 0; quiet < 20; quiet++, usleep(1000), arrive())
		while (read(fd[1], bytes, sizeof(bytes)) > 0)
			quiet = 0;
	SAY(epoll_wait(outer, &got, 1, 20000));
	SAY(epoll_wait(inner, &got, 1, 0));
	SAY(got.events);
	close(fd[0]);
	close(fd[1]);
	close(inner);
	close(outer);
}

void edges(void)
{
	signal(SIGPIPE, SIG_IGN);
	ends_and_beginnings();
	one_watches_another();
	for (uint64_t round = 1; round <= ROUNDS; round++)
		for (enum kind kind = TCP; kind < KINDS; kind++) {
			struct pair pair;
			state = round * 0x9e3779b97f4a7c15u + kind;
			make_pair(&pair, kind);
			printf("-- %s %d\n", names[kind], (int)round);
			for (int i = 0; i < 25; i++)
				step(&pair, true);
			for (int i = 0; i < 2; i++)
				close(pair.fd[i]);
			close(pair.epoll);
		}
}
