/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest.h - berthd and berth-guest, which reads what instances ask through /dev/lxd/sock.
 *
 * berthd accepts a connection, knows by the kernel whose it is, and hands it over under a number. berth-guest
 * reads HTTP and asks in fixed words; what it asks is answered for the instance of that connection, whatever else
 * it may say. A body, the text of an answer or of an event, is a descriptor: a file of `body_bytes`.
 */
#pragma once

#include <assert.h>
#include <stdint.h>

#define GUEST_VERSION         1
#define GUEST_KEY_MAX         256
#define GUEST_CONNECTIONS_MAX 512

enum guest_type {
	GUEST_CONNECTION = 1, /* to berth-guest, with a socket */
	GUEST_GONE,           /* to berthd: that connection is over */
	GUEST_ASK,
	GUEST_ANSWER, /* `status` as HTTP has it, and a body or none */
	GUEST_WATCH,  /* to berthd: tell it events from now on, of the types in `value` */
	GUEST_EVENT,  /* with a body */
};

enum guest_question {
	GUEST_GET_SERVER = 1,
	GUEST_SET_STATE, /* `value`: 1 ready, 0 started */
	GUEST_GET_KEYS,
	GUEST_GET_KEY,
	GUEST_GET_META_DATA,
	GUEST_GET_DEVICES,
};

#define GUEST_EVENT_CONFIG 1u
#define GUEST_EVENT_DEVICE 2u

struct guest_message {
	uint32_t version;
	uint16_t type;
	uint16_t question;
	uint32_t connection; /* its number, never used twice */
	uint32_t serial;     /* of a question and its answer */
	uint32_t value;
	uint32_t status;
	uint32_t body_bytes;
	uint32_t reserved;
	char key[GUEST_KEY_MAX]; /* with a NUL */
};
static_assert(sizeof(struct guest_message) == 32 + GUEST_KEY_MAX, "guest_message");
