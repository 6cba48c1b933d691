/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netlink.c - requests to the kernel's rtnetlink and nf_tables, with every length checked.
 *
 * No library: the runner uses this too, and each library is pages that every instance pays for.
 */
#include "host/netlink.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define ALIGN(length)    (((length) + 3) & ~(size_t)3)
#define ATTRIBUTE_HEADER ALIGN(sizeof(struct nlattr))
#define MESSAGE_HEADER   ALIGN(sizeof(struct nlmsghdr))
#define ANSWER_MAX       32768

struct netlink {
	int fd;
	uint32_t sequence; /* of the first message of the request */
	uint32_t count;    /* messages of the request */
	uint32_t acks;     /* acknowledgements that the kernel owes */
	size_t length;     /* bytes written */
	size_t message;    /* where the message that is being written starts */
	bool is_too_long;
	_Alignas(8) uint8_t data[NETLINK_REQUEST_MAX];
	_Alignas(8) uint8_t answer[ANSWER_MAX];
};

int netlink_open(int protocol, struct netlink **ret, struct error *e)
{
	cleanup(close) int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	if (fd < 0)
		return error_errno(e, "open a netlink socket");
	struct sockaddr_nl address = { .nl_family = AF_NETLINK };
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return error_errno(e, "bind a netlink socket");
	/* Sentences in errors, and errors that do not repeat the request; older kernels do without. */
	int one = 1;
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one));
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
	/* Room for an acknowledgement of each message; the kernel counts some 800 bytes for one. */
	int room = NETLINK_MESSAGES_MAX * 1024;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));

	struct netlink *netlink = alloc(struct netlink);
	netlink->fd = TAKE_FD(fd);
	netlink->sequence = 1;
	*ret = netlink;
	return 0;
}

int netlink_open_in(int netns, int protocol, struct netlink **ret, struct error *e)
{
	cleanup(close) int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (own < 0)
		return error_errno(e, "open the network namespace");
	if (setns(netns, CLONE_NEWNET) < 0)
		return error_errno(e, "enter a network namespace");
	int r = netlink_open(protocol, ret, e);
	/* To go on in the wrong one would harm an instance. */
	if (setns(own, CLONE_NEWNET) < 0)
		abort();
	return r;
}

void netlink_close(struct netlink *netlink)
{
	if (!netlink)
		return;
	close(netlink->fd);
	free(netlink);
}

void netlink_begin(struct netlink *netlink)
{
	netlink->sequence += netlink->count;
	netlink->count = 0;
	netlink->acks = 0;
	netlink->length = 0;
	netlink->message = 0;
	netlink->is_too_long = false;
}

/* Zeroed room for `length` bytes at the end of the message, or NULL. */
static uint8_t *extend(struct netlink *netlink, size_t length)
{
	size_t room = sizeof(netlink->data) - netlink->length;
	if (netlink->is_too_long || length > room || ALIGN(length) > room) {
		netlink->is_too_long = true;
		return NULL;
	}
	uint8_t *at = netlink->data + netlink->length;
	memset(at, 0, ALIGN(length));
	netlink->length += ALIGN(length);
	if (netlink->count > 0) {
		struct nlmsghdr *header = (void *)(netlink->data + netlink->message);
		header->nlmsg_len = (uint32_t)(netlink->length - netlink->message);
	}
	return at;
}

static void message_start(
	struct netlink *netlink, uint16_t type, uint16_t flags, const void *fixed, size_t length)
{
	if (netlink->count == NETLINK_MESSAGES_MAX)
		netlink->is_too_long = true;
	netlink->message = netlink->length;
	struct nlmsghdr *header = (void *)extend(netlink, MESSAGE_HEADER);
	if (!header)
		return;
	header->nlmsg_len = (uint32_t)MESSAGE_HEADER;
	header->nlmsg_type = type;
	header->nlmsg_flags = flags | NLM_F_REQUEST;
	header->nlmsg_seq = netlink->sequence + netlink->count;
	netlink->count++;
	netlink->acks += (flags & NLM_F_ACK) != 0;
	netlink_put_raw(netlink, fixed, length);
}

void netlink_message(
	struct netlink *netlink, uint16_t type, uint16_t flags, const void *header, size_t length)
{
	message_start(netlink, type, flags | NLM_F_ACK, header, length);
}

void netlink_message_unanswered(
	struct netlink *netlink, uint16_t type, const void *header, size_t length)
{
	message_start(netlink, type, 0, header, length);
}

void netlink_put_raw(struct netlink *netlink, const void *data, size_t length)
{
	uint8_t *at = extend(netlink, length);
	if (at && length > 0)
		memcpy(at, data, length);
}

