/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_template.c - templates of images, whatever they say.
 */
#include "base/text.h"
#include "model/json.h"
#include "model/template.h"

#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(free) char *text = alloc_text_n((const char *)data, size);
	cleanup(free) char *got = NULL;
	cleanup(json_decref) json_t *context =
		json_pack("{s:{s:s}, s:{s:s}}", "container", "name", "c1", "config", "user.x", "1");
	int r = template_render(text, context, &got, NULL);
	if ((r == 0) != (template_check(text, NULL) == 0) && r != -EINVAL)
		abort();
	return 0;
}
