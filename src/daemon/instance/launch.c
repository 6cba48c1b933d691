/* SPDX-License-Identifier: Apache-2.0 */
/*
 * launch.c - carries out a plan step by step, and undoes it in reverse.
 *
 * A start must be fast: nothing here waits for the disk, and what is not asked for is not made.
 */
#include "daemon/instance/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "abi/runner.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/network/nics.h"
#include "daemon/network/proxies.h"
#include "daemon/network/proxy_nat.h"
#include "host/cgroup.h"
#include "host/cgroup_devices.h"
#include "host/cgroup_limits.h"
#include "host/process.h"
#include "model/json.h"

#define PIDS_MAX      2048
#define WEIGHT_USUAL  100
#define UNDO_TRIES    200
#define UNDO_FIRST_NS (200 * UINT64_C(1000))
#define UNDO_LAST_NS  (100 * NS_PER_MS)

int launch_reserve(struct live *live, const struct spec *spec, struct error *e)
{
	struct ledger *ledger = &live->instance->service->instances->ledger;
	struct resources asked = spec_resources(spec);
	int r = ledger_reserve(ledger, &asked, e);
	if (r < 0)
		return r;
	r = ledger_take_cpus(ledger, &spec->cpu, &live->cpus, e);
	if (r < 0)
		ledger_release(ledger, &asked);
	else
		live->promised = asked;
	return r;
}

void launch_unreserve(struct live *live)
{
	struct ledger *ledger = &live->instance->service->instances->ledger;
	ledger_release(ledger, &live->promised);
	ledger_release_cpus(ledger, &live->cpus);
	live->promised = (struct resources){};
	live->cpus = (struct cpu_set_mask){};
}

/* The block device below a path, through a file system that hides it (btrfs); 0 if there is none. */
static dev_t device_below(const char *path)
{
	struct statx status;
	cleanup(free) char *table = NULL;
	if (!path || statx(AT_FDCWD, path, 0, STATX_MNT_ID, &status) < 0)
		return 0;
	if (status.stx_dev_major)
		return makedev(status.stx_dev_major, status.stx_dev_minor);
	if (file_read(AT_FDCWD, "/proc/self/mountinfo", 16 * MIB, &table, NULL, NULL) < 0)
		return 0;
	char *line, *rest = table;
	while ((line = strsep(&rest, "\n"))) {
		char *end;
		const char *dash = strstr(line, " - ");
		char source[256];
		struct stat node;
		if (strtoull(line, &end, 10) != status.stx_mnt_id || end == line || !dash ||
			sscanf(dash, " - %*s %255s", source) != 1)
			continue;
		return stat(source, &node) == 0 && S_ISBLK(node.st_mode) ? node.st_rdev : 0;
	}
	return 0;
}

static uint32_t wanted_controllers(const struct plan_cgroup *plan, bool is_privileged)
{
	uint32_t wanted = CGROUP_BIT(CGROUP_CPUACCT) | CGROUP_BIT(CGROUP_MEMORY) |
		CGROUP_BIT(CGROUP_PIDS) | CGROUP_BIT(CGROUP_UNIFIED);
	if (plan->cpu_milli || plan->cpu_weight)
		wanted |= CGROUP_BIT(CGROUP_CPU);
	if (plan->cpuset[0])
		wanted |= CGROUP_BIT(CGROUP_CPUSET);
	if (plan->io_weight || plan->read_bytes || plan->write_bytes || plan->read_operations ||
		plan->write_operations)
		wanted |= CGROUP_BIT(CGROUP_IO);
	if (is_privileged)
		wanted |= CGROUP_BIT(CGROUP_DEVICES);
	return wanted;
}

/* What was limited and is no more gets its limit taken away. */
static uint64_t limit_of(uint64_t wanted, uint64_t old)
{
	if (wanted)
		return wanted;
	return old ? CGROUP_NO_LIMIT : CGROUP_KEEP;
}

static bool has_rates(const struct plan_cgroup *plan)
{
	return plan->read_bytes || plan->write_bytes || plan->read_operations ||
		plan->write_operations;
}

/* The rates of the device that the root stands on. */
static int rates_of(const struct live *live, const struct plan_cgroup *plan,
	struct cgroup_io_limit *ret, struct error *e)
{
	const struct plan_cgroup *old = &live->limits;
	const json_t *root = json_object_get(live->document, "root");
	dev_t device = device_below(json_text(json_object_get(root, "volume"), "path"));
	if (!device)
		return error_set(e, -EOPNOTSUPP,
			"devices.root.limits: the pool stands on no block device whose rate could be "
			"limited");
	*ret = (struct cgroup_io_limit){ .major = major(device),
		.minor = minor(device),
		.read_bytes = limit_of(plan->read_bytes, old->read_bytes),
		.write_bytes = limit_of(plan->write_bytes, old->write_bytes),
		.read_operations = limit_of(plan->read_operations, old->read_operations),
		.write_operations = limit_of(plan->write_operations, old->write_operations) };
	return 0;
}

