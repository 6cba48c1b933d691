/* SPDX-License-Identifier: Apache-2.0 */
/*
 * berth-rewrite - makes an image that a unikernel starts from, of a directory: `berth-tender --build`.
 */
#include <stdio.h>

#include "tender/image.h"

int main(int count, char **words)
{
	struct error e = {};
	if (count < 4) {
		(void)fprintf(stderr, "usage: berth-rewrite ROOTDIR PROGRAM IMAGE [WORD...]\n");
		return 2;
	}
	if (image_build(words[1], words[2], words[3], words + 4, (uint32_t)count - 4, &e) == 0)
		return 0;
	(void)fprintf(stderr, "berth-tender: %s\n", e.text);
	return 1;
}
