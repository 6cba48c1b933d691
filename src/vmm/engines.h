/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engines.h - the list of CPU engines, and the choice among them by measuring.
 */
#pragma once

#include "vmm/cpu/engine.h"

#define ENGINE_REASON_SIZE 200

/*
 * `name` is "auto", "kvm" or "soft". Says in `reason` why. -EINVAL for another name, or why the host
 * cannot.
 */
int engine_choose(const char *name, const struct engine **ret, char reason[ENGINE_REASON_SIZE],
	struct error *e) must_use;
