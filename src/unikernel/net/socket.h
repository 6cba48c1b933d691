/* SPDX-License-Identifier: Apache-2.0 */
/*
 * socket.h - what every kind of socket does; the calls above it do the waiting and know no kind.
 *
 * As with files: what would have to wait returns -EAGAIN, and who makes a socket ready calls wait_notify().
 */
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include "unikernel/file.h"

#define ADDRESS_BYTES 128u

struct address {
	uint32_t bytes; /* 0: none */
	union {
		uint16_t family;
		uint8_t data[ADDRESS_BYTES];
	} __attribute__((__aligned__(8)));
};

/* Files that go with bytes through a unix socket. */
#define PASSED_MAX 32u
struct passed {
	uint32_t count;
	struct file *files[PASSED_MAX];
};

/* Beside the MSG_ flags: what is sent stays as it is for ever. */
#define SOCKET_CONSTANT 0x80000000u

struct transfer {
	uint32_t flags; /* MSG_ */
	struct address *address;
	struct passed *passed; /* NULL: none are sent or wanted */
	uint32_t result_flags; /* of a receive: MSG_TRUNC and its kind */
};

struct socket;

struct socket_operations {
	bool keeps_borders; /* a datagram is one */
	int64_t (*bind)(struct socket *socket, const struct address *address);
	/* -EINPROGRESS: it is under way, and the socket will be writable or have an error. */
	int64_t (*connect)(struct socket *socket, const struct address *address);
	int64_t (*listen)(struct socket *socket, int backlog);
	int64_t (*accept)(struct socket *socket, struct socket **ret);
	int64_t (*send)(
		struct socket *socket, const void *from, uint64_t size, struct transfer *how);
	int64_t (*receive)(struct socket *socket, void *to, uint64_t size, struct transfer *how);
	int64_t (*shutdown)(struct socket *socket, int how);
	int64_t (*name)(struct socket *socket, bool is_peer, struct address *ret);
	int64_t (*get_option)(struct socket *socket, int level, int name, int *ret);
	int64_t (*set_option)(
		struct socket *socket, int level, int name, const void *value, uint32_t bytes);
	int64_t (*readable)(struct socket *socket); /* bytes, for FIONREAD */
	uint32_t (*poll)(struct socket *socket);
	void (*close)(struct socket *socket); /* frees it */
};

struct socket {
	const struct socket_operations *operations;
	struct wait_queue queue;
	int domain, type, protocol;
	int error; /* what SO_ERROR will say, positive */
	bool is_listening, is_shut_read, is_shut_write;
	uint64_t receive_timeout_ns, send_timeout_ns;
	struct linger linger;
	uint32_t options;              /* SOCKET_ */
	int send_bytes, receive_bytes; /* SO_SNDBUF and SO_RCVBUF as they were asked for */
};

#define SOCKET_REUSE_ADDRESS 1u
#define SOCKET_REUSE_PORT    2u
#define SOCKET_KEEPALIVE     4u
#define SOCKET_BROADCAST     8u
#define SOCKET_V6ONLY        16u
#define SOCKET_PASSCRED      32u

/* A file for it; drops the socket if there is no memory. */
int64_t socket_file(struct socket *socket, uint32_t flags, struct file **ret);

/* The socket of a file, or NULL. */
struct socket *socket_of(const struct file *file);

/* What sockets do, with waiting unless the file or the flags forbid it; EPIPE comes with its signal. */
int64_t wait_receive(struct file *file, void *to, uint64_t size, struct transfer *how);
int64_t wait_send(struct file *file, const void *from, uint64_t size, struct transfer *how);
int64_t wait_accept(struct file *file, struct socket **ret);
int64_t wait_connect(struct file *file, const struct address *address);
int64_t wait_vector(struct file *file, const struct iovec *list, uint64_t count, bool writes,
	struct transfer *how);

/* readv and writev as one transfer. */
int64_t socket_vector(struct file *file, const struct iovec *list, uint64_t count, bool writes);

/* A file that sends from memory that never changes: no copy. -EOPNOTSUPP if the socket cannot. */
int64_t socket_send_constant(struct file *file, const void *from, uint64_t size, bool has_more);

/* Takes the error that waits, as a negative number; 0 if none. */
int64_t socket_take_error(struct socket *socket);

/* The two calls, in options.c. */
struct registers;
int64_t socket_get_option(struct registers *r);
int64_t socket_set_option(struct registers *r);

int64_t tcp_socket_new(int domain, struct socket **ret);
int64_t datagram_socket_new(int domain, int type, int protocol, struct socket **ret);
int64_t unix_socket_new(int type, struct socket **ret);
int64_t unix_socket_pair(int type, struct socket **ret_a, struct socket **ret_b);

/* For tables: -EOPNOTSUPP, and options that no kind has. */
int64_t socket_no_accept(struct socket *socket, struct socket **ret);
int64_t socket_no_listen(struct socket *socket, int backlog);
int64_t socket_no_get_option(struct socket *socket, int level, int name, int *ret);
int64_t socket_no_set_option(
	struct socket *socket, int level, int name, const void *value, uint32_t bytes);
