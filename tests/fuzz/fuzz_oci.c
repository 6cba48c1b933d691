/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_oci.c - any bytes as the documents of an OCI image and as metadata.yaml: read or refused with a sentence.
 */
#include "job/metadata.h"
#include "job/oci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void said_why(int r, const struct error *e)
{
	if (r < 0 && e->text[0] == '\0')
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct error e[4] = {};
	struct oci_blob blob;
	bool is_index;
	said_why(oci_find_manifest(text, size, NULL, &blob, &is_index, &e[0]), &e[0]);
	struct oci_manifest *manifest = alloc(struct oci_manifest);
	said_why(oci_read_manifest(text, size, manifest, &e[1]), &e[1]);
	free(manifest);
	json_t *config = NULL;
	said_why(oci_read_config(text, size, 1, &config, &e[2]), &e[2]);
	json_decref(config);
	json_t *metadata = NULL;
	int r = metadata_read(text, size, &metadata, &e[3]);
	said_why(r, &e[3]);
	if (r == 0)
		free(metadata_write(metadata));
	json_decref(metadata);
	return 0;
}
