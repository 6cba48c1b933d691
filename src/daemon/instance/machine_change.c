/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine_change.c - a list of steps, each with what takes it back.
 *
 * A step is JSON: {"op": "cpus" | "memory" | "rates" | "plug" | "unplug", ...} with what it needs, and in "back" the
 * step that undoes it. What the guest must do (let go of a disk, give memory back) is asked for again and again until
 * it has, or its time is over.
 */
#include "daemon/instance/machine_change.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "abi/runner.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/instance/helper.h"
#include "daemon/storage/storage.h"
#include "kind/machine.h"
#include "model/json.h"

#define AGAIN_NS     (100 * NS_PER_MS)
#define PATIENT_NS   (20 * NS_PER_SEC)
#define MEMORY_PIECE (4 * MIB) /* of what comes while it runs */

struct work {
	struct instance *instance;
	json_t *steps; /* to do */
	json_t *backs; /* of those that are done */
	size_t at;
	uint64_t until_ns;
	struct source *timer;
	struct source *child;
	int helper; /* pidfd */
	bool is_taken_back;
	int code;
	struct error error;
	machine_changed *done;
	void *data;
};

static void run(struct work *work);

static void finish(struct work *work)
{
	source_free(work->timer);
	source_free(work->child);
	if (work->helper >= 0)
		close(work->helper);
	if (work->instance->live)
		live_forget(work->instance->live, work);
	work->done(work->data, work->code, &work->error);
	json_decref(work->steps);
	json_decref(work->backs);
	free(work);
}

/* What was done is taken back, the last first. */
static void fail(struct work *work, int code, const struct error *e)
{
	if (work->is_taken_back) {
		log_warning("not taken back instance=%s: %s", work->instance->name, e->text);
		work->at++;
		run(work);
		return;
	}
	work->code = code;
	work->error = *e;
	work->is_taken_back = true;
	json_decref(work->steps);
	work->steps = json_array();
	for (size_t i = json_array_size(work->backs); i > 0; i--)
		json_array_append(work->steps, json_array_get(work->backs, i - 1));
	work->at = 0;
	run(work);
}

static void step_done(struct work *work)
{
	json_t *back = json_object_get(json_array_get(work->steps, work->at), "back");
	if (back && !work->is_taken_back)
		json_array_append(work->backs, back);
	work->at++;
	work->until_ns = 0;
	run(work);
}

static bool is_patient(struct work *work)
{
	if (!work->until_ns)
		work->until_ns = loop_now() + PATIENT_NS;
	if (loop_now() >= work->until_ns)
		return false;
	timer_set_after(work->timer, AGAIN_NS);
	return true;
}

static void answered(void *data, int code, const struct error *e, const void *bytes, size_t length,
	const int *fds, size_t fd_count)
{
	struct work *work = data;
	struct error late = {};
	(void)bytes;
	(void)length;
	for (size_t i = 0; i < fd_count; i++)
		close(fds[i]);
	if (code == -EAGAIN) {
		if (is_patient(work))
			return;
		error_set(&late, -EBUSY, "The guest does not let go of the disk");
		fail(work, -EBUSY, &late);
		return;
	}
	if (code < 0)
		fail(work, code, e);
	else
		step_done(work);
}

static void fill_plug(struct runner_plug *plug, uint16_t type, const json_t *step)
{
	*plug = (struct runner_plug){
		.header.type = type,
		.kind = RUNNER_PLUG_DISK,
		.flags = json_is_true(json_object_get(step, "readonly")) ? RUNNER_PLUG_READONLY : 0,
		.bytes_per_second =
			(uint64_t)json_integer_value(json_object_get(step, "bytes_per_second")),
		.operations_per_second = (uint64_t)json_integer_value(
			json_object_get(step, "operations_per_second")),
	};
	snprintf(plug->id, sizeof(plug->id), "%s", json_text(step, "name"));
}

