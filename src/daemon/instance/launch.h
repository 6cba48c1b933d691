/* SPDX-License-Identifier: Apache-2.0 */
/*
 * launch.h - carries out a plan step by step, and undoes it in reverse.
 *
 * The test hook BERTH_FAIL_STEP=n fails step n, counted from 0; the number of steps fails it after the
 * last, when the runner is there.
 */
#pragma once

#include "daemon/instance/supervisor.h"
#include "model/plan.h"

/*
 * Carries out `plan` for `live`, which has its promises. On success its runner has been spawned and says
 * how it goes on by live->calls. On failure all steps are undone; `live` remains the caller's.
 */
int launch(struct live *live, struct plan *plan, struct error *e) must_use;

/*
 * After the runner has gone, or for one that never came: ends what is left of the instance, removes links,
 * cgroup and files, takes the promises back, frees `live`. `done` is called once, maybe at once: 0, or
 * -EBUSY if something could not be removed.
 */
typedef void launch_undone(void *data, struct instance *instance, int code, const struct error *e);
void launch_undo(struct live *live, launch_undone *done, void *data);

/* The promises of the ledger: CPUs and memory. Given back by launch_undo(). */
int launch_reserve(struct live *live, const struct spec *spec, struct error *e) must_use;
void launch_unreserve(struct live *live);

/*
 * Gives a live instance new limits, and takes away what it had and has no more. A controller that it did
 * without so far is added to its group.
 */
int launch_set_limits(struct live *live, const struct plan_cgroup *plan, struct error *e) must_use;

/* The filter of devices of a privileged instance, by its document; another has none. */
int launch_set_devices(struct live *live, struct error *e) must_use;

/* Writes plan.json in `dir`. */
int launch_write_document(const json_t *document, int dir, struct error *e) must_use;
