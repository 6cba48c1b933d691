/* SPDX-License-Identifier: Apache-2.0 */
/*
 * power.h - the end of the guest.
 */
#pragma once

#include "base/base.h"

/*
 * Asks the guest's init to end (systemd, or ourselves as PID 1); where nobody does, processes are asked,
 * then killed, disks are synchronised and the kernel turns the machine off or resets it.
 */
void power_off(bool reboot);

/* As PID 1: ends all processes and the machine. */
void power_off_now(bool reboot) __attribute__((__noreturn__));
