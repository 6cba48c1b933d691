/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keep.h - a guest that stands still by itself for its state (abi/keep.h), and the head of the file that has it.
 */
#pragma once

#include "base/loop.h"
#include "vmm/boot/image.h"
#include "vmm/bus.h"
#include "vmm/cpu/engine.h"
#include "vmm/part.h"

#define KEEP_DATA_AT GUEST_PAGE /* in the file: what suspend.h writes */

/* On the loop: 0, or the errno why the guest cannot be kept now. */
typedef void keep_done(void *data, int code);

struct keep {
	struct part part;
	struct bus *bus;
	struct cpus *cpus;
	struct region ports;
	struct source *wake, *timer;
	keep_done *done; /* NULL: nobody waits */
	void *data;

	/* Under the bus lock. */
	bool is_wanted, has_answer;
	uint8_t answer, place; /* KEEP_STANDS, KEEP_HERE, KEEP_ELSEWHERE */
};

int keep_new(struct bus *bus, struct cpus *cpus, struct loop *loop, uint16_t port,
	struct keep **ret, struct error *e) must_use;

/* Asks the guest; `done` is called once. -EBUSY if it is being asked. */
int keep_ask(struct keep *keep, keep_done *done, void *data) must_use;

/* What it reads when it runs again: it is where it was. */
void keep_here(struct keep *keep);

/* Writes the head: `fd` has the whole state. `image`: the initial file system, which is not in it. */
int keep_write_head(
	int fd, const struct image *image, uint64_t memory_bytes, struct error *e) must_use;
/* Checks it and leaves `fd` where the state begins; -EINVAL with what does not fit. */
int keep_read_head(int fd, const struct image *image, struct error *e) must_use;
