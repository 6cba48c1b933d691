/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hotplug.h - `berth-container devices`: gives a running instance disks and device nodes, and takes them away.
 */
#pragma once

int hotplug_main(void);
