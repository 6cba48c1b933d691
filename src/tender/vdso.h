/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdso.h - the clock that the kernel maps into every process, found without a libc.
 */
#pragma once

#include <stdint.h>
#include <time.h>

typedef int vdso_clock(clockid_t id, struct timespec *ret);

/* The function at the image of the kernel's at `address` (AT_SYSINFO_EHDR); NULL if there is none. */
vdso_clock *vdso_find_clock(uint64_t address);
