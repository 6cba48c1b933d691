/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock.c - the virtio socket device, in this process.
 *
 * Theory of operation. Each stream is a struct link: a guest port, a host port and a unix socket. What
 * must be told to the guest (an answer, credit, the end) is a flag on the link, and links with flags or
 * readable sockets are served round robin whenever the receive queue has chains. So nothing is queued
 * for the guest but bytes that lie in its own buffers. What comes from the guest goes straight to the
 * socket; what the socket does not take is kept, at most WINDOW bytes, because the guest is told of no
 * more room than that.
 */
#include "vmm/virtio/vsock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "abi/vsock.h"
#include "base/text.h"

#define QUEUE_SIZE  128
#define RECEIVE     0
#define SEND        1
#define EVENT       2
#define LINKS_MAX   256
#define WINDOW      (64u * 1024)
#define CHUNK       (32u * 1024)
#define LINE_MAX    32
#define PORT_FIRST  0x40000000u
#define EVENT_RESET 0u

enum link_state {
	LINK_FREE,
	LINK_LINE,    /* a program has connected; its line is not whole */
	LINK_LISTENS, /* it wants the guest's connections */
	LINK_ASKS,    /* the guest was asked, or will be */
	LINK_OPEN,
	LINK_CLOSING, /* only bytes for the socket are left */
};

#define TELL_REQUEST  1u
#define TELL_RESPONSE 2u
#define TELL_CREDIT   4u
#define TELL_SHUTDOWN 8u
#define TELL_RESET    16u

struct link {
	struct vsock *vsock;
	enum link_state state;
	int fd;
	struct source *source;
	uint32_t guest_port, host_port;
	uint32_t tell; /* TELL_... */
	bool is_readable;
	bool guest_sends_no_more, guest_takes_no_more, host_sends_no_more;
	uint32_t guest_window, guest_forwarded, sent; /* towards the guest */
	uint32_t forwarded, told_forwarded;           /* from the guest */
	uint8_t *kept;                                /* bytes for the socket */
	uint32_t kept_count;
	char line[LINE_MAX];
	uint32_t line_count;
};

/* A reset for a connection that is none. */
struct refusal {
	uint32_t guest_port, host_port;
};
#define REFUSALS_MAX 64

struct vsock {
	struct virtio_device device;
	uint64_t cid; /* the configuration space */
	int listener;
	struct source *listener_source;
	struct link links[LINKS_MAX];
	uint32_t next_link; /* round robin */
	uint32_t next_port;
	struct refusal refusals[REFUSALS_MAX];
	uint32_t refusal_count;
	bool wants_event; /* the guest shall forget its connections */
	struct chain chain;
	uint8_t buffer[CHUNK];
};

static struct vsock *vsock_of(struct virtio_device *device)
{
	return container_of(device, struct vsock, device);
}

static void fill_queue(struct vsock *vsock);

static void link_free(struct link *link)
{
	source_free(link->source);
	if (link->fd >= 0)
		close(link->fd);
	free(link->kept);
	*link = (struct link){ .vsock = link->vsock, .fd = -1 };
}

static void watch(struct link *link)
{
	uint32_t events = 0;
	if (!link->is_readable && !link->host_sends_no_more && link->state != LINK_CLOSING)
		events |= EPOLLIN;
	if (link->kept_count)
		events |= EPOLLOUT;
	if (link->source && source_set_events(link->source, events) < 0)
		link->tell |= TELL_RESET;
}

static void refuse(struct vsock *vsock, uint32_t guest_port, uint32_t host_port)
{
	if (vsock->refusal_count < REFUSALS_MAX)
		vsock->refusals[vsock->refusal_count++] = (struct refusal){ guest_port, host_port };
}

/* The stream is over for both sides at once. */
static void link_break(struct link *link)
{
	if (link->state == LINK_ASKS || link->state == LINK_OPEN)
		refuse(link->vsock, link->guest_port, link->host_port);
	link_free(link);
}

static struct link *link_find(struct vsock *vsock, uint32_t guest_port, uint32_t host_port)
{
	for (uint32_t i = 0; i < LINKS_MAX; i++) {
		struct link *link = &vsock->links[i];
		if ((link->state == LINK_ASKS || link->state == LINK_OPEN) &&
			link->guest_port == guest_port && link->host_port == host_port)
			return link;
	}
	return NULL;
}

static struct link *listener_find(struct vsock *vsock, uint32_t host_port)
{
	for (uint32_t i = 0; i < LINKS_MAX; i++)
		if (vsock->links[i].state == LINK_LISTENS && vsock->links[i].host_port == host_port)
			return &vsock->links[i];
	return NULL;
}

