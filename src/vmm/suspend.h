/* SPDX-License-Identifier: Apache-2.0 */
/*
 * suspend.h - a whole machine in one file: its state, then its memory with the holes that it has.
 */
#pragma once

#include "vmm/machine.h"

/* The machine stands still. Writes from `at` of the file, whole pages; what it held before is gone. */
int suspend_write(struct machine *machine, int fd, uint64_t at, struct error *e) must_use;

/*
 * Into a machine of the same shape that has not run, from where `fd` is: machine_resume() goes on where the other stood.
 * -EINVAL with what is wrong: then the machine is of no use.
 */
int suspend_read(struct machine *machine, int fd, struct error *e) must_use;
