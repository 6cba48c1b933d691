/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage.h - what the guest uses, by its own kernel.
 */
#pragma once

#include "abi/agent.h"

struct agent_usage usage_now(void);