static void socket_ready(void *data, int fd, uint32_t events);

static struct link *link_new(struct vsock *vsock, int fd)
{
	for (uint32_t i = 0; i < LINKS_MAX; i++) {
		struct link *link = &vsock->links[i];
		if (link->state != LINK_FREE)
			continue;
		if (loop_add_fd(
			    vsock->device.loop, fd, EPOLLIN, socket_ready, link, &link->source) < 0)
			return NULL;
		link->fd = fd;
		link->state = LINK_LINE;
		return link;
	}
	return NULL;
}

/* Writes what is kept; false if the socket is gone. */
static bool write_kept(struct link *link)
{
	while (link->kept_count > 0) {
		ssize_t n =
			send(link->fd, link->kept, link->kept_count, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		memmove(link->kept, link->kept + n, link->kept_count - (uint32_t)n);
		link->kept_count -= (uint32_t)n;
		link->forwarded += (uint32_t)n;
	}
	return true;
}

static void after_write(struct link *link)
{
	if (link->kept_count == 0 && link->guest_sends_no_more)
		shutdown(link->fd, SHUT_WR);
	if (link->kept_count == 0 && link->state == LINK_CLOSING) {
		link_free(link);
		return;
	}
	if (link->forwarded - link->told_forwarded >= WINDOW / 2)
		link->tell |= TELL_CREDIT;
	watch(link);
}

static bool parse_line(const char *line, const char *word, uint32_t *ret)
{
	uint64_t port;
	size_t length = strlen(word);
	if (strncmp(line, word, length) != 0 || text_to_u64(line + length, &port) < 0 ||
		port >= UINT32_MAX)
		return false;
	*ret = (uint32_t)port;
	return true;
}

static void say(const struct link *link, const char *word, uint32_t port)
{
	char line[LINE_MAX];
	int n = snprintf(line, sizeof(line), "%s %u\n", word, port);
	/* A program that does not listen will notice. */
	if (send(link->fd, line, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return;
}

static uint32_t free_port(struct vsock *vsock)
{
	vsock->next_port = vsock->next_port < PORT_FIRST ? PORT_FIRST : vsock->next_port + 1;
	return vsock->next_port;
}

static void take_line(struct link *link)
{
	struct vsock *vsock = link->vsock;
	uint32_t port;
	if (parse_line(link->line, "CONNECT ", &port) && vsock->device.is_started) {
		link->guest_port = port;
		link->host_port = free_port(vsock);
		link->state = LINK_ASKS;
		link->tell = TELL_REQUEST;
		link->is_readable = true; /* until the guest has answered */
		watch(link);
		fill_queue(vsock);
	} else if (parse_line(link->line, "LISTEN ", &port) && !listener_find(vsock, port)) {
		link->host_port = port;
		link->state = LINK_LISTENS;
		say(link, "OK", port);
	} else {
		link_free(link);
	}
}

/* The line comes byte by byte: what follows it belongs to the stream. */
static void read_line(struct link *link)
{
	for (;;) {
		char c;
		ssize_t n = recv(link->fd, &c, 1, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0 || link->line_count == LINE_MAX - 1) {
			link_free(link);
			return;
		}
		if (c == '\n') {
			take_line(link);
			return;
		}
		link->line[link->line_count++] = c;
	}
}

static void socket_ready(void *data, int fd, uint32_t events)
{
	struct link *link = data;
	struct vsock *vsock = link->vsock;
	(void)fd;
	bus_guard(vsock->device.bus);
	if (link->state == LINK_LINE) {
		read_line(link);
		return;
	}
	if (link->state == LINK_LISTENS) {
		char c;
		ssize_t n = recv(link->fd, &c, 1, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			link_free(link);
		return;
	}
	if (events & EPOLLOUT) {
		if (!write_kept(link)) {
			link_break(link);
			fill_queue(vsock);
			return;
		}
		after_write(link);
		if (link->state == LINK_FREE)
			return;
	}
	if ((events & (EPOLLHUP | EPOLLERR)) && link->state != LINK_OPEN) {
		link_break(link);
	} else if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		link->is_readable = true;
		watch(link);
	}
	fill_queue(vsock);
}

static struct vsock_packet packet(struct link *link, enum vsock_operation operation)
{
	link->told_forwarded = link->forwarded;
	return (struct vsock_packet){
		.from_cid = VSOCK_CID_HOST,
		.to_cid = link->vsock->cid,
		.from_port = link->host_port,
		.to_port = link->guest_port,
		.type = VSOCK_TYPE_STREAM,
		.operation = (uint16_t)operation,
		.window = WINDOW,
		.forwarded = link->forwarded,
	};
}

/* What a link has to say that is no data; false if nothing. */
static bool next_word(struct link *link, struct vsock_packet *ret)
{
	static const struct {
		uint32_t flag;
		enum vsock_operation operation;
	} words[] = {
		{ TELL_RESET, VSOCK_RESET },
		{ TELL_REQUEST, VSOCK_REQUEST },
		{ TELL_RESPONSE, VSOCK_RESPONSE },
		{ TELL_CREDIT, VSOCK_CREDIT },
	};
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (!(link->tell & words[i].flag))
			continue;
		link->tell &= ~words[i].flag;
		*ret = packet(link, words[i].operation);
		if (words[i].flag == TELL_RESET)
			link_free(link);
		return true;
	}
	if (!(link->tell & TELL_SHUTDOWN))
		return false;
	link->tell &= ~TELL_SHUTDOWN;
	*ret = packet(link, VSOCK_SHUTDOWN);
	ret->flags = VSOCK_NO_SEND | VSOCK_NO_RECEIVE;
	return true;
}

static uint32_t room(const struct link *link)
{
	uint32_t flying = link->sent - link->guest_forwarded;
	return flying < link->guest_window ? link->guest_window - flying : 0;
}

/* Bytes of the socket, at most `max`; 0 if there are none, or the link's end. */
static uint32_t read_socket(struct link *link, uint32_t max)
{
	struct vsock *vsock = link->vsock;
	ssize_t n = recv(link->fd, vsock->buffer, max < CHUNK ? max : CHUNK, MSG_DONTWAIT);
	if (n > 0)
		return (uint32_t)n;
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		link->is_readable = false;
		watch(link);
		return 0;
	}
	link->is_readable = false;
	link->host_sends_no_more = true;
	link->tell |= TELL_SHUTDOWN;
	watch(link);
	return 0;
}

static bool has_something(const struct link *link)
{
	if (link->state != LINK_ASKS && link->state != LINK_OPEN)
		return false;
	return link->tell ||
		(link->state == LINK_OPEN && link->is_readable && !link->host_sends_no_more &&
			!link->guest_takes_no_more && room(link) > 0);
}

/* Puts one packet of the link into the chain; false if it had none after all. */
static bool serve(struct link *link, const struct chain *chain, uint32_t *ret_bytes)
{
	struct vsock_packet out;
	struct vsock *vsock = link->vsock;
	uint32_t bytes = 0;
	if (!link->tell) {
		uint64_t fits = chain->write_bytes - sizeof(out);
		uint32_t max = room(link);
		bytes = read_socket(link, fits < max ? (uint32_t)fits : max);
	}
	if (bytes) {
		out = packet(link, VSOCK_DATA);
		out.bytes = bytes;
		link->sent += bytes;
	} else if (!next_word(link, &out)) {
		return false;
	}
	chain_write(chain, 0, &out, sizeof(out));
	chain_write(chain, sizeof(out), vsock->buffer, bytes);
	*ret_bytes = (uint32_t)sizeof(out) + bytes;
	return true;
}

/* The next packet for the guest into the chain; its bytes, or 0 if there is none. */
static uint32_t next_packet(struct vsock *vsock, const struct chain *chain)
{
	uint32_t bytes = 0;
	if (vsock->refusal_count) {
		struct refusal refusal = vsock->refusals[--vsock->refusal_count];
		struct vsock_packet out = {
			.from_cid = VSOCK_CID_HOST,
			.to_cid = vsock->cid,
			.from_port = refusal.host_port,
			.to_port = refusal.guest_port,
			.type = VSOCK_TYPE_STREAM,
			.operation = VSOCK_RESET,
		};
		return (uint32_t)chain_write(chain, 0, &out, sizeof(out));
	}
	for (uint32_t i = 0; i < LINKS_MAX; i++) {
		struct link *link = &vsock->links[(vsock->next_link + i) % LINKS_MAX];
		if (has_something(link) && serve(link, chain, &bytes)) {
			vsock->next_link = (vsock->next_link + i + 1) % LINKS_MAX;
			return bytes;
		}
	}
	return 0;
}

static void fill_queue(struct vsock *vsock)
{
	struct virtio_device *device = &vsock->device;
	struct queue *queue = &device->queues[RECEIVE];
	struct chain *chain = &vsock->chain;
	int r, budget = VIRTIO_BUDGET;
	if (!device->is_started || !queue->is_ready)
		return;
	while ((r = queue_pop(queue, chain)) > 0 && budget-- > 0) {
		uint32_t bytes = 0;
		if (chain->write_bytes >= sizeof(struct vsock_packet))
			bytes = next_packet(vsock, chain);
		if (bytes == 0) {
			queue_unpop(queue, chain);
			break;
		}
		queue_push(queue, chain, bytes);
	}
	if (r < 0)
		virtio_broken(device);
	/* Nothing to say, or no chains: a kick comes with new ones. */
	if (r == 0)
		queue_arm(queue);
	virtio_notify(device, queue);
}

/* The guest connects to a host port: its listener gets one end of a new pair. */
static void accept_guest(struct vsock *vsock, const struct vsock_packet *in)
{
	const struct link *listener = listener_find(vsock, in->to_port);
	int pair[2];
	if (!listener ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
		refuse(vsock, in->from_port, in->to_port);
		return;
	}
	cleanup(close) int ours = pair[0], theirs = pair[1];
	char line[LINE_MAX];
	int n = snprintf(line, sizeof(line), "FROM %u\n", in->from_port);
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {};
	struct iovec iov = { line, (size_t)n };
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control.room),
	};
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.header), &theirs, sizeof(int));
	struct link *link = NULL;
	if (sendmsg(listener->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == n)
		link = link_new(vsock, ours);
	if (!link) {
		refuse(vsock, in->from_port, in->to_port);
		return;
	}
	TAKE_FD(ours);
	link->state = LINK_OPEN;
	link->guest_port = in->from_port;
	link->host_port = in->to_port;
	link->guest_window = in->window;
	link->guest_forwarded = in->forwarded;
	link->tell = TELL_RESPONSE;
}

