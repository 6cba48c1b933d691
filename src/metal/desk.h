/* SPDX-License-Identifier: Apache-2.0 */
/*
 * desk.h - where questions to a BMC are taken: one after another, each with a deadline, each write read back.
 *
 * A BMC may lie. What was written is looked at until it is so; written again once if it is not; and the
 * question fails with a sentence if it stays otherwise until its deadline.
 */
#pragma once

#include "metal/bmc.h"

#define DESK_QUEUE_MAX 16

struct desk;

struct desk_options {
	struct loop *loop;
	struct bmc *bmc;      /* borrowed */
	uint64_t deadline_ns; /* of every question, if it is shorter than its own; 0: its own */
};

/* `result` is borrowed. */
typedef void desk_done(void *data, int code, json_t *result, const struct error *e);

struct desk *desk_new(const struct desk_options *options) must_use;
/* Questions that are not answered stay so. */
void desk_free(struct desk *desk);
DEFINE_CLEANUP(struct desk *, desk_free);

/* Takes {"do": ...} of abi/metal.h. -EINVAL with the field, -EBUSY if too many wait. */
int desk_ask(struct desk *desk, const json_t *request, desk_done *done, void *data,
	struct error *e) must_use;

bool desk_is_idle(const struct desk *desk);
