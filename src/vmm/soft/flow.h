/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flow.h - host code for the instructions that go somewhere else.
 */
#pragma once

#include "vmm/soft/block.h"

/* False if it is none of these, or the interpreter's after all. */
bool flow(struct writing *w);

/* Goes on at the offset, relative to the page, after `done` instructions; `live`: flags that are read there. */
void flow_link(struct writing *w, uint32_t done, int64_t target, uint16_t live);

/* Where a direct jump leads, relative to the page. */
int64_t flow_target(const struct step *step);

int64_t flow_next(const struct step *step);

/* Flags that may be read by the code at the offset before they are set. */
uint16_t flow_live_at(struct writing *w, int64_t offset);

/* Writes what is reached seldom: all but groups. */
void flow_finish(struct writing *w, struct cold *cold);

/* Of a failed check: the page may be in the slot beside, which T2 is then. */
void flow_look_beside(struct writing *w, const struct cold *cold);
