/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest_api.h - /dev/lxd/sock and /dev/incus/sock in a machine: passed on to the host, which answers.
 */
#pragma once

/* In a process of its own, beside the caller's; nothing if it cannot be. */
void guest_api_start(void);
