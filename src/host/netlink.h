/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netlink.h - requests to the kernel's rtnetlink and nf_tables, with every length checked.
 *
 * A request is one or more messages that are sent with one system call and acknowledged one by one:
 *
 *	netlink_begin(netlink);
 *	netlink_message(netlink, RTM_NEWLINK, NLM_F_CREATE, &header, sizeof(header));
 *	netlink_put_text(netlink, IFLA_IFNAME, name);
 *	size_t info = netlink_nest(netlink, IFLA_LINKINFO);
 *	...
 *	netlink_nest_end(netlink, info);
 *	r = netlink_send(netlink, e);
 *
 * What does not fit marks the request as too long; it is then refused by netlink_send() with -E2BIG and
 * nothing of it reaches the kernel. The kernel answers before sendmsg(2) returns, so nothing blocks.
 */
#pragma once

#include <linux/netlink.h>

#include "base/base.h"
#include "base/error.h"

#define NETLINK_REQUEST_MAX    32768 /* bytes of all messages of a request */
#define NETLINK_MESSAGES_MAX   512   /* acknowledgements must fit the socket's buffer */
#define NETLINK_ATTRIBUTES_MAX 128

struct netlink;

/* `protocol` is NETLINK_ROUTE or NETLINK_NETFILTER; the handle belongs to this network namespace. */
int netlink_open(int protocol, struct netlink **ret, struct error *e) must_use;
/* As netlink_open(), in the network namespace of the descriptor. Only the calling thread goes there and back. */
int netlink_open_in(int netns, int protocol, struct netlink **ret, struct error *e) must_use;
void netlink_close(struct netlink *netlink);
DEFINE_CLEANUP(struct netlink *, netlink_close);

/* Forgets what was written and starts a request. */
void netlink_begin(struct netlink *netlink);

/*
 * Starts the next message of the request. `flags` as NLM_F_CREATE; NLM_F_REQUEST and NLM_F_ACK are
 * added. `header` is the fixed struct of `type`.
 */
void netlink_message(
	struct netlink *netlink, uint16_t type, uint16_t flags, const void *header, size_t length);

/* As netlink_message(), but the kernel does not acknowledge it: the ends of an nf_tables batch. */
void netlink_message_unanswered(
	struct netlink *netlink, uint16_t type, const void *header, size_t length);

/* Attributes of the message. */
void netlink_put(struct netlink *netlink, uint16_t type, const void *data, size_t length);
void netlink_put_text(struct netlink *netlink, uint16_t type, const char *text); /* with its NUL */
void netlink_put_u8(struct netlink *netlink, uint16_t type, uint8_t value);
void netlink_put_u16(struct netlink *netlink, uint16_t type, uint16_t value);
void netlink_put_u32(struct netlink *netlink, uint16_t type, uint32_t value);
void netlink_put_u64(struct netlink *netlink, uint16_t type, uint64_t value);

/* An attribute that holds attributes, until netlink_nest_end() with what netlink_nest() returned. */
size_t netlink_nest(struct netlink *netlink, uint16_t type) must_use;
void netlink_nest_end(struct netlink *netlink, size_t nest);

/* Room for a struct inside a nest, as the ifinfomsg of a veth's peer. */
void netlink_put_raw(struct netlink *netlink, const void *data, size_t length);

/* Bytes that still fit; to split a long list over several requests. */
size_t netlink_room(const struct netlink *netlink);

/*
 * Sends the request. 0 if the kernel did all of it; else the errno of the first message that failed,
 * with the kernel's own words in *e. An rtnetlink request may be done in part; nf_tables is all or none.
 */
int netlink_send(struct netlink *netlink, struct error *e) must_use;

/* Called for each object of the answer; a negative return ends it and is what netlink_get() returns. */
typedef int netlink_call(void *data, uint16_t type, const void *message, size_t length);

/* Sends the one message of the request and hands on what the kernel answers; NLM_F_DUMP for a list. */
int netlink_get(struct netlink *netlink, netlink_call *call, void *data, struct error *e) must_use;

/*
 * The attributes in `length` bytes at `start`, by type; those of a type >= `count` are passed over.
 * -EBADMSG if a length does not fit.
 */
int netlink_attributes(
	const void *start, size_t length, const struct nlattr **ret, size_t count) must_use;

/* The value of an attribute; the default if it is absent or too short. */
uint32_t netlink_u32(const struct nlattr *attribute, uint32_t otherwise);
const void *netlink_data(const struct nlattr *attribute, size_t length); /* NULL if it is shorter */
size_t netlink_length(const struct nlattr *attribute);
/* Copies a text that may lack its NUL, cut to `size`. */
void netlink_text(const struct nlattr *attribute, char *buffer, size_t size);
