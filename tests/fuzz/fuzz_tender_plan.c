/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_tender_plan.c - the plan of a unikernel: any text is read or refused.
 */
#include "tender/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(tender_plan_free) struct tender_plan *plan = NULL;
	struct error e = {};
	if (tender_plan_read((const char *)data, size, &plan, &e) < 0)
		assert(e.text[0] != '\0' && !plan);
	else
		assert(plan->program && plan->image[0] == '/');
	return 0;
}
