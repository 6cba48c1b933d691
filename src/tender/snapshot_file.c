/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot_file.c - what stands in a snapshot's file, and whether it can be.
 */
#include "tender/snapshot_file.h"

#include <errno.h>
#include <unistd.h>

#include "abi/boot.h"

#define PAGE_BYTES 4096u
#define MEMORY_MAX (UINT64_C(1) << 40)

static uint64_t page_up(uint64_t value)
{
	return (value + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
}

int snapshot_check_head(const struct snapshot_head *head, const struct snapshot_build *build,
	enum snapshot_engine engine, struct error *e)
{
	static const char *const names[SNAPSHOT_ENGINES] = { "process", "kvm", "soft" };
	if (head->magic != SNAPSHOT_MAGIC || head->version != SNAPSHOT_VERSION ||
		head->entry_count > SNAPSHOT_RUNS_MOST)
		return error_set(
			e, -EINVAL, "it is no snapshot of a unikernel, or not a whole one");
	if (head->engine >= SNAPSHOT_ENGINES)
		return error_set(e, -EINVAL, "it is of an engine that there is not");
	if (head->engine != (uint32_t)engine)
		return error_set(e, -EINVAL,
			"it was made under the engine %s, this one is %s: set berth.engine",
			names[head->engine], names[engine]);
	if (head->build.sum != build->sum || head->build.end != build->end ||
		head->build.data != build->data || head->build.bss != build->bss)
		return error_set(e, -EINVAL, "it was made by another build of berth-tender");
	if (head->memory_at % PAGE_BYTES || head->place.memory_bytes % PAGE_BYTES ||
		head->place.memory_bytes == 0 || head->place.memory_bytes > MEMORY_MAX)
		return error_set(e, -EINVAL, "its memory has no size that can be");
	return 0;
}

int snapshot_read_head(int fd, const struct snapshot_build *build, enum snapshot_engine engine,
	struct snapshot_head *ret, struct error *e)
{
	if (pread(fd, ret, sizeof(*ret), 0) != sizeof(*ret))
		return error_set(
			e, -EINVAL, "it is no snapshot of a unikernel, or not a whole one");
	return snapshot_check_head(ret, build, engine, e);
}

int snapshot_check_place(
	const struct snapshot_place *was, const struct snapshot_place *is, struct error *e)
{
	if (was->vdso != is->vdso)
		return error_set(e, -EINVAL, "it was made under another kernel");
	if (was->image_bytes != is->image_bytes || was->image_time != is->image_time)
		return error_set(e, -EINVAL, "it was made with another image");
	if (was->clock_ns > is->clock_ns)
		return error_set(e, -EINVAL, "it was made before the host was started anew");
	if (was->volume_bytes > is->volume_bytes)
		return error_set(e, -EINVAL, "its storage was larger");
	return 0;
}

bool snapshot_check_entry(
	const struct snapshot_entry *entry, const struct snapshot_place *place, bool *ret_is_inside)
{
	const uint32_t all = PLATFORM_READ | PLATFORM_WRITE | PLATFORM_EXECUTE;
	bool is_inside = entry->address >= SNAPSHOT_MEMORY_AT &&
		entry->address - SNAPSHOT_MEMORY_AT < place->memory_bytes &&
		entry->bytes <= place->memory_bytes - (entry->address - SNAPSHOT_MEMORY_AT);
	if (entry->bytes == 0 || entry->address % PAGE_BYTES || entry->kind > SNAPSHOT_NONE ||
		(entry->rights & ~all))
		return false;
	/* Elsewhere there is only a program where it is linked to, below all that is ours. */
	if (!is_inside &&
		(entry->address < BOOT_SLOT + PAGE_BYTES || entry->address >= SNAPSHOT_MEMORY_AT ||
			entry->bytes > SNAPSHOT_MEMORY_AT - entry->address))
		return false;
	*ret_is_inside = is_inside;
	if (entry->kind != SNAPSHOT_IMAGE)
		return !(entry->rights & PLATFORM_EXECUTE);
	return entry->from % PAGE_BYTES == 0 && entry->from <= place->image_bytes &&
		entry->bytes <= page_up(place->image_bytes) - entry->from &&
		(entry->rights & (PLATFORM_WRITE | PLATFORM_EXECUTE)) !=
		(PLATFORM_WRITE | PLATFORM_EXECUTE);
}
