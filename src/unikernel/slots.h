/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slots.h - the page that trampolines call through (BOOT_SLOT).
 */
#pragma once

/* Makes it; from then on nobody writes to it. 0, or what the platform says. */
int unikernel_make_slots(void);
