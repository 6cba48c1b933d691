/* SPDX-License-Identifier: Apache-2.0 */
/*
 * facts_devices.h - disks, network cards and the machine itself, as /1.0/resources shows them.
 *
 * `sys` is a descriptor of /sys, or of a directory that looks like it. The caller owns the results.
 */
#pragma once

#include <jansson.h>

json_t *facts_storage(int sys);
json_t *facts_network(int sys);
json_t *facts_pci(int sys);
json_t *facts_gpu(int sys);
json_t *facts_system(int sys);
