/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net.c - the virtio network card.
 *
 * Both directions move a packet and its virtio header with one system call between the tap and the
 * guest's own buffers. A received packet that is longer than the first chain spills into a buffer of
 * ours and from there into more chains (merged buffers).
 */
#include "vmm/virtio/net.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define QUEUE_SIZE     256
#define HEADER_BYTES   12
#define HEADER_BUFFERS 10 /* where the number of buffers stands */
#define PACKET_MAX     (65536 + HEADER_BYTES)
#define MERGED_MAX     64
#define CONTROL_OK     0
#define CONTROL_ERROR  1
#define CONTROL_QUEUES 4
#define LINK_UP        1

enum feature {
	F_CSUM = 0,
	F_GUEST_CSUM = 1,
	F_MTU = 3,
	F_MAC = 5,
	F_GUEST_TSO4 = 7,
	F_GUEST_TSO6 = 8,
	F_GUEST_ECN = 9,
	F_HOST_TSO4 = 11,
	F_HOST_TSO6 = 12,
	F_HOST_ECN = 13,
	F_MERGED = 15,
	F_STATUS = 16,
	F_CONTROL = 17,
	F_QUEUES = 22,
};
#define BIT(feature) (UINT64_C(1) << (feature))

struct net_config {
	uint8_t mac[6];
	uint16_t status;
	uint16_t pairs_max;
	uint16_t mtu;
};
static_assert(sizeof(struct net_config) == 12, "layout");

struct pair {
	struct net *net;
	int fd;
	struct source *source;
	uint16_t receive, send; /* queue numbers */
	bool is_open;           /* packets of the tap are taken */
};

struct net {
	struct virtio_device device;
	struct net_config config;
	uint32_t pair_count, pairs_in_use;
	struct pair pairs[NET_PAIRS_MAX];
	struct chain chains[2]; /* the first of a packet, and one more */
	uint8_t spill[PACKET_MAX];
};

static struct net *net_of(struct virtio_device *device)
{
	return container_of(device, struct net, device);
}

static void watch(struct pair *pair, bool on)
{
	if (pair->is_open != on && source_set_events(pair->source, on ? EPOLLIN : 0) == 0)
		pair->is_open = on;
}

/* What a packet took of the ring, so that it can be given back. */
struct taken {
	uint16_t id, descriptors;
	uint32_t bytes;
};

static void put_back(struct queue *queue, const struct taken *taken, uint32_t count)
{
	while (count-- > 0) {
		const struct chain chain = { .descriptors = taken[count].descriptors };
		queue_unpop(queue, &chain);
	}
}

/* Spreads what spilled over more chains. Returns how many chains there are in all, 0 if too few. */
static uint32_t spread(struct net *net, struct queue *queue, struct taken *taken, size_t bytes)
{
	struct chain *more = &net->chains[1];
	uint32_t count = 1;
	for (size_t done = 0; done < bytes; count++) {
		int r = count < MERGED_MAX ? queue_pop(queue, more) : 0;
		if (r <= 0 || more->write_bytes == 0) {
			count += r > 0;
			if (r > 0)
				taken[count - 1] = (struct taken){ more->id, more->descriptors, 0 };
			put_back(queue, taken, count);
			return 0;
		}
		size_t part = chain_write(more, 0, net->spill + done, bytes - done);
		for (uint32_t i = 0; i < more->writes; i++)
			guest_wrote(queue->guest, more->at[more->reads + i],
				more->iov[more->reads + i].iov_len);
		taken[count] = (struct taken){ more->id, more->descriptors, (uint32_t)part };
		done += part;
	}
	return count;
}

static void push_all(
	struct net *net, struct queue *queue, const struct taken *taken, uint32_t count)
{
	queue_push(queue, &net->chains[0], taken[0].bytes);
	for (uint32_t i = 1; i < count; i++) {
		struct chain *more = &net->chains[1];
		more->id = taken[i].id;
		more->descriptors = taken[i].descriptors;
		more->reads = more->writes = 0;
		queue_push(queue, more, taken[i].bytes);
	}
}

