/* SPDX-License-Identifier: Apache-2.0 */
/*
 * balloon.c - the virtio balloon.
 *
 * Giving memory back means punching a hole into the guest's memfd: the pages are free at once and read
 * as zeroes when the guest touches them again. Only whole pages inside a buffer go.
 *
 * Hints name free pages when the host asks. The standard lets a driver use a page again before the host has
 * looked at its hint; what is thrown away then could be what was written since. Linux allocates the page, rings,
 * and only then puts it where its shrinker finds it. So this queue is served while the CPU stands in the write
 * that rings, and a hint counts only if it is alone in the ring: whatever waited there longer is given back unused.
 */
#include "vmm/virtio/balloon.h"

#include <linux/falloc.h>

#define QUEUE_SIZE     128
#define HINT_AT        3
#define F_STATS        1
#define F_HINTS        3
#define F_REPORTING    5
#define HINTS_STOP     0
#define HINTS_DONE     1
#define HINTS_FIRST    2
#define PAGE_SHIFT     12
#define PAGES_AT_ONCE  256
#define STAT_FREE      4
#define STAT_TOTAL     5
#define STAT_AVAILABLE 6

/* In this order; what the guest does not want has no queue. */
enum role { INFLATE, DEFLATE, STATS, HINT, REPORT, QUEUES };

struct balloon_config {
	uint32_t wanted_pages, actual_pages, hints, poison;
};

struct __attribute__((__packed__)) statistic {
	uint16_t tag;
	uint64_t value;
};

struct balloon {
	struct virtio_device device;
	struct balloon_config config;
	struct balloon_stats stats;
	uint32_t hints;   /* the last command for them */
	bool takes_hints; /* the guest has begun with that command */
	struct chain chain;
	bool has_stats_chain; /* the guest's numbers wait with us for the next question */
	struct chain stats_chain;
};

static struct balloon *balloon_of(struct virtio_device *device)
{
	return container_of(device, struct balloon, device);
}

static enum role role_of(const struct virtio_device *device, uint16_t index)
{
	static const uint8_t features[] = {
		[STATS] = F_STATS, [HINT] = F_HINTS, [REPORT] = F_REPORTING
	};
	uint16_t next = STATS;
	if (index < STATS)
		return (enum role)index;
	for (enum role role = STATS; role < QUEUES; role++)
		if (virtio_has(device, features[role]) && next++ == index)
			return role;
	return QUEUES;
}

static uint64_t release(const struct guest *guest, guest_addr at, uint64_t bytes)
{
	guest_addr start = (at + GUEST_PAGE - 1) & ~(GUEST_PAGE - 1);
	guest_addr end = (at + bytes) & ~(GUEST_PAGE - 1);
	const struct guest_region *region = guest_region(guest, at);
	if (end <= start || !region || region->access != GUEST_RAM ||
		end > region->at + region->bytes)
		return 0;
	return guest_give_back(guest, start, end - start) < 0 ? 0 : end - start;
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
	balloon->stats.answers++;
}

/* A command of the guest: it begins with the one that we gave, or has ended. */
static void read_command(struct balloon *balloon, const struct chain *chain)
{
	uint32_t command = HINTS_STOP;
	size_t n = chain_read(chain, 0, &command, sizeof(command));
	balloon->takes_hints =
		n == sizeof(command) && command >= HINTS_FIRST && command == balloon->hints;
	balloon->stats.is_hinting &= balloon->takes_hints;
}

