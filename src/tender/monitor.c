/* SPDX-License-Identifier: Apache-2.0 */
/*
 * monitor.c - a unikernel that berth-vmm runs: the library OS as the kernel of a machine whose CPU is software.
 *
 * What berth-machine needs to know stands in a plan of its own beside the instance's. The image is the machine's initial
 * file system, mapped, so that its pages are shared with all who run it.
 *
 * What can be kept has a card in any case, without a cable if the instance has none: a machine goes on with the devices that
 * it had, and one that starts from its state may have a card.
 */
#include "tender/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "abi/report.h"
#include "base/file.h"
#include "base/text.h"
#include "host/jail.h"
#include "host/process.h"
#include "model/json.h"
#include "tender/build.h"
#include "tender/snapshot_file.h"

#define PLAN_NAME    "monitor.json"
#define CARD_NAME    "card" /* in a state: of the instance's devices none has to be called the same */
#define NO_ADDRESS   "02:00:00:00:00:01"
#define MACHINE_MOST (2 * GIB) /* in one piece below the devices */

/* Where the library OS counts what its program misses: a page of the machine. */
static int make_report(int dir, struct error *e)
{
	static const struct report empty = { .version = REPORT_VERSION };
	cleanup(close) int fd =
		openat(dir, REPORT_FILE, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || file_write_all(fd, &empty, sizeof(empty)) < 0)
		return error_errno(e, "make %s", REPORT_FILE);
	return 0;
}

/* What it goes on from: how much memory that has. */
static int read_state(const struct tender_plan *plan, const struct stat *image,
	uint64_t *ret_memory, struct error *e)
{
	static const struct snapshot_build any;
	const struct snapshot_place now = { .image_bytes = (uint64_t)image->st_size,
		.image_time = (uint64_t)image->st_mtim.tv_sec * NS_PER_SEC +
			(uint64_t)image->st_mtim.tv_nsec };
	struct snapshot_head head;
	cleanup(close) int fd = open(plan->restore, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return error_errno(e, "open its state");
	int r = snapshot_read_head(fd, &any, SNAPSHOT_SOFT, &head, e);
	if (r == 0)
		r = snapshot_check_place(&head.place, &now, e);
	if (r < 0)
		return error_prefix(e, r, "its state: %s", plan->restore);
	*ret_memory = head.place.memory_bytes;
	return 0;
}

/* As berth-machine wants them; the caller releases it. */
static json_t *nics_of(const struct tender_plan *plan)
{
	json_t *nics = json_deep_copy(json_object_get(plan->document, "nics"));
	if (!plan->is_stateful)
		return nics;
	if (!plan->has_nic) {
		json_decref(nics);
		return json_pack("[{s:s, s:s}]", "mac", NO_ADDRESS, "device", CARD_NAME);
	}
	json_set_text(json_array_get(nics, 0), "device", CARD_NAME);
	return nics;
}

static int write_plan(const struct tender_plan *plan, int dir, const char *report,
	const struct stat *image, struct error *e)
{
	cleanup(free) char *append = NULL, *text = NULL;
	cleanup(free) char *kernel =
		build_beside("berth-unikernel", "../unikernel/berth-unikernel");
	uint64_t memory = monitor_memory(plan, (uint64_t)image->st_size);
	int r = plan->restore ? read_state(plan, image, &memory, e) : 0;
	if (r == 0)
		r = monitor_command(plan, &append, e);
	if (r == 0 && memory > MACHINE_MOST)
		r = error_set(e, -E2BIG,
			"config.limits.memory: under soft a unikernel and its image have 2GiB at most");
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *out = json_pack(
		"{s:s, s:s, s:s, s:i, s:I, s:s, s:s, s:s, s:s, s:i, s:I, s:O*, s:o*, s:O*}", "kind",
		"unikernel", "name", plan->name, "engine", "soft", "cpus", 1, "memory_bytes",
		(json_int_t)memory, "kernel", kernel, "initrd", plan->image, "append", append,
		"shared_page", report, "exit_port", MONITOR_EXIT_PORT, "uid", (json_int_t)plan->uid,
		"root", json_object_get(plan->document, "root"), "nics", nics_of(plan), "cgroups",
		json_object_get(plan->document, "cgroups"));
	if (out && plan->is_stateful)
		json_object_set_new(out, "keep_port", json_integer(MONITOR_KEEP_PORT));
	if (out && plan->restore)
		json_set_text(out, "restore", plan->restore);
	text = out ? json_dumps(out, JSON_COMPACT) : NULL;
	cleanup(close) int fd = text
		? openat(dir, PLAN_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
			  0600)
		: -1;
	if (!text)
		return error_set(e, -EINVAL, "the plan has a text that is not UTF-8");
	r = fd < 0 ? -errno : file_write_all(fd, text, strlen(text));
	return r < 0 ? error_code(e, r, "write %s", PLAN_NAME) : 0;
}

static int make_volume(const struct tender_plan *plan, struct error *e)
{
	/* What goes on from a state knows what stands on it. */
	if (!plan->volume || plan->restore)
		return 0;
	cleanup(close) int fd = open(plan->volume, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	off_t bytes = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
	if (bytes < 0)
		return error_errno(e, "open %s", plan->volume);
	return build_volume(fd, (uint64_t)bytes, e);
}

/* They are the program's that we become. */
static int pass_on(struct error *e)
{
	static const char *const names[] = { "control", "dir", "channel" };
	for (size_t i = 0; i < ARRAY_SIZE(names) + JAIL_ROOMS; i++) {
		bool is_room = i >= ARRAY_SIZE(names);
		const char *name = is_room ? jail_room_name((enum jail_room)(i - ARRAY_SIZE(names)))
					   : names[i];
		int fd = process_named_fd(name);
		if (fd == -ENOENT && is_room)
			continue;
		if (fd < 0 || fcntl(fd, F_SETFD, 0) < 0)
			return error_set(e, -EINVAL, "the descriptor %s is wanted", name);
	}
	return 0;
}

int monitor_become(const struct tender_plan *plan, const char *plan_path, struct error *e)
{
	struct stat image;
	const char *slash = strrchr(plan_path, '/');
	cleanup(free) char *path =
		alloc_printf("%.*s" PLAN_NAME, slash ? (int)(slash + 1 - plan_path) : 0, plan_path);
	cleanup(free) char *report = alloc_printf(
		"%.*s" REPORT_FILE, slash ? (int)(slash + 1 - plan_path) : 0, plan_path);
	cleanup(free) char *program = build_beside("berth-machine", "../machine/berth-machine");
	int dir = process_named_fd("dir");
	if (dir < 0)
		return error_set(e, -EINVAL, "under soft the daemon starts a unikernel");
	int r = build_image(plan, e);
	if (r == 0 && stat(plan->image, &image) < 0)
		r = error_errno(e, "open %s", plan->image);
	if (r == 0)
		r = make_report(dir, e);
	if (r == 0)
		r = write_plan(plan, dir, report, &image, e);
	if (r == 0)
		r = make_volume(plan, e);
	if (r == 0)
		r = pass_on(e);
	if (r < 0)
		return r;
	execl(program, "berth-machine", "run", path, (char *)NULL);
	return error_errno(e, "run %s", program);
}
