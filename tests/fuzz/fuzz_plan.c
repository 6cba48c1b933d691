/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_plan.c - any bytes as a container's plan: read whole or refused with a sentence.
 */
#include "container/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(container_free) struct container *container = NULL;
	struct error e = {};
	if (plan_read((const char *)data, size, &container, &e) < 0)
		assert(e.text[0] != '\0' && !container);
	else
		assert(container->process.args[0]);
	return 0;
}
