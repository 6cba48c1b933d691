/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock.h - virtio socket packets, and what a host program says to a monitor's vsock socket.
 *
 * The monitor listens at a stream socket, VSOCK_SOCKET in the directory that its plan names. A program
 * connects and sends one line:
 *   "CONNECT PORT\n"  to reach a port in the guest: answered by "OK PORT\n" (the host's port), and then
 *                     the bytes of the stream follow; closed if nobody listens there
 *   "LISTEN PORT\n"   to be reached by the guest at host port PORT: answered by "OK PORT\n"; then, for
 *                     each connection, the line "FROM PORT\n" comes with the stream's descriptor
 *                     (SCM_RIGHTS). The port is free again when the program closes.
 */
#pragma once

#include <stdint.h>

#define VSOCK_SOCKET      "vsock"
#define VSOCK_CID_HOST    2
#define VSOCK_TYPE_STREAM 1

enum vsock_operation {
	VSOCK_REQUEST = 1,
	VSOCK_RESPONSE = 2,
	VSOCK_RESET = 3,
	VSOCK_SHUTDOWN = 4,
	VSOCK_DATA = 5,
	VSOCK_CREDIT = 6,
	VSOCK_CREDIT_REQUEST = 7,
};

#define VSOCK_NO_RECEIVE 1u
#define VSOCK_NO_SEND    2u

struct __attribute__((__packed__)) vsock_packet {
	uint64_t from_cid, to_cid;
	uint32_t from_port, to_port;
	uint32_t bytes;
	uint16_t type;
	uint16_t operation;
	uint32_t flags;
	uint32_t window;    /* the sender's buffer */
	uint32_t forwarded; /* how much of it has been read, in all */
};
_Static_assert(sizeof(struct vsock_packet) == 44, "wire");
