/* SPDX-License-Identifier: Apache-2.0 */
/*
 * balloon.c - the virtio balloon.
 *
 * Giving memory back means punching a hole into the guest's memfd: the pages are free at once and read
 * as zeroes when the guest touches them again. Only whole pages inside a buffer go.
 */
#include "vmm/virtio/balloon.h"

#include <fcntl.h>
#include <linux/falloc.h>

#define QUEUE_SIZE     128
#define INFLATE        0
#define DEFLATE        1
#define STATS          2
#define REPORT         3
#define QUEUES         4
#define F_STATS        1
#define F_REPORTING    5
#define PAGE_SHIFT     12
#define PAGES_AT_ONCE  256
#define STAT_FREE      4
#define STAT_TOTAL     5
#define STAT_AVAILABLE 6

struct balloon_config {
	uint32_t wanted_pages, actual_pages, hint, poison;
};

struct __attribute__((__packed__)) statistic {
	uint16_t tag;
	uint64_t value;
};

struct balloon {
	struct virtio_device device;
	struct balloon_config config;
	struct balloon_stats stats;
	struct chain chain;
	bool has_stats_chain; /* the guest's numbers wait with us for the next question */
	struct chain stats_chain;
};

static struct balloon *balloon_of(struct virtio_device *device)
{
	return container_of(device, struct balloon, device);
}

static uint64_t release(const struct guest *guest, guest_addr at, uint64_t bytes)
{
	guest_addr start = (at + GUEST_PAGE - 1) & ~(GUEST_PAGE - 1);
	guest_addr end = (at + bytes) & ~(GUEST_PAGE - 1);
	const struct guest_region *region = guest_region(guest, at);
	if (end <= start || !region || region->access != GUEST_RAM ||
		end > region->at + region->bytes)
		return 0;
	if (fallocate(guest->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		    (off_t)(region->file_offset + (start - region->at)), (off_t)(end - start)) < 0)
		return 0;
	guest_wrote(guest, start, end - start);
	return end - start;
}

/* Neighbouring pages go in one call; guests fill a balloon mostly downwards or upwards. */
static void inflate(const struct balloon *balloon, const struct chain *chain)
{
	uint32_t pages[PAGES_AT_ONCE];
	uint64_t low = 0, high = 0; /* of the range that waits to go */
	uint64_t at = 0;
	size_t n;
	while ((n = chain_read(chain, at, pages, sizeof(pages))) >= sizeof(pages[0])) {
		for (size_t i = 0; i < n / sizeof(pages[0]); i++) {
			uint64_t page = pages[i];
			if (page == high && high > low) {
				high++;
			} else if (page + 1 == low && high > low) {
				low--;
			} else {
				release(balloon->device.guest, low << PAGE_SHIFT,
					(high - low) << PAGE_SHIFT);
				low = page;
				high = page + 1;
			}
		}
		at += n;
	}
	release(balloon->device.guest, low << PAGE_SHIFT, (high - low) << PAGE_SHIFT);
}

static void report(struct balloon *balloon, const struct chain *chain)
{
	for (uint32_t i = chain->reads; i < chain->reads + chain->writes; i++)
		balloon->stats.reported_bytes +=
			release(balloon->device.guest, chain->at[i], chain->iov[i].iov_len);
}

static void read_stats(struct balloon *balloon, const struct chain *chain)
{
	struct statistic stat;
	for (uint64_t at = 0; at < 64 * sizeof(stat) &&
		chain_read(chain, at, &stat, sizeof(stat)) == sizeof(stat);
		at += sizeof(stat)) {
		if (stat.tag == STAT_FREE)
			balloon->stats.free_bytes = stat.value;
		else if (stat.tag == STAT_TOTAL)
			balloon->stats.total_bytes = stat.value;
		else if (stat.tag == STAT_AVAILABLE)
			balloon->stats.available_bytes = stat.value;
	}
}

static void take_stats(struct balloon *balloon, struct queue *queue)
{
	if (balloon->has_stats_chain)
		return;
	int r = queue_pop(queue, &balloon->stats_chain);
	if (r > 0) {
		read_stats(balloon, &balloon->stats_chain);
		balloon->has_stats_chain = true;
	} else if (r < 0) {
		virtio_broken(&balloon->device);
	}
}