void netlink_put(struct netlink *netlink, uint16_t type, const void *data, size_t length)
{
	if (length > UINT16_MAX - ATTRIBUTE_HEADER) {
		netlink->is_too_long = true;
		return;
	}
	struct nlattr *attribute = (void *)extend(netlink, ATTRIBUTE_HEADER + length);
	if (!attribute)
		return;
	attribute->nla_type = type;
	attribute->nla_len = (uint16_t)(ATTRIBUTE_HEADER + length);
	if (length > 0)
		memcpy((uint8_t *)attribute + ATTRIBUTE_HEADER, data, length);
}

void netlink_put_text(struct netlink *netlink, uint16_t type, const char *text)
{
	netlink_put(netlink, type, text, strlen(text) + 1);
}

void netlink_put_u8(struct netlink *netlink, uint16_t type, uint8_t value)
{
	netlink_put(netlink, type, &value, sizeof(value));
}

void netlink_put_u16(struct netlink *netlink, uint16_t type, uint16_t value)
{
	netlink_put(netlink, type, &value, sizeof(value));
}

void netlink_put_u32(struct netlink *netlink, uint16_t type, uint32_t value)
{
	netlink_put(netlink, type, &value, sizeof(value));
}

void netlink_put_u64(struct netlink *netlink, uint16_t type, uint64_t value)
{
	netlink_put(netlink, type, &value, sizeof(value));
}

size_t netlink_nest(struct netlink *netlink, uint16_t type)
{
	size_t start = netlink->length;
	netlink_put(netlink, type | NLA_F_NESTED, NULL, 0);
	return start;
}

void netlink_nest_end(struct netlink *netlink, size_t nest)
{
	if (netlink->is_too_long)
		return;
	struct nlattr *attribute = (void *)(netlink->data + nest);
	size_t length = netlink->length - nest;
	if (length > UINT16_MAX)
		netlink->is_too_long = true;
	else
		attribute->nla_len = (uint16_t)length;
}

size_t netlink_room(const struct netlink *netlink)
{
	if (netlink->is_too_long || netlink->count >= NETLINK_MESSAGES_MAX)
		return 0;
	return sizeof(netlink->data) - netlink->length;
}

static int transmit(struct netlink *netlink, struct error *e)
{
	if (netlink->is_too_long)
		return error_set(e, -E2BIG, "the request to the kernel is too long");
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	ssize_t sent;
	do
		sent = sendto(netlink->fd, netlink->data, netlink->length, 0,
			(struct sockaddr *)&kernel, sizeof(kernel));
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return error_errno(e, "send a request to the kernel");
	return 0;
}

/* Fills the answer; only what the kernel itself sent counts. */
static ssize_t receive(struct netlink *netlink, struct error *e)
{
	for (;;) {
		struct sockaddr_nl from = {};
		socklen_t from_length = sizeof(from);
		ssize_t got = recvfrom(netlink->fd, netlink->answer, sizeof(netlink->answer),
			MSG_TRUNC, (struct sockaddr *)&from, &from_length);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_errno(e, "receive the kernel's answer");
		if (got > (ssize_t)sizeof(netlink->answer))
			return error_set(e, -EMSGSIZE, "the kernel's answer is too long");
		if (from_length == sizeof(from) && from.nl_pid == 0)
			return got;
	}
}

/* The errno in an NLMSG_ERROR and the kernel's sentence, if there is one. */
static int read_error(const struct nlmsghdr *header, struct error *e)
{
	size_t length = header->nlmsg_len - MESSAGE_HEADER;
	const struct nlmsgerr *answer = (const void *)((const uint8_t *)header + MESSAGE_HEADER);
	if (length < sizeof(*answer))
		return error_set(e, -EBADMSG, "the kernel's answer is too short");
	if (answer->error == 0)
		return 0;
	int code = answer->error < 0 ? answer->error : -answer->error;
	if (!(header->nlmsg_flags & NLM_F_ACK_TLVS))
		return error_code(e, code, "the kernel refused");
	size_t skip = sizeof(*answer);
	if (!(header->nlmsg_flags & NLM_F_CAPPED) && answer->msg.nlmsg_len >= MESSAGE_HEADER)
		skip += ALIGN(answer->msg.nlmsg_len - MESSAGE_HEADER);
	const struct nlattr *attributes[NLMSGERR_ATTR_MSG + 1];
	char sentence[200] = "";
	if (skip <= length &&
		netlink_attributes((const uint8_t *)answer + skip, length - skip, attributes,
			ARRAY_SIZE(attributes)) == 0)
		netlink_text(attributes[NLMSGERR_ATTR_MSG], sentence, sizeof(sentence));
	if (!sentence[0])
		return error_code(e, code, "the kernel refused");
	return error_code(e, code, "the kernel says \"%s\"", sentence);
}