/* One packet from the tap: 1, 0 if there is none or no room, -EPROTO. */
static int receive_one(struct net *net, struct pair *pair, struct queue *queue)
{
	struct chain *chain = &net->chains[0];
	struct taken taken[MERGED_MAX];
	int r = queue_pop(queue, chain);
	if (r <= 0) {
		watch(pair, false);
		return r;
	}
	if (chain->write_bytes < HEADER_BYTES || chain->reads + chain->writes >= CHAIN_MAX)
		return -EPROTO;
	struct iovec *iov = chain->iov + chain->reads;
	iov[chain->writes] = (struct iovec){ net->spill, sizeof(net->spill) };
	ssize_t n = readv(pair->fd, iov, (int)chain->writes + 1);
	if (n < HEADER_BYTES) {
		queue_unpop(queue, chain);
		/* A tap that is gone says nothing any more. */
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			watch(pair, false);
		return 0;
	}
	size_t bytes = (size_t)n, first = bytes < chain->write_bytes ? bytes : chain->write_bytes;
	taken[0] = (struct taken){ chain->id, chain->descriptors, (uint32_t)first };
	uint32_t count = 1;
	if (bytes > first && virtio_has(&net->device, F_MERGED))
		count = spread(net, queue, taken, bytes - first);
	else if (bytes > first)
		put_back(queue, taken, 1);
	if (count == 0 || (bytes > first && count == 1))
		return 1; /* dropped: there was no room for all of it */
	uint16_t buffers = (uint16_t)count;
	if (chain_write(chain, HEADER_BUFFERS, &buffers, sizeof(buffers)) != sizeof(buffers))
		return -EPROTO;
	push_all(net, queue, taken, count);
	return 1;
}

static void receive(struct pair *pair)
{
	struct net *net = pair->net;
	struct virtio_device *device = &net->device;
	struct queue *queue = &device->queues[pair->receive];
	int r = 0, budget = VIRTIO_BUDGET;
	if (!device->is_started || !queue->is_ready) {
		watch(pair, false);
		return;
	}
	queue_disarm(queue);
	while (budget-- > 0 && (r = receive_one(net, pair, queue)) > 0)
		;
	if (r < 0) {
		queue->is_broken = true;
		watch(pair, false);
		virtio_broken(device);
		return;
	}
	virtio_notify(device, queue);
	if (!pair->is_open && queue_arm(queue))
		watch(pair, true);
}

static void tap_readable(void *data, int fd, uint32_t events)
{
	struct pair *pair = data;
	(void)fd;
	(void)events;
	bus_guard(pair->net->device.bus);
	receive(pair);
}

static void send_one(const struct pair *pair, const struct chain *chain)
{
	if (chain->read_bytes < HEADER_BYTES || chain->read_bytes > PACKET_MAX)
		return;
	/* A packet that the host has no room for is lost, as on a wire. */
	if (writev(pair->fd, chain->iov, (int)chain->reads) < 0)
		return;
}

static void send_all(struct pair *pair)
{
	struct net *net = pair->net;
	struct virtio_device *device = &net->device;
	struct queue *queue = &device->queues[pair->send];
	struct chain *chain = &net->chains[0];
	int r, budget = VIRTIO_BUDGET;
	queue_disarm(queue);
	while ((r = queue_pop(queue, chain)) > 0) {
		send_one(pair, chain);
		queue_push(queue, chain, 0);
		if (--budget == 0)
			break;
	}
	virtio_notify(device, queue);
	if (r < 0)
		virtio_broken(device);
	else if (r > 0 || queue_arm(queue))
		virtio_again(device, pair->send);
}