static int do_disk(struct work *work, const json_t *step, uint16_t type, struct error *e)
{
	struct runner_plug plug;
	cleanup(close) int fd = -1;
	fill_plug(&plug, type, step);
	if (type == RUNNER_PLUG) {
		bool is_readonly = plug.flags & RUNNER_PLUG_READONLY;
		fd = open(json_text(step, "path"),
			(is_readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY);
		if (fd < 0)
			return error_errno(e, "open %s", json_text(step, "path"));
	}
	return live_send(work->instance->live, &plug, sizeof(plug), fd, answered, work, e);
}

static void measured(void *data, int code, const struct error *e, const void *bytes, size_t length,
	const int *fds, size_t fd_count)
{
	struct work *work = data;
	const struct runner_stats *stats = bytes;
	const json_t *step = json_array_get(work->steps, work->at);
	uint64_t wanted = (uint64_t)json_integer_value(json_object_get(step, "value"));
	uint64_t least = (uint64_t)json_integer_value(json_object_get(step, "least"));
	struct error late = {};
	for (size_t i = 0; i < fd_count; i++)
		close(fds[i]);
	if (code < 0) {
		fail(work, code, e);
		return;
	}
	uint64_t has = length >= sizeof(*stats) ? stats->balloon_bytes : UINT64_MAX;
	if (has <= wanted && has >= least) {
		step_done(work);
		return;
	}
	if (is_patient(work))
		return;
	error_set(&late, -EBUSY, "%s",
		has < least ? "The guest does not take the memory: it has no driver for it "
			      "(virtio_mem)"
			    : "The guest does not give its memory back: it needs it, or has no "
			      "balloon");
	/* What it was asked for half-way is taken back, too. */
	if (!work->is_taken_back)
		json_array_append(work->backs, json_object_get(step, "back"));
	fail(work, -EBUSY, &late);
}

/* Asks once, then looks how far it is. */
static int do_memory(struct work *work, const json_t *step, struct error *e)
{
	struct runner_number balloon = {
		.header.type = RUNNER_BALLOON,
		.value = (uint64_t)json_integer_value(json_object_get(step, "value")),
	};
	struct runner_header stats = { .type = RUNNER_STATS };
	struct live *live = work->instance->live;
	int r = work->until_ns ? 0 : live_send(live, &balloon, sizeof(balloon), -1, NULL, NULL, e);
	return r < 0 ? r : live_send(live, &stats, sizeof(stats), -1, measured, work, e);
}

static void helper_ended(void *data, pid_t pid, int wait_status)
{
	struct work *work = data;
	struct error e = {};
	(void)pid;
	source_free(TAKE_PTR(work->child));
	close(TAKE_FD(work->helper));
	if (wait_status == 0) {
		step_done(work);
		return;
	}
	error_set(&e, -EIO, "The guest's agent does not take the CPUs");
	fail(work, -EIO, &e);
}

static int do_cpus(struct work *work, const json_t *step, struct error *e)
{
	struct process helper;
	cleanup(json_decref) json_t *request =
		json_pack("{s:O}", "cpus", json_object_get(step, "value"));
	int r = helper_spawn(work->instance,
		&(struct helper_options){ .name = "tell", .request = request }, &helper, e);
	if (r < 0)
		return r;
	work->helper = helper.pidfd;
	r = loop_add_child(work->instance->service->loop, helper.pid, helper.pidfd, helper_ended,
		work, &work->child);
	return r < 0 ? error_code(e, r, "watch the helper") : 0;
}

static int do_step(struct work *work, const json_t *step, struct error *e)
{
	const char *op = json_text(step, "op");
	if (!work->instance->live)
		return error_set(e, -ECONNRESET, "The instance has stopped");
	if (text_equal(op, "cpus"))
		return do_cpus(work, step, e);
	if (text_equal(op, "memory"))
		return do_memory(work, step, e);
	return do_disk(work, step,
		text_equal(op, "plug")             ? RUNNER_PLUG
			: text_equal(op, "unplug") ? RUNNER_UNPLUG
						   : RUNNER_DISK_RATES,
		e);
}

static void run(struct work *work)
{
	struct error e = {};
	if (work->at >= json_array_size(work->steps)) {
		finish(work);
		return;
	}
	int r = do_step(work, json_array_get(work->steps, work->at), &e);
	if (r < 0)
		fail(work, r, &e);
}

static void again(void *data)
{
	run(data);
}

static void add_pair(
	json_t *steps, const char *op, json_t *value, const char *back_op, json_t *back)
{
	json_object_set_new(value, "op", json_string(op));
	json_object_set_new(back, "op", json_string(back_op));
	json_object_set_new(value, "back", back);
	json_array_append_new(steps, value);
}

static void limits_of(
	struct live *live, const struct spec *spec, struct plan_cgroup *ret, uint32_t *ret_cpus)
{
	const struct ledger *ledger = &live->instance->service->instances->ledger;
	live->instance->kind->limits(spec, &live->cpus, ret);
	*ret_cpus = machine_cpus(ret, cpu_set_mask_count(&ledger->cpus));
}

static const struct disk_device *disk_find(const struct spec *spec, const char *name)
{
	for (size_t i = 0; i < spec->devices.disk_count; i++)
		if (text_equal(spec->devices.disks[i].device, name))
			return &spec->devices.disks[i];
	return NULL;
}

/* As the monitor knows it; the root is called so whatever its device is called. */
static json_t *disk_json(struct instance *instance, const struct disk_device *disk)
{
	json_t *volume = NULL;
	if (disk->pool && !disk->is_root) {
		struct volume_ref ref = { .pool = disk->pool,
			.type = VOLUME_TYPE_CUSTOM,
			.project = instance->project,
			.name = disk->source };
		if (storage_volume_plan(instance->service->storage, &ref, &volume, NULL) < 0)
			volume = NULL;
	}
	json_t *json = machine_disk(disk, volume);
	if (disk->is_root)
		json_object_set_new(json, "name", json_string("root"));
	json_decref(volume);
	return json;
}

static bool is_same(const struct disk_device *a, const struct disk_device *b)
{
	return text_equal(a->pool ?: "", b->pool ?: "") &&
		text_equal(a->source ?: "", b->source ?: "") && a->is_readonly == b->is_readonly;
}

static bool has_same_rates(const struct disk_device *a, const struct disk_device *b)
{
	return memcmp(&a->read, &b->read, sizeof(a->read)) == 0 &&
		memcmp(&a->write, &b->write, sizeof(a->write)) == 0;
}

/* First what goes, so that its place is free for what comes. */
static void add_disks(json_t *steps, struct instance *instance, const struct spec *before,
	const struct spec *wanted)
{
	for (size_t i = 0; i < before->devices.disk_count; i++) {
		const struct disk_device *old = &before->devices.disks[i];
		const struct disk_device *new = disk_find(wanted, old->device);
		if (!old->is_root && (!new || !is_same(old, new)))
			add_pair(steps, "unplug", disk_json(instance, old), "plug",
				disk_json(instance, old));
	}
	for (size_t i = 0; i < wanted->devices.disk_count; i++) {
		const struct disk_device *new = &wanted->devices.disks[i];
		const struct disk_device *old = disk_find(before, new->device);
		if (new->is_root)
			old = devices_root(&before->devices);
		if (!new->is_root && (!old || !is_same(old, new)))
			add_pair(steps, "plug", disk_json(instance, new), "unplug",
				disk_json(instance, new));
		else if (!has_same_rates(old, new))
			add_pair(steps, "rates", disk_json(instance, new), "rates",
				disk_json(instance, old));
	}
}

static uint64_t number_of(const json_t *document, const char *member)
{
	return (uint64_t)json_integer_value(json_object_get(document, member));
}

static uint64_t most_memory(const json_t *document)
{
	uint64_t booted = number_of(document, "memory_bytes");
	uint64_t max = number_of(document, "memory_max_bytes");
	return max > booted ? max : booted;
}

/* What is more than it started with must have been taken, not only offered. */
static json_t *memory_step(const json_t *document, uint64_t bytes)
{
	bool is_more = bytes > number_of(document, "memory_bytes");
	return json_pack("{s:I, s:I}", "value", (json_int_t)bytes, "least",
		(json_int_t)(is_more ? bytes - MEMORY_PIECE + 1 : 0));
}

static const struct nic_device *nic_find(const struct spec *spec, const char *name)
{
	for (size_t i = 0; i < spec->devices.nic_count; i++)
		if (text_equal(spec->devices.nics[i].device, name))
			return &spec->devices.nics[i];
	return NULL;
}

static bool is_same_card(const struct nic_device *a, const struct nic_device *b)
{
	return a->is_e1000 == b->is_e1000 && text_equal(a->network ?: "", b->network ?: "") &&
		text_equal(a->parent ?: "", b->parent ?: "") &&
		text_equal(a->hwaddr ?: "", b->hwaddr ?: "") &&
		text_equal(a->ipv4 ?: "", b->ipv4 ?: "") &&
		text_equal(a->ipv6 ?: "", b->ipv6 ?: "") && text_equal(a->name, b->name);
}

/* What is of SATA or an e1000 is soldered. */
static int check_soldered(const struct spec *before, const struct spec *wanted, struct error *e)
{
	for (size_t i = 0; i < wanted->devices.disk_count; i++) {
		const struct disk_device *new = &wanted->devices.disks[i];
		const struct disk_device *old = new->is_root ? devices_root(&before->devices)
							     : disk_find(before, new->device);
		if ((new->is_sata || (old && old->is_sata)) &&
			(!old || old->is_sata != new->is_sata || !is_same(old, new)))
			return error_set(e, -EBUSY,
				"devices.%s: a SATA disk comes and goes only while the machine is stopped",
				new->device);
	}
	for (size_t i = 0; i < wanted->devices.nic_count; i++) {
		const struct nic_device *new = &wanted->devices.nics[i];
		const struct nic_device *old = nic_find(before, new->device);
		if ((new->is_e1000 || (old && old->is_e1000)) && (!old || !is_same_card(old, new)))
			return error_set(e, -EBUSY,
				"devices.%s: an e1000 card comes and goes only while the machine is stopped",
				new->device);
	}
	return 0;
}

int machine_change_check(
	struct live *live, const struct spec *before, const struct spec *wanted, struct error *e)
{
	struct plan_cgroup old = {}, new = {};
	uint32_t old_cpus, new_cpus;
	char has[TEXT_SIZE_MAX];
	int r = check_soldered(before, wanted, e);
	if (r == 0)
		r = check_soldered(wanted, before, e);
	if (r < 0)
		return r;
	limits_of(live, before, &old, &old_cpus);
	limits_of(live, wanted, &new, &new_cpus);
	const json_t *document = live->document;
	uint32_t there = (uint32_t)json_integer_value(json_object_get(document, "cpus_there"));
	uint64_t most = most_memory(document);
	/* Firmware brings up all there are: none is kept back. */
	const char *boot = json_text(document, "boot");
	if (boot && !text_equal(boot, "kernel"))
		there = (uint32_t)json_integer_value(json_object_get(document, "cpus"));
	if (new_cpus > there && new_cpus != old_cpus)
		return error_set(e, -EBUSY,
			"config.limits.cpu: the running machine has %u CPUs to give; restart it for "
			"more",
			there);
	if (machine_guest_memory(&new) > most)
		return error_set(e, -EBUSY,
			"config.limits.memory: the running machine can have %s at most; stop it for "
			"more",
			text_format_bytes(most, has));
	return 0;
}

void machine_change(struct live *live, const struct spec *before, const struct spec *wanted,
	machine_changed *done, void *data)
{
	struct plan_cgroup old = {}, new = {};
	uint32_t old_cpus, new_cpus;
	struct work *work = alloc(struct work);
	*work = (struct work){ .instance = live->instance,
		.steps = json_array(),
		.backs = json_array(),
		.helper = -1,
		.done = done,
		.data = data };
	work->timer = loop_add_timer(live->instance->service->loop, again, work);
	limits_of(live, before, &old, &old_cpus);
	limits_of(live, wanted, &new, &new_cpus);
	add_disks(work->steps, live->instance, before, wanted);
	if (old_cpus != new_cpus)
		add_pair(work->steps, "cpus", json_pack("{s:i}", "value", (int)new_cpus), "cpus",
			json_pack("{s:i}", "value", (int)old_cpus));
	if (old.memory_bytes != new.memory_bytes)
		add_pair(work->steps, "memory",
			memory_step(work->instance->live->document, machine_guest_memory(&new)),
			"memory",
			memory_step(work->instance->live->document, machine_guest_memory(&old)));
	run(work);
}

bool machine_change_is_disk(const json_t *device)
{
	return !device ||
		(text_equal(json_text(device, "type"), "disk") && !json_text(device, "path"));
}

static void told(void *data, pid_t pid, int wait_status)
{
	int *pidfd = data;
	if (wait_status)
		log_warning("the agent did not do it pid=%d wait_status=%d", pid, wait_status);
	close(*pidfd);
	free(pidfd);
}

void machine_tell(struct instance *instance, json_t *request)
{
	struct process helper;
	struct source *child;
	struct error e = {};
	int r = helper_spawn(instance,
		&(struct helper_options){ .name = "tell", .request = request }, &helper, &e);
	json_decref(request);
	if (r < 0) {
		log_warning("the agent is not told instance=%s: %s", instance->name, e.text);
		return;
	}
	int *pidfd = alloc(int);
	*pidfd = helper.pidfd;
	r = loop_add_child(instance->service->loop, helper.pid, helper.pidfd, told, pidfd, &child);
	if (r < 0)
		log_warning("watch the helper instance=%s code=%d", instance->name, r);
}
