/* SPDX-License-Identifier: Apache-2.0 */
/*
 * descriptors.h - the numbers that a program knows its open files by.
 */
#pragma once

#include "unikernel/file.h"

#define DESCRIPTORS_MAX 4096u

/* The file of a descriptor, borrowed; NULL if there is none. */
struct file *descriptor_file(uint64_t number);

/* Gives the reference of `file` the lowest number from `least` on: the number, or -EMFILE and the file is dropped. */
int64_t descriptor_add(struct file *file, uint64_t least, bool closes_on_exec);

/* Puts it at exactly this number; what was there is closed. */
int64_t descriptor_set(struct file *file, uint64_t number, bool closes_on_exec);
int64_t descriptor_close(uint64_t number);

bool descriptor_closes_on_exec(uint64_t number);
void descriptor_set_closes_on_exec(uint64_t number, bool closes);

/* One more than the highest number in use. */
uint64_t descriptor_end(void);

/* All of them, with a reference each; NULL without memory. */
struct descriptors *descriptors_copy(void);
/* Closes what there is and takes the copy's in their place; the copy is gone. */
void descriptors_put_back(struct descriptors *copy);
void descriptors_free(struct descriptors *copy);
/* All of them, which are away until descriptors_put_back(); NULL without memory. */
struct descriptors *descriptors_leave(void);
void descriptors_close_all(void);
void descriptors_close_on_exec(void);

void descriptor_set_limit(uint64_t limit);
uint64_t descriptor_limit(void);