/* Bytes of the guest for the socket. False if the guest sends more than it was allowed. */
static bool take_data(struct link *link, const struct chain *chain, uint32_t bytes)
{
	if (bytes > WINDOW - link->kept_count || !write_kept(link))
		return false;
	if (!link->kept)
		link->kept = alloc_array(WINDOW, uint8_t);
	size_t n = chain_read(
		chain, sizeof(struct vsock_packet), link->kept + link->kept_count, bytes);
	link->kept_count += (uint32_t)n;
	return n == bytes && write_kept(link);
}

static void guest_shuts(struct link *link, uint32_t flags)
{
	link->guest_sends_no_more |= (flags & VSOCK_NO_SEND) != 0;
	link->guest_takes_no_more |= (flags & VSOCK_NO_RECEIVE) != 0;
	if (link->guest_sends_no_more && link->guest_takes_no_more) {
		/* The guest waits for a reset as the answer; what it sent still goes out. */
		refuse(link->vsock, link->guest_port, link->host_port);
		link->state = LINK_CLOSING;
	}
	after_write(link);
}

static void take_packet(struct vsock *vsock, const struct chain *chain)
{
	struct vsock_packet in;
	if (chain_read(chain, 0, &in, sizeof(in)) != sizeof(in) || in.to_cid != VSOCK_CID_HOST ||
		in.from_cid != vsock->cid)
		return;
	struct link *link = link_find(vsock, in.from_port, in.to_port);
	if (in.type != VSOCK_TYPE_STREAM || (!link && in.operation != VSOCK_REQUEST)) {
		if (in.operation != VSOCK_RESET)
			refuse(vsock, in.from_port, in.to_port);
		return;
	}
	if (link) {
		link->guest_window = in.window;
		link->guest_forwarded = in.forwarded;
	}
	switch (in.operation) {
	case VSOCK_REQUEST:
		if (link)
			link_break(link);
		else
			accept_guest(vsock, &in);
		break;
	case VSOCK_RESPONSE:
		if (link->state != LINK_ASKS)
			break;
		link->state = LINK_OPEN;
		link->is_readable = false;
		say(link, "OK", link->host_port);
		watch(link);
		break;
	case VSOCK_DATA:
		if (link->state != LINK_OPEN || !take_data(link, chain, in.bytes))
			link_break(link);
		else
			after_write(link);
		break;
	case VSOCK_SHUTDOWN:
		guest_shuts(link, in.flags);
		break;
	case VSOCK_CREDIT:
		break;
	case VSOCK_CREDIT_REQUEST:
		link->tell |= TELL_CREDIT;
		break;
	default: /* a reset, or nonsense */
		link_free(link);
	}
}

