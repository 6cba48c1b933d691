/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reclaimer.h - looks at the guest's memory while it does something, and carries out what reclaim.h says.
 *
 * On the I/O thread. A guest that neither rings for a queue nor uses its CPUs costs nothing.
 */
#pragma once

#include "vmm/assemble.h"
#include "vmm/reclaim.h"

struct reclaimer {
	struct assembly *assembly;
	struct reclaim reclaim;
	struct source *timer; /* NULL: the machine has no balloon */
	bool is_looking;
};

/* After the assembly is complete, which must outlive it; before the CPUs run. */
void reclaimer_init(struct reclaimer *reclaimer, struct assembly *assembly, struct loop *loop);
void reclaimer_done(struct reclaimer *reclaimer);

/* The guest does something. The bus lock is held. */
void reclaimer_wake(struct reclaimer *reclaimer);
