/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_spec.c - any JSON as the config and the devices of an instance: read or refused, never more.
 */
#include "model/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *both = json_loadb((const char *)data, size, JSON_ALLOW_NUL, NULL);
	if (!both)
		return 0;
	struct spec spec = {};
	struct error e = {};
	int r = spec_read(
		json_object_get(both, "config"), json_object_get(both, "devices"), GIB, &spec, &e);
	if (r < 0 && e.text[0] == '\0')
		abort();
	if (r == 0) {
		spec_resources(&spec);
		spec_done(&spec);
	}
	json_decref(both);
	return 0;
}