static void kicked(struct virtio_device *device, uint16_t index)
{
	struct vsock *vsock = vsock_of(device);
	struct queue *queue = &device->queues[index];
	int r, budget = VIRTIO_BUDGET;
	if (index == SEND) {
		while ((r = queue_pop(queue, &vsock->chain)) > 0 && budget-- > 0) {
			take_packet(vsock, &vsock->chain);
			queue_push(queue, &vsock->chain, 0);
		}
		virtio_notify(device, queue);
		if (r < 0)
			virtio_broken(device);
		else if (r > 0 || queue_arm(queue))
			virtio_again(device, index);
	} else if (index == EVENT && vsock->wants_event) {
		uint32_t event = EVENT_RESET;
		if (queue_pop(queue, &vsock->chain) > 0) {
			vsock->wants_event = false;
			queue_push(queue, &vsock->chain,
				(uint32_t)chain_write(&vsock->chain, 0, &event, sizeof(event)));
			virtio_notify(device, queue);
		}
	}
	fill_queue(vsock);
}

static void connected(void *data, int fd, uint32_t events)
{
	struct vsock *vsock = data;
	(void)events;
	bus_guard(vsock->device.bus);
	int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (client >= 0 && !link_new(vsock, client))
		close(client);
}

static void drop_links(struct vsock *vsock)
{
	for (uint32_t i = 0; i < LINKS_MAX; i++)
		if (vsock->links[i].state != LINK_LISTENS)
			link_free(&vsock->links[i]);
	vsock->refusal_count = 0;
}