/* See the top: only the chain that the guest rings for, and if no other waits. */
static void take_hints(struct balloon *balloon, struct queue *queue)
{
	struct virtio_device *device = &balloon->device;
	struct chain *chain = &balloon->chain;
	bool is_alone = true;
	int r = 0, budget = VIRTIO_BUDGET;
	while (budget-- > 0 && (r = queue_pop(queue, chain)) > 0) {
		is_alone = !queue_arm(queue) && is_alone;
		if (!chain->writes) {
			read_command(balloon, chain);
		} else if (balloon->takes_hints && is_alone) {
			for (uint32_t i = chain->reads; i < chain->reads + chain->writes; i++)
				release(device->guest, chain->at[i], chain->iov[i].iov_len);
			balloon->stats.hinted_bytes += chain->write_bytes;
		}
		queue_push(queue, chain, 0);
	}
	virtio_notify(device, queue);
	if (r < 0)
		virtio_broken(device);
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
	enum role role = role_of(device, index);
	int r = 0, budget = VIRTIO_BUDGET;
	if (role == STATS) {
		take_stats(balloon, queue);
		return;
	}
	if (role == HINT) {
		take_hints(balloon, queue);
		return;
	}
	while (budget-- > 0 && (r = queue_pop(queue, chain)) > 0) {
		if (role == INFLATE)
			inflate(balloon, chain);
		else if (role == REPORT)
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

void balloon_hints(struct virtio_device *device, bool on)
{
	struct balloon *balloon = balloon_of(device);
	if (!virtio_has(device, F_HINTS))
		return;
	if (on && ++balloon->hints < HINTS_FIRST)
		balloon->hints = HINTS_FIRST;
	balloon->takes_hints = false;
	balloon->stats.is_hinting = on;
	balloon->config.hints = on ? balloon->hints : HINTS_DONE;
	virtio_config_changed(device);
}

struct balloon_stats balloon_stats(const struct virtio_device *device)
{
	const struct balloon *balloon = (const void *)device;
	struct balloon_stats stats = balloon->stats;
	stats.can_hint = device->is_started && virtio_has(device, F_HINTS);
	return stats;
}

void balloon_ask(struct virtio_device *device)
{
	struct balloon *balloon = balloon_of(device);
	struct queue *queue = &device->queues[STATS];
	if (!balloon->has_stats_chain || !device->is_started)
		return;
	balloon->has_stats_chain = false;
	queue_push(queue, &balloon->stats_chain, 0);
	queue_arm(queue);
	virtio_notify(device, queue);
}

/* Linux hands its first numbers over before it says that it is ready. */
static void started(struct virtio_device *device)
{
	if (role_of(device, STATS) == STATS && device->queues[STATS].is_ready)
		virtio_again(device, STATS);
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
	balloon->config.hints = HINTS_STOP;
	balloon->takes_hints = false;
	balloon->stats.is_hinting = false;
}

/* The chain with the numbers goes back into the ring: it is not saved. Hints end. */
static void settle(struct virtio_device *device)
{
	struct balloon *balloon = balloon_of(device);
	if (balloon->stats.is_hinting || balloon->config.hints >= HINTS_FIRST)
		balloon_hints(device, false);
	if (!balloon->has_stats_chain)
		return;
	balloon->has_stats_chain = false;
	queue_unpop(&device->queues[STATS], &balloon->stats_chain);
}

struct balloon_saved {
	struct balloon_config config;
	uint32_t hints;
};
static_assert(sizeof(struct balloon_saved) == 20, "layout");

static void save(const struct virtio_device *device, struct state *state, const char *name)
{
	const struct balloon *balloon = (const void *)device;
	static_assert(offsetof(struct balloon, device) == 0, "layout");
	const struct balloon_saved saved = { balloon->config, balloon->hints };
	state_put(state, name, 2, &saved, sizeof(saved));
}

static int load(
	struct virtio_device *device, const struct state *state, const char *name, struct error *e)
{
	struct balloon *balloon = balloon_of(device);
	struct balloon_saved saved;
	int r = state_get(state, name, 2, &saved, sizeof(saved), e);
	if (r < 0)
		return r;
	balloon->config = saved.config;
	balloon->hints = saved.hints;
	balloon->stats.held_bytes = (uint64_t)balloon->config.actual_pages << PAGE_SHIFT;
	return 0;
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
	.started = started,
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
	device->features =
		UINT64_C(1) << F_STATS | UINT64_C(1) << F_HINTS | UINT64_C(1) << F_REPORTING;
	device->queue_at_once = HINT_AT;
	virtio_device_init(device, &balloon_driver, guest, loop, bus, QUEUES, QUEUE_SIZE);
	return device;
}
