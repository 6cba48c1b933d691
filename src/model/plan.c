/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan.c - the steps that start an instance, as data.
 */
#include "model/plan.h"

static const char *const names[] = {
	[PLAN_VOLUME] = "volume",
	[PLAN_CGROUP] = "cgroup",
	[PLAN_LINK] = "link",
	[PLAN_RUNNER] = "runner",
};
static_assert(ARRAY_SIZE(names) == PLAN_STEP_TYPES, "a step has no name");

void plan_done(struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++) {
		if (plan->steps[i].type == PLAN_RUNNER)
			json_decref(plan->steps[i].runner.document);
	}
	free(plan->steps);
	*plan = (struct plan){};
}

struct plan_step *plan_add(struct plan *plan, enum plan_step_type type)
{
	plan->steps = alloc_resize(plan->steps, plan->count + 1, sizeof(*plan->steps));
	struct plan_step *step = &plan->steps[plan->count++];
	*step = (struct plan_step){ .type = type };
	return step;
}

struct plan_step *plan_find(struct plan *plan, enum plan_step_type type, size_t from)
{
	for (size_t i = from; i < plan->count; i++) {
		if (plan->steps[i].type == type)
			return &plan->steps[i];
	}
	return NULL;
}

const char *plan_step_name(enum plan_step_type type)
{
	assert(type < PLAN_STEP_TYPES);
	return names[type];
}

static void set_text(json_t *object, const char *key, const char *text)
{
	if (text && text[0])
		json_object_set_new(object, key, json_string(text));
}

static void set_number(json_t *object, const char *key, uint64_t number)
{
	if (number)
		json_object_set_new(object, key, json_integer((json_int_t)number));
}

static void set_true(json_t *object, const char *key, bool is)
{
	if (is)
		json_object_set_new(object, key, json_true());
}

static void volume_json(json_t *object, const struct plan_volume *volume)
{
	set_text(object, "pool", volume->pool);
	set_text(object, "name", volume->name);
	set_number(object, "size_bytes", volume->size_bytes);
}

static void cgroup_json(json_t *object, const struct plan_cgroup *cgroup)
{
	set_text(object, "path", cgroup->path);
	set_number(object, "cpu_milli", cgroup->cpu_milli);
	set_number(object, "cpu_period_us", cgroup->cpu_period_us);
	set_number(object, "cpu_weight", cgroup->cpu_weight);
	set_text(object, "cpuset", cgroup->cpuset);
	set_number(object, "memory_bytes", cgroup->memory_bytes);
	set_number(object, "memory_low_bytes", cgroup->memory_low_bytes);
	set_true(object, "swap_off", cgroup->is_swap_off);
	set_number(object, "processes", cgroup->processes);
	set_number(object, "io_weight", cgroup->io_weight);
	set_number(object, "read_bytes", cgroup->read_bytes);
	set_number(object, "write_bytes", cgroup->write_bytes);
	set_number(object, "read_operations", cgroup->read_operations);
	set_number(object, "write_operations", cgroup->write_operations);
}

static void link_json(json_t *object, const struct plan_link *link)
{
	set_text(object, "device", link->device);
	set_text(object, "name", link->name);
	set_text(object, "network", link->network);
	set_text(object, "parent", link->parent);
	set_text(object, "hwaddr", link->hwaddr);
	set_text(object, "ipv4", link->ipv4);
	set_text(object, "ipv6", link->ipv6);
	set_text(object, "ipv4_gateway", link->ipv4_gateway);
	set_text(object, "ipv6_gateway", link->ipv6_gateway);
	set_number(object, "mtu", link->mtu);
	set_number(object, "ingress_bits", link->ingress_bits);
	set_number(object, "egress_bits", link->egress_bits);
	set_true(object, "mac_filtering", link->mac_filtering);
	set_true(object, "ipv4_filtering", link->ipv4_filtering);
	set_true(object, "ipv6_filtering", link->ipv6_filtering);
	set_true(object, "port_isolation", link->port_isolation);
}

static json_t *step_json(const struct plan_step *step)
{
	json_t *object = json_object();
	set_text(object, "step", names[step->type]);
	switch (step->type) {
	case PLAN_VOLUME:
		volume_json(object, &step->volume);
		break;
	case PLAN_CGROUP:
		cgroup_json(object, &step->cgroup);
		break;
	case PLAN_LINK:
		link_json(object, &step->link);
		break;
	case PLAN_RUNNER:
		set_text(object, "program", step->runner.program);
		json_object_set(object, "plan", step->runner.document);
		break;
	case PLAN_STEP_TYPES:
		break;
	}
	return object;
}

json_t *plan_json(const struct plan *plan)
{
	json_t *array = json_array();
	for (size_t i = 0; i < plan->count; i++)
		json_array_append_new(array, step_json(&plan->steps[i]));
	return array;
}
