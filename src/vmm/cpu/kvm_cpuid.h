/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvm_cpuid.h - what a CPU under KVM says of itself: what KVM supports, its place, the clock.
 */
#pragma once

#include "base/base.h"

/* Sets CPUID of one of `count` CPUs. 0 or -errno. */
int kvm_set_cpuid(int kvm_fd, int vcpu_fd, uint32_t cpu, uint32_t count) must_use;