/* Not kept across a crash of the host, where the instance does not live either. */
int launch_write_document(const json_t *document, int dir, struct error *e)
{
	char *text = json_dumps(document, JSON_COMPACT);
	cleanup(free) char *owned = text;
	cleanup(close) int fd =
		openat(dir, RUNNER_PLAN_FILE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (!text)
		return error_set(e, -EINVAL, "the plan has a text that is not UTF-8");
	if (fd < 0)
		return error_errno(e, "open %s", RUNNER_PLAN_FILE);
	int r = file_write_all(fd, text, strlen(text));
	return r < 0 ? error_code(e, r, "write %s", RUNNER_PLAN_FILE) : 0;
}

static void document_set_groups(struct live *live)
{
	json_t *dirs = json_array();
	for (size_t i = 0; live->group->list[i]; i++)
		json_array_append_new(dirs, json_string(live->group->list[i]));
	json_object_set_new(live->document, "cgroups", dirs);
}

/* Moves all processes of the live instance into hierarchies that it was not in. */
static int processes_move(struct live *live, struct cgroup *wider, struct error *e)
{
	pid_t pids[PIDS_MAX];
	int r = 0;
	if (live->instance->state != INSTANCE_FROZEN)
		r = cgroup_freeze(live->group, e);
	if (r < 0)
		return r;
	ssize_t count = cgroup_pids(live->group, pids, ARRAY_SIZE(pids));
	if (count < 0 || (size_t)count > ARRAY_SIZE(pids))
		r = error_set(e, -EBUSY,
			"The instance has too many processes to be limited anew; restart it");
	for (ssize_t i = 0; r == 0 && i < count; i++)
		r = cgroup_attach(wider, pids[i], e);
	if (live->instance->state != INSTANCE_FROZEN) {
		int thawed = cgroup_thaw(live->group, r == 0 ? e : NULL);
		r = r < 0 ? r : thawed;
	}
	return r;
}

/* The instance started without a controller that its new limits need. */
static int group_widen(struct live *live, uint32_t missing, const char *path, struct error *e)
{
	struct service *service = live->instance->service;
	cleanup(cgroup_free) struct cgroup *wider = NULL;
	cleanup(close) int dir = -1;
	for (size_t i = 0; i < CGROUP_CONTROLLERS; i++)
		missing |= live->group->dirs[i] ? CGROUP_BIT(i) : 0;
	int r = cgroup_make(service->instances->cgroups, path, missing, &wider, e);
	if (r == 0)
		r = processes_move(live, wider, e);
	if (r < 0)
		return r;
	cgroup_free(live->group);
	live->group = TAKE_PTR(wider);
	document_set_groups(live);
	r = instance_open_dir(live->instance, &dir, e);
	return r < 0 ? r : launch_write_document(live->document, dir, e);
}

int launch_set_limits(struct live *live, const struct plan_cgroup *plan, struct error *e)
{
	const struct plan_cgroup *old = &live->limits;
	struct cgroup_io_limit io = {};
	int r = 0;
	if (has_rates(plan) || has_rates(old))
		r = rates_of(live, plan, &io, e);
	if (r < 0)
		return r;
	struct cgroup_limits limits = {
		.cpu_milli = limit_of(plan->cpu_milli, old->cpu_milli),
		.cpu_period_us = plan->cpu_period_us,
		.cpu_weight = plan->cpu_weight
			?: old->cpu_weight ? WEIGHT_USUAL
					   : 0,
		.cpuset = plan->cpuset[0] || old->cpuset[0] ? plan->cpuset : NULL,
		.memory_bytes = limit_of(plan->memory_bytes, old->memory_bytes),
		.memory_low_bytes = limit_of(plan->memory_low_bytes, old->memory_low_bytes),
		.swap_bytes = plan->is_swap_off ? CGROUP_NO_SWAP
			: old->is_swap_off      ? CGROUP_NO_LIMIT
						: CGROUP_KEEP,
		.processes = limit_of(plan->processes, old->processes),
		.io_weight = plan->io_weight
			?: old->io_weight ? WEIGHT_USUAL
					  : 0,
		.io = &io,
		.io_count = io.major != 0,
	};
	uint32_t missing = cgroup_limits_need(&limits);
	for (size_t i = 0; i < CGROUP_CONTROLLERS; i++) {
		if (live->group->dirs[i])
			missing &= ~CGROUP_BIT(i);
	}
	if (missing && live->is_running) {
		cleanup(free) char *path = instance_group(live->instance);
		r = group_widen(live, missing, path, e);
	}
	if (r == 0)
		r = cgroup_limits_set(live->group, &limits, e);
	if (r == 0) {
		live->limits = *plan;
		live->limits.path = NULL;
	}
	return r;
}

/* What every container may open; more is a device of the instance. */
static const struct cgroup_device usual_devices[] = {
	{ 'c', 1, 3, "rwm" },    /* null */
	{ 'c', 1, 5, "rwm" },    /* zero */
	{ 'c', 1, 7, "rwm" },    /* full */
	{ 'c', 1, 8, "rwm" },    /* random */
	{ 'c', 1, 9, "rwm" },    /* urandom */
	{ 'c', 5, 0, "rwm" },    /* tty */
	{ 'c', 5, 1, "rwm" },    /* console */
	{ 'c', 5, 2, "rwm" },    /* ptmx */
	{ 'c', 136, -1, "rwm" }, /* pts */
	{ 'c', -1, -1, "m" },    /* a node may be made that can't be opened */
	{ 'b', -1, -1, "m" },
};

int launch_set_devices(struct live *live, struct error *e)
{
	if (!json_is_true(json_object_get(live->document, "privileged")))
		return 0;
	struct cgroup_device devices[CGROUP_DEVICES_MAX];
	size_t count = ARRAY_SIZE(usual_devices);
	memcpy(devices, usual_devices, sizeof(usual_devices));
	const json_t *nodes = json_object_get(live->document, "devices");
	for (size_t i = 0; i < json_array_size(nodes) && count < ARRAY_SIZE(devices); i++) {
		const json_t *node = json_array_get(nodes, i);
		struct stat status;
		if (stat(json_text(node, "source") ?: "", &status) < 0)
			continue; /* the runner says so, unless it is optional */
		devices[count++] = (struct cgroup_device){ S_ISBLK(status.st_mode) ? 'b' : 'c',
			major(status.st_rdev), minor(status.st_rdev), "rwm" };
	}
	return cgroup_devices_allow(live->group, devices, count, e);
}

/* A system container's own systemd makes groups below the instance's; an application has no use for it. */
static int delegate(struct live *live, struct error *e)
{
	json_t *map = json_object_get(live->document, "idmap");
	json_t *init = json_object_get(live->document, "init");
	if (!json_is_true(json_object_get(init, "system")) || !json_is_object(map))
		return 0;
	uid_t root = (uid_t)json_integer_value(json_object_get(map, "base"));
	return cgroup_delegate(live->group, root, root, e);
}

static bool is_privileged(const struct live *live)
{
	return json_is_true(json_object_get(live->document, "privileged"));
}

static int step_cgroup(struct live *live, const struct plan_cgroup *plan, struct error *e)
{
	struct instances *instances = live->instance->service->instances;
	struct cgroup *made;
	int r = cgroup_make(instances->cgroups, plan->path,
		wanted_controllers(plan, is_privileged(live)), &made, e);
	if (r < 0)
		return r;
	cgroup_free(live->group);
	live->group = made;
	r = launch_set_limits(live, plan, e);
	if (r == 0)
		r = launch_set_devices(live, e);
	if (r == 0)
		r = delegate(live, e);
	if (r == 0)
		document_set_groups(live);
	return r;
}

static int step_link(struct live *live, const struct plan_link *link, struct error *e)
{
	int r = nics_attach(live->instance, link, e);
	if (r == 0)
		json_array_append_new(live->links, json_pack("{s:s}", "device", link->device));
	return r;
}

static int step_runner(struct live *live, const struct plan_runner *runner, struct error *e)
{
	cleanup(close) int dir = -1;
	cleanup(free) char *program = NULL;
	int r = service_program(live->instance->service, runner->program, &program, e);
	if (r == 0)
		r = instance_open_dir(live->instance, &dir, e);
	if (r < 0)
		return r;
	if (unlinkat(dir, RUNNER_EXIT_FILE, 0) < 0 && errno != ENOENT)
		return error_errno(e, "remove the old %s", RUNNER_EXIT_FILE);
	r = launch_write_document(live->document, dir, e);
	return r < 0 ? r : live_spawn(live, program, dir, e);
}

/* Its runner opens what it needs while the rest is made: a start is over sooner. It waits to be greeted. */
static int begin_early(struct live *live, struct plan *plan, struct error *e)
{
	struct instances *instances = live->instance->service->instances;
	const struct plan_step *runner = plan_find(plan, PLAN_RUNNER, 0);
	const struct plan_step *group = plan_find(plan, PLAN_CGROUP, 0);
	if (group) {
		int r = cgroup_name(instances->cgroups, group->cgroup.path,
			wanted_controllers(&group->cgroup, is_privileged(live)), &live->group, e);
		if (r < 0)
			return r;
		document_set_groups(live);
	}
	return step_runner(live, &runner->runner, e);
}

static int step_do(struct live *live, const struct plan_step *step, struct error *e)
{
	switch (step->type) {
	case PLAN_VOLUME:
		return error_set(e, -EINVAL, "the volume of an instance is made with it");
	case PLAN_CGROUP:
		return step_cgroup(live, &step->cgroup, e);
	case PLAN_LINK:
		return step_link(live, &step->link, e);
	case PLAN_RUNNER: {
		int r = live->runner_pid ? 0 : step_runner(live, &step->runner, e);
		return r < 0 ? r : live_greet(live, e);
	}
	case PLAN_STEP_TYPES:
		break;
	}
	return error_set(e, -EINVAL, "unknown step");
}

/* The number of the step that shall fail, or SIZE_MAX. */
static size_t failing_step(const struct service *service)
{
	const char *text = service->has_test_hooks ? getenv("BERTH_FAIL_STEP") : NULL;
	uint64_t step;
	return text && text_to_u64(text, &step) == 0 ? step : SIZE_MAX;
}

static void files_remove(struct instance *instance)
{
	static const char *const files[] = { RUNNER_PLAN_FILE, RUNNER_CONTROL_FILE,
		RUNNER_EXIT_FILE, "machine.json", "vsock" };
	cleanup(close) int dir = -1;
	if (instance_open_dir(instance, &dir, NULL) < 0)
		return;
	proxies_end(dir);
	proxy_nat_end(instance);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		if (unlinkat(dir, files[i], 0) < 0 && errno != ENOENT)
			log_error("remove instance=%s file=%s: %m", instance->name, files[i]);
	}
}