static uint8_t control(struct net *net, const struct chain *chain)
{
	struct __attribute__((__packed__)) {
		uint8_t class, command;
		uint16_t pairs;
	} request = {};
	size_t n = chain_read(chain, 0, &request, sizeof(request));
	if (n < sizeof(request) || request.class != CONTROL_QUEUES || request.command != 0 ||
		request.pairs == 0 || request.pairs > net->pair_count)
		return CONTROL_ERROR;
	net->pairs_in_use = request.pairs;
	return CONTROL_OK;
}

static void control_all(struct net *net, uint16_t index)
{
	struct virtio_device *device = &net->device;
	struct queue *queue = &device->queues[index];
	struct chain *chain = &net->chains[0];
	int r = 0, budget = VIRTIO_BUDGET;
	while (budget-- > 0 && (r = queue_pop(queue, chain)) > 0) {
		uint8_t result = control(net, chain);
		queue_push(queue, chain, (uint32_t)chain_write(chain, 0, &result, 1));
	}
	virtio_notify(device, queue);
	if (r < 0)
		virtio_broken(device);
	else if (r > 0 || queue_arm(queue))
		virtio_again(device, index);
}

static void kicked(struct virtio_device *device, uint16_t index)
{
	struct net *net = net_of(device);
	if (index >= 2 * net->pair_count) {
		control_all(net, index);
		return;
	}
	struct pair *pair = &net->pairs[index / 2];
	if (index == pair->receive)
		watch(pair, true);
	else
		send_all(pair);
}

static void set_offloads(const struct net *net)
{
	const struct virtio_device *device = &net->device;
	unsigned offloads = 0;
	if (virtio_has(device, F_GUEST_CSUM)) {
		offloads |= TUN_F_CSUM;
		offloads |= virtio_has(device, F_GUEST_TSO4) ? TUN_F_TSO4 : 0;
		offloads |= virtio_has(device, F_GUEST_TSO6) ? TUN_F_TSO6 : 0;
		offloads |= virtio_has(device, F_GUEST_ECN) ? TUN_F_TSO_ECN : 0;
	}
	for (uint32_t i = 0; i < net->pair_count; i++)
		ioctl(net->pairs[i].fd, TUNSETOFFLOAD, offloads);
}

static void started(struct virtio_device *device)
{
	struct net *net = net_of(device);
	set_offloads(net);
	for (uint32_t i = 0; i < net->pair_count; i++)
		watch(&net->pairs[i], true);
}

static void reset(struct virtio_device *device)
{
	struct net *net = net_of(device);
	net->pairs_in_use = 1;
	for (uint32_t i = 0; i < net->pair_count; i++)
		watch(&net->pairs[i], false);
}

/* Packets wait in the tap; a kick after the pause takes them again. */
static void settle(struct virtio_device *device)
{
	struct net *net = net_of(device);
	for (uint32_t i = 0; i < net->pair_count; i++)
		watch(&net->pairs[i], false);
}

struct net_saved {
	uint32_t pairs_in_use, reserved;
};

static void save(const struct virtio_device *device, struct state *state, const char *name)
{
	const struct net *net = (const void *)device;
	static_assert(offsetof(struct net, device) == 0, "layout");
	struct net_saved saved = { .pairs_in_use = net->pairs_in_use };
	state_put(state, name, 1, &saved, sizeof(saved));
}

static int load(
	struct virtio_device *device, const struct state *state, const char *name, struct error *e)
{
	struct net *net = net_of(device);
	struct net_saved saved;
	int r = state_get(state, name, 1, &saved, sizeof(saved), e);
	if (r < 0)
		return r;
	if (saved.pairs_in_use == 0 || saved.pairs_in_use > net->pair_count)
		return error_set(e, -EINVAL, "saved state: %s uses %u queue pairs", name,
			saved.pairs_in_use);
	net->pairs_in_use = saved.pairs_in_use;
	return 0;
}

static void free_net(struct virtio_device *device)
{
	struct net *net = net_of(device);
	for (uint32_t i = 0; i < net->pair_count; i++) {
		source_free(net->pairs[i].source);
		close(net->pairs[i].fd);
	}
	virtio_device_done(device);
	free(net);
}

