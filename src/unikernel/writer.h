/* SPDX-License-Identifier: Apache-2.0 */
/*
 * writer.h - text from pieces into a buffer; what does not fit is left out.
 */
#pragma once

#include "unikernel/kernel.h"

struct writer {
	char *to;
	uint64_t size, length;
};

void writer_bytes(struct writer *w, const char *text, size_t length);

/* `$` in the form is a decimal uint64_t, `#` a hexadecimal one, `@` text. */
void writer_put(struct writer *w, const char *form, ...);
