/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heap.h - memory for the objects of the library OS.
 */
#pragma once

#include "unikernel/kernel.h"

/* Zeroed, aligned to 16; NULL if the unikernel's memory is used up. */
void *heap_alloc(uint64_t bytes);
void *heap_alloc_raw(uint64_t bytes); /* the same, not zeroed */
void heap_free(void *pointer);        /* NULL is nothing */

/* One whole page, zeroed. */
void *heap_page(void);
void heap_page_free(void *page);

char *heap_text(const char *text, size_t length);
