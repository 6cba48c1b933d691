/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine.h - the platform `kvm`: the library OS as the kernel of a virtual machine of this process, locked by a filter.
 */
#pragma once

#include "tender/process.h"

/* Whether this host has KVM for it: 0, or -errno with why. `ret_fd` (may be NULL) is /dev/kvm. */
int machine_probe(int *ret_fd, struct error *e) must_use;

/* As process_run(), for the program of the root; `kvm` is /dev/kvm. */
int machine_run(int kvm, const struct unikernel_options *options, struct error *e) must_use;
