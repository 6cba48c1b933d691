/* SPDX-License-Identifier: Apache-2.0 */
/*
 * generate.h - host code for one instruction that goes on at the next.
 */
#pragma once

#include "vmm/soft/block.h"

/* False if it is none of these; the writing may have begun. */
bool generate(struct writing *w);
