/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reaper.h - waits for a child of which nobody wants to know more.
 */
#pragma once

#include "base/loop.h"
#include "host/process.h"

/* Reaps the child when it ends. Takes child->pidfd, also on failure. */
int reaper_take(struct loop *loop, const struct process *child, struct error *e) must_use;
