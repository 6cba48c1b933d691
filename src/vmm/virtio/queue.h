/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue.h - one virtqueue, split or packed: chains of guest buffers out of it, used ones back in.
 *
 * The guest is hostile: every index and address is read once, checked, then used. A queue that breaks
 * the rules is broken until the device is reset; nothing else happens. The bus lock is held.
 */
#pragma once

#include <sys/uio.h>

#include "abi/virtio.h"
#include "base/base.h"
#include "base/error.h"
#include "vmm/guest.h"
#include "vmm/state.h"

#define QUEUE_SIZE_MAX 1024
#define CHAIN_MAX      258 /* buffers */

/* The buffers of one request: first those the device reads, then those it writes. */
struct chain {
	uint16_t id;
	uint16_t descriptors; /* how many of the ring it takes */
	uint32_t reads;
	uint32_t writes;
	uint64_t read_bytes;
	uint64_t write_bytes;
	struct iovec iov[CHAIN_MAX];
	guest_addr at[CHAIN_MAX]; /* where each buffer is for the guest */
};

struct queue {
	struct guest *guest;
	uint16_t size_max;
	uint16_t size;
	uint16_t vector;
	bool is_ready;
	bool is_broken;
	bool is_packed;
	bool has_event_index;
	uint64_t desc_at, driver_at, device_at;

	/* While it is ready. */
	void *desc, *driver, *device;
	uint16_t next_avail, next_used;
	bool avail_wrap, used_wrap; /* packed */
	uint16_t added;             /* used since the guest was last interrupted */
};

void queue_init(struct queue *queue, struct guest *guest, uint16_t size_max);
void queue_reset(struct queue *queue);

/* Checks the addresses and makes it ready. -EINVAL if they do not lie in guest memory. */
int queue_start(struct queue *queue, bool is_packed, bool has_event_index) must_use;

/* 1 and a chain, 0 if there is none, -EPROTO if the queue is or becomes broken. */
int queue_pop(struct queue *queue, struct chain *chain) must_use;

/* Puts the last popped chain back, as if it had not been popped. */
void queue_unpop(struct queue *queue, const struct chain *chain);

/* Gives a chain back, of which the first `bytes` writable bytes were written. */
void queue_push(struct queue *queue, const struct chain *chain, uint32_t bytes);

/* Whether the guest wants an interrupt for what was pushed since the last true. */
bool queue_wants_interrupt(struct queue *queue);

/* Asks for a kick with the next chain; true if there is one already. */
bool queue_arm(struct queue *queue);
/* Kicks are not needed for now. */
void queue_disarm(struct queue *queue);

/* Copies between `data` and the chain's readable or writable bytes from `offset`; the count copied. */
size_t chain_read(const struct chain *chain, uint64_t offset, void *data, size_t bytes);
size_t chain_write(const struct chain *chain, uint64_t offset, const void *data, size_t bytes);

void queue_save(const struct queue *queue, struct state *state, const char *name);
int queue_load(
	struct queue *queue, const struct state *state, const char *name, struct error *e) must_use;
