/* SPDX-License-Identifier: Apache-2.0 */
/*
 * adopt.c - after a start of the daemon: takes over what runs, clears away what died, starts what shall
 * start by itself.
 *
 * What an instance holds on the host stands in its plan.json. If its runner listens, it runs. If not, what
 * the plan made is removed; and unless it ended by itself (its `exit` file says so) it is started again as
 * its config wants.
 */
#include "daemon/instance/adopt.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "abi/runner.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/instance/launch.h"
#include "daemon/instance/lifecycle.h"
#include "daemon/instance/machine_state.h"
#include "daemon/instance/remove.h"
#include "daemon/instance/start_plan.h"
#include "daemon/network/proxy_nat.h"
#include "host/cgroup.h"
#include "model/json.h"

#define PLAN_BYTES_MAX (4 * MIB)
#define GROUPS_MAX     16

/* One that shall start, in its turn. */
struct turn {
	struct instance *instance;
	int64_t priority;
	uint64_t delay_ns;
};

struct adoption {
	struct service *service;
	struct turn *turns;
	size_t count;
	size_t at;
	struct source *timer;
};

static void adoption_free(struct adoption *adoption)
{
	source_free(adoption->timer);
	free(adoption->turns);
	free(adoption);
}

static void is_started(void *data, int code, const struct error *e)
{
	const struct instance *instance = data;
	if (code < 0)
		log_error("not started by itself instance=%s: %s", instance->name, e->text);
}

static void adoption_next(void *data)
{
	struct adoption *adoption = data;
	if (adoption->at == adoption->count || adoption->service->is_stopping) {
		adoption_free(adoption);
		return;
	}
	const struct turn *turn = &adoption->turns[adoption->at++];
	struct error e = {};
	int r = lifecycle_start(turn->instance, is_started, turn->instance, &e);
	if (r < 0)
		is_started(turn->instance, r, &e);
	timer_set_after(adoption->timer, turn->delay_ns);
}

static int turn_compare(const void *a, const void *b)
{
	const struct turn *left = a, *right = b;
	if (left->priority != right->priority)
		return left->priority > right->priority ? -1 : 1;
	return strcmp(left->instance->name, right->instance->name);
}

/* Whether it shall start with the daemon, and when. */
static bool turn_of(struct instance *instance, struct turn *ret)
{
	cleanup(spec_done) struct spec spec = {};
	const char *power = instance_config(instance, "volatile.last_state.power");
	if (instance_spec(instance, &spec, NULL) < 0)
		return false;
	if (spec.is_autostart_set ? !spec.autostart
				  : !text_equal(power, "RUNNING") && !text_equal(power, "FROZEN"))
		return false;
	*ret = (struct turn){ instance, spec.autostart_priority, spec.autostart_delay_ns };
	return true;
}

static void turn_add(struct adoption *adoption, const struct turn *turn)
{
	adoption->turns =
		alloc_resize(adoption->turns, adoption->count + 1, sizeof(*adoption->turns));
	adoption->turns[adoption->count++] = *turn;
}

/* What the plan holds on the host, for launch_undo(). */
static void live_fill(struct live *live, json_t *document)
{
	const char *dirs[GROUPS_MAX + 1] = {};
	const json_t *groups = json_object_get(document, "cgroups");
	struct error e = {};
	live->document = json_incref(document);
	for (size_t i = 0; i < json_array_size(groups) && i < GROUPS_MAX; i++)
		dirs[i] = json_string_value(json_array_get(groups, i));
	if (dirs[0] &&
		cgroup_open(live->instance->service->instances->cgroups, dirs, &live->group, &e) <
			0)
		log_error("adopt instance=%s: %s", live->instance->name, e.text);
	const json_t *nics = json_object_get(document, "nics");
	for (size_t i = 0; i < json_array_size(nics); i++)
		json_array_append(live->links, json_array_get(nics, i));
}

/* Takes the promises again; they were made before, so that a refusal can only be told. */
static void promise_again(struct live *live)
{
	cleanup(spec_done) struct spec spec = {};
	struct error e = {};
	int r = instance_spec(live->instance, &spec, &e);
	if (r == 0)
		r = launch_reserve(live, &spec, &e);
	if (r < 0)
		log_warning("promised more than there is instance=%s: %s", live->instance->name,
			e.text);
	else
		live->instance->kind->limits(&spec, &live->cpus, &live->limits);
	if (r == 0 && proxy_nat_apply(live->instance, &spec, &e) < 0)
		log_error("not forwarded again instance=%s: %s", live->instance->name, e.text);
}

static bool has_file(int dir, const char *name)
{
	return faccessat(dir, name, F_OK, 0) == 0;
}

struct clearing {
	struct instance *instance;
	bool has_turn;
};

static void is_cleared(void *data, int code, const struct error *e)
{
	struct clearing *clearing = data;
	struct instance *instance = clearing->instance;
	struct service *service = instance->service;
	bool has_turn = clearing->has_turn;
	struct error error = {};
	free(clearing);
	if (code < 0) {
		log_error("not cleared instance=%s: %s", instance->name, e->text);
		return;
	}
	if (instance_is_ephemeral(instance)) {
		service->instances->remove(instance);
		return;
	}
	if (has_turn) {
		int r = lifecycle_start(instance, is_started, instance, &error);
		if (r < 0)
			is_started(instance, r, &error);
	}
}

