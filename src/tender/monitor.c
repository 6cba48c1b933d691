/* SPDX-License-Identifier: Apache-2.0 */
/*
 * monitor.c - a unikernel that berth-vmm runs: the library OS as the kernel of a machine whose CPU is software.
 *
 * What berth-machine needs to know stands in a plan of its own beside the instance's. The image is the machine's initial
 * file system, mapped, so that its pages are shared with all who run it.
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

#define PLAN_NAME    "monitor.json"
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

static int write_plan(const struct tender_plan *plan, int dir, const char *report,
	uint64_t image_bytes, struct error *e)
{
	cleanup(free) char *append = NULL, *text = NULL;
	cleanup(free) char *kernel =
		build_beside("berth-unikernel", "../unikernel/berth-unikernel");
	uint64_t memory = monitor_memory(plan, image_bytes);
	int r = monitor_command(plan, &append, e);
	if (r == 0 && memory > MACHINE_MOST)
		r = error_set(e, -E2BIG,
			"config.limits.memory: under soft a unikernel and its image have 2GiB at most");
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *out = json_pack(
		"{s:s, s:s, s:s, s:i, s:I, s:s, s:s, s:s, s:s, s:i, s:I, s:O*, s:O*, s:O*}", "kind",
		"unikernel", "name", plan->name, "engine", "soft", "cpus", 1, "memory_bytes",
		(json_int_t)memory, "kernel", kernel, "initrd", plan->image, "append", append,
		"shared_page", report, "exit_port", MONITOR_EXIT_PORT, "uid", (json_int_t)plan->uid,
		"root", json_object_get(plan->document, "root"), "nics",
		json_object_get(plan->document, "nics"), "cgroups",
		json_object_get(plan->document, "cgroups"));
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
	if (!plan->volume)
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
		r = write_plan(plan, dir, report, (uint64_t)image.st_size, e);
	if (r == 0)
		r = make_volume(plan, e);
	if (r == 0)
		r = pass_on(e);
	if (r < 0)
		return r;
	execl(program, "berth-machine", "run", path, (char *)NULL);
	return error_errno(e, "run %s", program);
}