static void links_undo(struct live *live)
{
	for (size_t i = json_array_size(live->links); i > 0; i--)
		nics_detach(
			live->instance, json_text(json_array_get(live->links, i - 1), "device"));
	json_array_clear(live->links);
}

static int group_undo(struct live *live, struct error *e)
{
	if (!live->group)
		return 0;
	live->group->parents = 0; /* the next instance's, too, until the daemon ends */
	int r = cgroup_remove(live->group, e);
	if (r < 0)
		return r;
	cgroup_free(live->group);
	live->group = NULL;
	return 0;
}

int launch(struct live *live, struct plan *plan, struct error *e)
{
	size_t failing = failing_step(live->instance->service);
	const struct plan_step *runner = plan_find(plan, PLAN_RUNNER, 0);
	int r = 0;
	assert(runner && !live->document);
	live->document = json_incref(runner->runner.document);
	if (live->instance->kind->can & KIND_HAS_SPARE)
		r = begin_early(live, plan, e);
	for (live->steps = 0; r == 0 && live->steps < plan->count; live->steps++) {
		const struct plan_step *step = &plan->steps[live->steps];
		if (live->steps == failing)
			r = error_set(e, -EIO, "step %s fails, as the test wants",
				plan_step_name(step->type));
		else
			r = step_do(live, step, e);
	}
	if (r == 0 && failing == plan->count) {
		error_set(&live->error, -EIO, "the start fails, as the test wants");
		live_kill(live);
	}
	if (r < 0) {
		struct error undo = {};
		if (live->runner_pid)
			live_kill(live);
		links_undo(live);
		if (group_undo(live, &undo) < 0)
			log_error("undo instance=%s: %s", live->instance->name, undo.text);
		files_remove(live->instance);
	}
	return r;
}

