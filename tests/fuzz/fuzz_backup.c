/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_backup.c - any bytes as what a job tells of a backup's index: read, or refused with a sentence.
 */
#include "daemon/instance/backup_index.h"
#include "model/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *told = NULL;
	struct error e = {};
	struct backup_index index = {};
	if (json_parse((const char *)data, size, &told, NULL) < 0)
		return 0;
	int r = backup_index_read(told, &index, &e);
	if (r < 0 ? e.text[0] == '\0' : !json_text(index.body, "name") || !index.snapshots)
		abort();
	backup_index_done(&index);
	json_decref(told);
	return 0;
}
