/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_metadata.c - any bytes as the path that a guest asks the metadata service for.
 */
#include <string.h>

#include "metadata/tree.h"
#include "model/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(free) char *path = alloc_array(size + 1, char);
	memcpy(path, data, size);
	cleanup(json_decref) json_t *document =
		json_pack("{s:s, s:s, s:s}", "name", "n", "instance-id", "i", "user-data", "u");
	cleanup(free) char *text = tree_read(document, path);
	/* A directory's list has no empty line, a file of these has at least a byte but for vendor data. */
	assert(!text || strstr(path, "vendor-data") || text[0] != '\0');
	return 0;
}
