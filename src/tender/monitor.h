/* SPDX-License-Identifier: Apache-2.0 */
/*
 * monitor.h - a unikernel that berth-vmm runs: the library OS as the kernel of a machine whose CPU is software.
 */
#pragma once

#include "tender/plan.h"

#define MONITOR_REPORT_AT 0x40000u /* LAYOUT_SHARED of berth-vmm: struct report */
#define MONITOR_EXIT_PORT 0xf4     /* where the library OS writes the program's status */
#define MONITOR_KEEP_PORT 0xf8     /* where it stands still for its state: abi/keep.h */

/* Makes what it starts from, and becomes berth-machine, which becomes its monitor. Returns only if that failed. */
int monitor_become(const struct tender_plan *plan, const char *plan_path, struct error *e);

/*
 * The command line of its library OS, without the program's words where it goes on; pure. -E2BIG if it is too long. The caller
 * frees it.
 */
int monitor_command(const struct tender_plan *plan, char **ret, struct error *e) must_use;

/* The machine's memory, so that the program has what the plan says beside an image of so many bytes. */
uint64_t monitor_memory(const struct tender_plan *plan, uint64_t image_bytes);