struct answer {
	netlink_call *call; /* NULL if only acknowledgements are expected */
	void *data;
	uint32_t left; /* acknowledgements, or 1 for the end of a list */
	int failed;    /* the first error */
};

/* Looks at one message of the kernel's. */
static void take_message(struct netlink *netlink, const struct nlmsghdr *header,
	struct answer *answer, struct error *e)
{
	if (header->nlmsg_seq - netlink->sequence >= netlink->count)
		return; /* of an earlier request that was given up */
	size_t length = header->nlmsg_len - MESSAGE_HEADER;
	int r = 0;
	if (header->nlmsg_type == NLMSG_ERROR) {
		r = read_error(header, answer->failed ? NULL : e);
		answer->left--;
	} else if (header->nlmsg_type == NLMSG_DONE) {
		const int *code = (const void *)((const uint8_t *)header + MESSAGE_HEADER);
		if (length >= sizeof(*code) && *code < 0)
			r = error_code(answer->failed ? NULL : e, *code, "the kernel's list");
		answer->left--;
	} else if (answer->call && !answer->failed && header->nlmsg_type >= NLMSG_MIN_TYPE) {
		r = answer->call(answer->data, header->nlmsg_type,
			(const uint8_t *)header + MESSAGE_HEADER, length);
	}
	if (r < 0 && !answer->failed)
		answer->failed = r;
}

static int collect(struct netlink *netlink, struct answer *answer, struct error *e)
{
	while (answer->left > 0) {
		ssize_t got = receive(netlink, e);
		if (got < 0)
			return (int)got;
		size_t at = 0;
		while (answer->left > 0 && (size_t)got - at >= MESSAGE_HEADER) {
			const struct nlmsghdr *header = (const void *)(netlink->answer + at);
			if (header->nlmsg_len < MESSAGE_HEADER ||
				header->nlmsg_len > (size_t)got - at)
				return error_set(e, -EBADMSG, "the kernel's answer is cut off");
			take_message(netlink, header, answer, e);
			at += ALIGN(header->nlmsg_len);
			if (at > (size_t)got)
				break;
		}
	}
	return answer->failed;
}

int netlink_send(struct netlink *netlink, struct error *e)
{
	if (netlink->count == 0 && !netlink->is_too_long)
		return 0;
	int r = transmit(netlink, e);
	if (r < 0)
		return r;
	struct answer answer = { .left = netlink->acks };
	return collect(netlink, &answer, e);
}

int netlink_get(struct netlink *netlink, netlink_call *call, void *data, struct error *e)
{
	struct nlmsghdr *header = (void *)netlink->data;
	if (netlink->count == 1 && (header->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP)
		header->nlmsg_flags &= (uint16_t)~NLM_F_ACK; /* its end is the acknowledgement */
	int r = transmit(netlink, e);
	if (r < 0)
		return r;
	struct answer answer = { .call = call, .data = data, .left = 1 };
	return collect(netlink, &answer, e);
}

int netlink_attributes(const void *start, size_t length, const struct nlattr **ret, size_t count)
{
	memset(ret, 0, count * sizeof(const struct nlattr *));
	const uint8_t *at = start;
	while (length >= sizeof(struct nlattr)) {
		const struct nlattr *attribute = (const void *)at;
		if (attribute->nla_len < sizeof(*attribute) || attribute->nla_len > length)
			return -EBADMSG;
		uint16_t type = attribute->nla_type & NLA_TYPE_MASK;
		if (type < count)
			ret[type] = attribute;
		size_t step = ALIGN(attribute->nla_len);
		if (step >= length)
			break;
		at += step;
		length -= step;
	}
	return 0;
}

size_t netlink_length(const struct nlattr *attribute)
{
	return attribute ? attribute->nla_len - ATTRIBUTE_HEADER : 0;
}

const void *netlink_data(const struct nlattr *attribute, size_t length)
{
	if (!attribute || netlink_length(attribute) < length)
		return NULL;
	return (const uint8_t *)attribute + ATTRIBUTE_HEADER;
}

uint32_t netlink_u32(const struct nlattr *attribute, uint32_t otherwise)
{
	uint32_t value;
	const void *data = netlink_data(attribute, sizeof(value));
	if (!data)
		return otherwise;
	memcpy(&value, data, sizeof(value));
	return value;
}

void netlink_text(const struct nlattr *attribute, char *buffer, size_t size)
{
	size_t length = netlink_length(attribute);
	if (length > size - 1)
		length = size - 1;
	if (length > 0)
		memcpy(buffer, netlink_data(attribute, 0), length);
	buffer[length] = '\0';
}
