/* SPDX-License-Identifier: Apache-2.0 */
/*
 * generate_system.h - host code for what kernels do most.
 */
#pragma once

#include "vmm/soft/block.h"

/* False if the interpreter does it; the writing may have begun. */
bool generate_system(struct writing *w);