static void started(struct virtio_device *device)
{
	(void)device;
}

static void reset(struct virtio_device *device)
{
	drop_links(vsock_of(device));
}

static void settle(struct virtio_device *device)
{
	(void)device;
}

static void save(const struct virtio_device *device, struct state *state, const char *name)
{
	const struct vsock *vsock = (const void *)device;
	static_assert(offsetof(struct vsock, device) == 0, "layout");
	state_put(state, name, 1, &vsock->cid, sizeof(vsock->cid));
}

/* Connections do not survive: the guest is told that its transport was reset. */
static int load(
	struct virtio_device *device, const struct state *state, const char *name, struct error *e)
{
	struct vsock *vsock = vsock_of(device);
	uint64_t cid;
	int r = state_get(state, name, 1, &cid, sizeof(cid), e);
	if (r < 0)
		return r;
	drop_links(vsock);
	vsock->wants_event = true;
	return 0;
}

static void free_vsock(struct virtio_device *device)
{
	struct vsock *vsock = vsock_of(device);
	for (uint32_t i = 0; i < LINKS_MAX; i++)
		link_free(&vsock->links[i]);
	source_free(vsock->listener_source);
	close(vsock->listener);
	virtio_device_done(device);
	free(vsock);
}

static const struct virtio_driver vsock_driver = {
	.name = "vsock",
	.id = VIRTIO_ID_VSOCK,
	.class_code = 0x078000,
	.started = started,
	.kicked = kicked,
	.reset = reset,
	.config_written = virtio_config_is_fixed,
	.settle = settle,
	.save = save,
	.load = load,
	.free = free_vsock,
};

int vsock_new(struct guest *guest, struct loop *loop, struct bus *bus, uint64_t cid, int listener,
	struct virtio_device **ret, struct error *e)
{
	struct vsock *vsock = alloc(struct vsock);
	struct virtio_device *device = &vsock->device;
	vsock->cid = cid;
	vsock->listener = listener;
	for (uint32_t i = 0; i < LINKS_MAX; i++)
		vsock->links[i] = (struct link){ .vsock = vsock, .fd = -1 };
	int r = loop_add_fd(loop, listener, EPOLLIN, connected, vsock, &vsock->listener_source);
	if (r < 0) {
		free(vsock);
		return error_code(e, r, "watch the vsock socket");
	}
	device->config = &vsock->cid;
	device->config_size = sizeof(vsock->cid);
	virtio_device_init(device, &vsock_driver, guest, loop, bus, 3, QUEUE_SIZE);
	*ret = device;
	return 0;
}

int vsock_listen(const char *dir, struct error *e)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int n = snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", dir, VSOCK_SOCKET);
	if (n < 0 || (size_t)n >= sizeof(address.sun_path))
		return error_set(
			e, -ENAMETOOLONG, "vsock.dir: %s is too long a path for a socket", dir);
	cleanup(close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat status;
	if (lstat(address.sun_path, &status) == 0 && S_ISSOCK(status.st_mode))
		unlink(address.sun_path);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(fd, 64) < 0)
		return error_errno(e, "listen at %s", address.sun_path);
	return TAKE_FD(fd);
}
