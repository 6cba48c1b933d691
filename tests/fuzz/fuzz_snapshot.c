/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_snapshot.c - the file of a unikernel's state: what is let through can be mapped without harm.
 */
#include <string.h>

#include "abi/boot.h"
#include "tender/snapshot_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct snapshot_head head;
	struct snapshot_entry entry;
	struct error e = {};
	if (size < sizeof(head))
		return 0;
	memcpy(&head, data, sizeof(head));
	const struct snapshot_build same = head.build;
	if (snapshot_check_head(&head, &same, SNAPSHOT_PROCESS, &e) < 0) {
		assert(e.text[0] != '\0');
		return 0;
	}
	assert(head.entry_count <= SNAPSHOT_RUNS_MOST && head.place.memory_bytes > 0);
	for (size_t at = sizeof(head); at + sizeof(entry) <= size; at += sizeof(entry)) {
		bool is_inside = false;
		memcpy(&entry, data + at, sizeof(entry));
		if (!snapshot_check_entry(&entry, &head.place, &is_inside))
			continue;
		uint64_t end = entry.address + entry.bytes;
		assert(entry.address > BOOT_SLOT && end > entry.address);
		assert(is_inside ? entry.address >= SNAPSHOT_MEMORY_AT &&
					end <= SNAPSHOT_MEMORY_AT + head.place.memory_bytes
				 : end <= SNAPSHOT_MEMORY_AT);
		assert((entry.rights & 6) != 6);
		assert(!(entry.rights & PLATFORM_EXECUTE) || entry.kind == SNAPSHOT_IMAGE);
	}
	return 0;
}