static void adopt_planned(struct instance *instance, int dir)
{
	cleanup(free) char *text = NULL;
	cleanup(json_decref) json_t *document = NULL;
	struct error e = {};
	if (file_read(dir, RUNNER_PLAN_FILE, PLAN_BYTES_MAX, &text, NULL, &e) == 0)
		document = json_loads(text, 0, NULL);
	struct live *live = lifecycle_revive(instance);
	live_fill(live, document);
	bool has_ended = has_file(dir, RUNNER_EXIT_FILE);
	if (!has_ended && live_adopt(live, dir, &e) == 0) {
		promise_again(live);
		lifecycle_adopted(instance);
		/* The daemon before may have died while its state was kept. */
		if (instance->kind->can & KIND_HAS_REPORT)
			machine_state_resume(instance);
		return;
	}
	struct turn turn;
	struct clearing *clearing = alloc(struct clearing);
	clearing->instance = instance;
	clearing->has_turn = !has_ended && turn_of(instance, &turn);
	lifecycle_clear(instance, is_cleared, clearing);
}

/* Its cards keep their leases whether it runs or not. */
static void lease_again(struct instance *instance)
{
	cleanup(spec_done) struct spec spec = {};
	cleanup(nics_done) struct nics nics = {};
	struct error e = {};
	int r = instance_spec(instance, &spec, &e);
	if (r == 0)
		r = nics_plan(instance, &spec, false, &nics, &e);
	if (r < 0)
		log_error("no lease again instance=%s: %s", instance->name, e.text);
}

/* A server goes on by itself; its state is told by its BMC. */
static bool is_adoptable(const struct instance *instance)
{
	return !(instance->kind->can & KIND_IS_SERVER);
}

static bool was_started(const struct instance *instance)
{
	cleanup(close) int dir = -1;
	return instance_open_dir(instance, &dir, NULL) == 0 && has_file(dir, RUNNER_PLAN_FILE);
}

/* First those that run: one that does not may ask for an address that one of them has. */
static void lease_started(void *data, struct instance *instance)
{
	(void)data;
	if (is_adoptable(instance) && was_started(instance))
		lease_again(instance);
}

static void lease_stopped(void *data, struct instance *instance)
{
	(void)data;
	if (is_adoptable(instance) && !was_started(instance))
		lease_again(instance);
}

static void adopt_one(void *data, struct instance *instance)
{
	struct adoption *adoption = data;
	cleanup(close) int dir = -1;
	struct error e = {};
	struct turn turn;
	if (!is_adoptable(instance))
		return;
	if (instance_open_dir(instance, &dir, &e) < 0)
		log_error("adopt instance=%s: %s", instance->name, e.text);
	else if (has_file(dir, RUNNER_PLAN_FILE))
		adopt_planned(instance, dir);
	else if (turn_of(instance, &turn))
		turn_add(adoption, &turn);
}

static void is_discarded(void *data, int code, const struct error *e)
{
	(void)data;
	if (code < 0)
		log_error("a half made instance is left: %s", e->text);
}

static void discard_one(void *data, struct instance *instance)
{
	struct error e = {};
	(void)data;
	instance->doing = "deleting";
	int r = instance_discard(instance, is_discarded, NULL, &e);
	if (r < 0)
		is_discarded(NULL, r, &e);
}

/* The names of the groups that live instances have, sorted. */
struct kept {
	char **names;
	size_t count;
};

static void keep_one(void *data, struct instance *instance)
{
	struct kept *kept = data;
	if (!instance->live)
		return;
	cleanup(free) char *path = instance_group(instance);
	kept->names = alloc_resize(kept->names, kept->count + 1, sizeof(*kept->names));
	kept->names[kept->count++] = alloc_text(strchr(path, '/') + 1);
}

static int name_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_kept(void *data, const char *name)
{
	const struct kept *kept = data;
	return kept->count &&
		bsearch(&name, kept->names, kept->count, sizeof(*kept->names), name_compare);
}

/* A daemon that was killed between a group and its plan.json left a group that nobody knows. */
static void sweep_groups(struct service *service)
{
	struct kept kept = {};
	struct error e = {};
	cleanup(free) char *path = alloc_printf("berth-%s", service->id);
	instances_each(service, NULL, keep_one, &kept);
	if (kept.count)
		qsort(kept.names, kept.count, sizeof(*kept.names), name_compare);
	if (cgroup_sweep(service->instances->cgroups, path, is_kept, &kept, &e) < 0)
		log_warning("left from before: %s", e.text);
	for (size_t i = 0; i < kept.count; i++)
		free(kept.names[i]);
	free(kept.names);
}

void adopt_all(struct service *service)
{
	struct adoption *adoption = alloc(struct adoption);
	adoption->service = service;
	instances_each_half_made(service, discard_one, NULL);
	instances_each(service, NULL, lease_started, NULL);
	instances_each(service, NULL, lease_stopped, NULL);
	instances_each(service, NULL, adopt_one, adoption);
	sweep_groups(service);
	if (adoption->count)
		qsort(adoption->turns, adoption->count, sizeof(*adoption->turns), turn_compare);
	adoption->timer = loop_add_timer(service->loop, adoption_next, adoption);
	timer_set_after(adoption->timer, 0);
}

static void leave_one(void *data, struct instance *instance)
{
	(void)data;
	lifecycle_leave(instance);
}

static bool is_somebodys(void *data, const char *name)
{
	(void)data;
	(void)name;
	return true;
}

void adopt_leave(struct service *service)
{
	cleanup(free) char *path = alloc_printf("berth-%s", service->id);
	instances_each(service, NULL, leave_one, NULL);
	/* What all groups stand in, if none is left. */
	(void)!cgroup_sweep(service->instances->cgroups, path, is_somebodys, NULL, NULL);
}
