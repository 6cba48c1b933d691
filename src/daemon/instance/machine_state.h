/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine_state.h - the whole state of a machine or a unikernel kept in its directory: of a stop, or of a snapshot.
 *
 * Beside a machine's stands the shape of what it is of: a restore makes one like it. `snapshot` NULL is the
 * state of the last stop; the instance's object says "stateful" while there is one.
 */
#pragma once

#include "daemon/instance/supervisor.h"

typedef void machine_state_done(void *data, int code, const struct error *e);

/* -EINVAL with a sentence unless it is a machine that runs. */
int machine_state_check(const struct instance *instance, struct error *e) must_use;

/* The machine stands still from then on. The instance is claimed. `done` comes later. */
int machine_state_save(struct instance *instance, const char *snapshot, machine_state_done *done,
	void *data, struct error *e) must_use;
/* Goes on after a snapshot's state was saved. */
void machine_state_resume(struct instance *instance);

bool machine_state_exists(const struct instance *instance, const char *snapshot);
/* The file's path, or NULL if a start shall boot; the caller owns it. */
char *machine_state_path(const struct instance *instance) must_use;
void machine_state_drop(const struct instance *instance, const char *snapshot);
void machine_state_rename(const struct instance *instance, const char *from, const char *to);

/* The next start goes on from the snapshot's state. */
int machine_state_take(struct instance *instance, const char *snapshot, struct error *e) must_use;
/*
 * A copy's next start goes on from it, or its snapshot has it, too, where that can be: a unikernel finds its new card and
 * addresses itself, a machine would not. 0 if there is nothing to copy.
 */
bool machine_state_can_copy(const struct instance *instance, const char *snapshot);
int machine_state_copy(const struct instance *from, const char *from_snapshot, struct instance *to,
	const char *to_snapshot, struct error *e) must_use;
/* The next start boots. */
void machine_state_forget(struct instance *instance);

/* It runs again: the state was used up, and the guest's clock is late. */
void machine_state_used(struct instance *instance);
