/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvm.h - the engine that runs CPUs by the host kernel's KVM.
 */
#pragma once

#include "vmm/cpu/engine.h"

extern const struct engine kvm_engine;

/*
 * Times a short loop in ring 0: *ret is instructions a second, cut at 10^9. Some hosts' KVM interprets
 * ring 0 at a millionth of that. Fails as the engine's probe().
 */
int kvm_measure(uint64_t *ret, struct error *e) must_use;