static void kicked(struct virtio_device *device, uint16_t index)
{
	struct balloon *balloon = balloon_of(device);
	struct queue *queue = &device->queues[index];
	struct chain *chain = &balloon->chain;
	int r = 0, budget = VIRTIO_BUDGET;
	if (index == STATS) {
		take_stats(balloon, queue);
		return;
	}
	while (budget-- > 0 && (r = queue_pop(queue, chain)) > 0) {
		if (index == INFLATE)
			inflate(balloon, chain);
		else if (index == REPORT)
			report(balloon, chain);
		queue_push(queue, chain, 0);
	}
	virtio_notify(device, queue);
	if (r < 0)
		virtio_broken(device);
	else if (r > 0 || queue_arm(queue))
		virtio_again(device, index);
}

static void config_written(struct virtio_device *device, uint32_t offset, uint32_t bytes)
{
	struct balloon *balloon = balloon_of(device);
	(void)offset;
	(void)bytes;
	balloon->stats.held_bytes = (uint64_t)balloon->config.actual_pages << PAGE_SHIFT;
}

void balloon_set(struct virtio_device *device, uint64_t bytes)
{
	balloon_of(device)->config.wanted_pages = (uint32_t)(bytes >> PAGE_SHIFT);
	virtio_config_changed(device);
}

struct balloon_stats balloon_stats(struct virtio_device *device)
{
	struct balloon *balloon = balloon_of(device);
	struct queue *queue = &device->queues[STATS];
	if (balloon->has_stats_chain && device->is_started) {
		balloon->has_stats_chain = false;
		queue_push(queue, &balloon->stats_chain, 0);
		queue_arm(queue);
		virtio_notify(device, queue);
	}
	return balloon->stats;
}

static void nothing(struct virtio_device *device)
{
	(void)device;
}

static void forget(struct balloon *balloon)
{
	balloon->has_stats_chain = false;
	balloon->stats.free_bytes = balloon->stats.total_bytes = BALLOON_UNKNOWN;
	balloon->stats.available_bytes = BALLOON_UNKNOWN;
}

static void reset(struct virtio_device *device)
{
	struct balloon *balloon = balloon_of(device);
	forget(balloon);
	balloon->config.actual_pages = 0;
	balloon->stats.held_bytes = 0;
}

/* The chain with the numbers goes back into the ring: it is not saved. */
static void settle(struct virtio_device *device)
{
	struct balloon *balloon = balloon_of(device);
	if (!balloon->has_stats_chain)
		return;
	balloon->has_stats_chain = false;
	queue_unpop(&device->queues[STATS], &balloon->stats_chain);
}

static void save(const struct virtio_device *device, struct state *state, const char *name)
{
	const struct balloon *balloon = (const void *)device;
	static_assert(offsetof(struct balloon, device) == 0, "layout");
	state_put(state, name, 1, &balloon->config, sizeof(balloon->config));
}

static int load(
	struct virtio_device *device, const struct state *state, const char *name, struct error *e)
{
	struct balloon *balloon = balloon_of(device);
	int r = state_get(state, name, 1, &balloon->config, sizeof(balloon->config), e);
	if (r == 0)
		balloon->stats.held_bytes = (uint64_t)balloon->config.actual_pages << PAGE_SHIFT;
	return r;
}

static void free_balloon(struct virtio_device *device)
{
	virtio_device_done(device);
	free(balloon_of(device));
}

static const struct virtio_driver balloon_driver = {
	.name = "balloon",
	.id = VIRTIO_ID_BALLOON,
	.class_code = 0x00ff00,
	.started = nothing,
	.kicked = kicked,
	.reset = reset,
	.config_written = config_written,
	.settle = settle,
	.save = save,
	.load = load,
	.free = free_balloon,
};

struct virtio_device *balloon_new(struct guest *guest, struct loop *loop, struct bus *bus)
{
	struct balloon *balloon = alloc(struct balloon);
	struct virtio_device *device = &balloon->device;
	forget(balloon);
	device->config = &balloon->config;
	device->config_size = sizeof(balloon->config);
	device->config_is_writable = true;
	/* Not to deflate when memory is short: what is held is a limit, and the guest's own to live with. */
	device->features = UINT64_C(1) << F_STATS | UINT64_C(1) << F_REPORTING;
	virtio_device_init(device, &balloon_driver, guest, loop, bus, QUEUES, QUEUE_SIZE);
	return device;
}
