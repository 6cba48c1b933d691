/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shared.h - mappings that a program writes a file through.
 *
 * Each is a copy of the file's bytes; they go back into the file when they are synchronised or unmapped. Between
 * these, a read of the file and another mapping of it do not see what was written.
 */
#pragma once

#include "unikernel/node.h"

/* The pages at `address` belong to the file from now on; 0 or -ENOMEM. */
int shared_add(uint64_t address, uint64_t size, struct node *node, uint64_t offset);

/* Writes back what of the range is shared. */
void shared_sync(uint64_t address, uint64_t size);

/* The same, and forgets it: the pages are about to go. */
void shared_end(uint64_t address, uint64_t size);
