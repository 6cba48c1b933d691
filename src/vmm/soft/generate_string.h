/* SPDX-License-Identifier: Apache-2.0 */
/*
 * generate_string.h - host code for string instructions.
 */
#pragma once

#include "vmm/soft/block.h"

enum { STRING_MOVE, STRING_STORE, STRING_LOAD };

/* False if the interpreter does it; the writing may have begun. */
bool generate_string(struct writing *w);
