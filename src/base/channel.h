/* SPDX-License-Identifier: Apache-2.0 */
/*
 * channel.h - framed messages and descriptors between two of our processes over a unix socket.
 *
 * A channel is a SOCK_SEQPACKET socket: a message arrives whole or not at all. The bytes of a message
 * are structs of abi/. A peer may be hostile (a runner that a guest broke into), so a receiver checks
 * the length before it reads a field.
 */
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include "base/base.h"
#include "base/error.h"

#define CHANNEL_MESSAGE_MAX 65536 /* bytes */
#define CHANNEL_FDS_MAX     16

/* Two connected, non-blocking, close-on-exec ends. */
int channel_pair(int ret[2], struct error *e) must_use;

/* Listens at / connects to `name` in the directory `dir`; no path length limit. Non-blocking. */
int channel_listen(int dir, const char *name, mode_t mode, int *ret, struct error *e) must_use;
int channel_accept(int listener) must_use; /* the descriptor, or -errno */
int channel_connect(int dir, const char *name, int *ret, struct error *e) must_use;

/*
 * Sends one message and duplicates of `fds`. -EAGAIN if the peer does not keep up, -EPIPE if it is
 * gone; never a signal.
 */
int channel_send(
	int channel, const void *data, size_t length, const int *fds, size_t fd_count) must_use;
int channel_send_iov(int channel, const struct iovec *iov, size_t iov_count, const int *fds,
	size_t fd_count) must_use;

/*
 * Receives one message into `data`: its length; 0 when the peer is gone; -EAGAIN if there is none;
 * -EMSGSIZE if it or its descriptors did not fit (all are closed then). *fd_count is the room in `fds`
 * before and the count after; received descriptors are the caller's and close-on-exec.
 */
ssize_t channel_receive(int channel, void *data, size_t size, int *fds, size_t *fd_count) must_use;