static const struct virtio_driver net_driver = {
	.name = "net",
	.id = VIRTIO_ID_NET,
	.class_code = 0x020000,
	.started = started,
	.kicked = kicked,
	.reset = reset,
	.config_written = virtio_config_is_fixed,
	.settle = settle,
	.save = save,
	.load = load,
	.free = free_net,
};

int net_open_tap(const char *name, uint32_t pairs, int ret[NET_PAIRS_MAX], struct error *e)
{
	struct ifreq request = {};
	if (strlen(name) >= sizeof(request.ifr_name) || pairs == 0 || pairs > NET_PAIRS_MAX)
		return error_set(
			e, -EINVAL, "tap %s: its name is too long, or too many queues", name);
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	request.ifr_flags =
		(short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (pairs > 1 ? IFF_MULTI_QUEUE : 0));
	for (uint32_t i = 0; i < pairs; i++) {
		int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
		if (fd >= 0 && ioctl(fd, TUNSETIFF, &request) < 0) {
			int code = errno;
			close(fd);
			errno = code;
			fd = -1;
		}
		if (fd < 0) {
			int r = error_errno(e, "tap %s", name);
			while (i-- > 0)
				close(ret[i]);
			return r;
		}
		ret[i] = fd;
	}
	return 0;
}

static int set_up_taps(struct net *net, const struct net_options *options, struct error *e)
{
	for (uint32_t i = 0; i < options->pairs; i++) {
		int bytes = HEADER_BYTES, fd = options->taps[i], flags = fcntl(fd, F_GETFL);
		if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
			return error_errno(e, "tap");
		struct stat status;
		if (fstat(fd, &status) < 0)
			return error_errno(e, "tap");
		if (S_ISCHR(status.st_mode) && ioctl(fd, TUNSETVNETHDRSZ, &bytes) < 0)
			return error_errno(e, "tap: set the size of packet headers");
		struct pair *pair = &net->pairs[i];
		*pair = (struct pair){ net, fd, NULL, (uint16_t)(2 * i), (uint16_t)(2 * i + 1),
			false };
		int r = loop_add_fd(net->device.loop, fd, 0, tap_readable, pair, &pair->source);
		if (r < 0)
			return error_code(e, r, "watch a tap");
	}
	return 0;
}

int net_new(struct guest *guest, struct loop *loop, struct bus *bus,
	const struct net_options *options, struct virtio_device **ret, struct error *e)
{
	struct net *net = alloc(struct net);
	struct virtio_device *device = &net->device;
	bool has_control = options->pairs > 1;
	memcpy(net->config.mac, options->mac, sizeof(net->config.mac));
	net->config.status = LINK_UP;
	net->config.pairs_max = (uint16_t)options->pairs;
	net->config.mtu = options->mtu;
	device->config = &net->config;
	device->config_size = sizeof(net->config);
	device->features = BIT(F_CSUM) | BIT(F_GUEST_CSUM) | BIT(F_MAC) | BIT(F_GUEST_TSO4) |
		BIT(F_GUEST_TSO6) | BIT(F_GUEST_ECN) | BIT(F_HOST_TSO4) | BIT(F_HOST_TSO6) |
		BIT(F_HOST_ECN) | BIT(F_MERGED) | BIT(F_STATUS);
	if (options->mtu)
		device->features |= BIT(F_MTU);
	if (has_control)
		device->features |= BIT(F_CONTROL) | BIT(F_QUEUES);
	virtio_device_init(device, &net_driver, guest, loop, bus,
		(uint16_t)(2 * options->pairs + (has_control ? 1 : 0)), QUEUE_SIZE);
	net->pairs_in_use = 1;
	int r = set_up_taps(net, options, e);
	if (r < 0) {
		for (uint32_t i = 0; i < options->pairs; i++)
			source_free(net->pairs[i].source);
		virtio_device_done(device);
		free(net);
		return r;
	}
	net->pair_count = options->pairs;
	*ret = device;
	return 0;
}
