/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvm_state.h - the state of KVM's CPUs and chips, to and from our own form.
 */
#pragma once

#include "vmm/cpu/state.h"

/* Each returns 0, -EINVAL for a state of another version, or -errno of KVM's refusal. */
int kvm_load_cpu(int vcpu_fd, const struct cpu_state *state) must_use;
int kvm_save_cpu(int vcpu_fd, struct cpu_state *state) must_use;
int kvm_load_chips(int vm_fd, const struct chips_state *state) must_use;
int kvm_save_chips(int vm_fd, struct chips_state *state) must_use;