struct undo {
	struct live *live;
	launch_undone *done;
	void *data;
	struct source *timer;
	uint64_t delay_ns;
	int tries;
};

static void undo_step(void *data)
{
	struct undo *undo = data;
	struct live *live = undo->live;
	struct instance *instance = live->instance;
	struct error e = {};
	int r = group_undo(live, &e);
	if (r == -EBUSY && ++undo->tries < UNDO_TRIES) {
		live_kill(live);
		timer_set_after(undo->timer, undo->delay_ns);
		if (undo->delay_ns < UNDO_LAST_NS)
			undo->delay_ns *= 2;
		return;
	}
	if (r < 0)
		log_error("undo instance=%s: %s", instance->name, e.text);
	files_remove(instance);
	launch_unreserve(live);
	source_free(undo->timer);
	instance->live = NULL;
	live_free(live);
	undo->done(undo->data, instance, r, &e);
	free(undo);
}

void launch_undo(struct live *live, launch_undone *done, void *data)
{
	struct undo *undo = alloc(struct undo);
	*undo = (struct undo){
		.live = live, .done = done, .data = data, .delay_ns = UNDO_FIRST_NS
	};
	undo->timer = loop_add_timer(live->instance->service->loop, undo_step, undo);
	/* The first process is dead or dies now; only then the links are free. */
	live_kill(live);
	links_undo(live);
	undo_step(undo);
}
