/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state.c - /1.0/instances/{name}/state, /1.0/instances for all at once, and /1.0/berth/plan.
 */
#include <errno.h>
#include <string.h>

#include "daemon/api.h"
#include "daemon/api/collections.h"
#include "daemon/api/request_instance.h"
#include "daemon/instance/create.h"
#include "daemon/instance/lifecycle.h"
#include "daemon/instance/machine_state.h"
#include "daemon/instance/start_plan.h"
#include "daemon/instance/state.h"
#include "daemon/instance/stateful.h"
#include "daemon/server/usage.h"
#include "daemon/task.h"
#include "model/json.h"

#define TIMEOUT_MAX_S 86400

/* What is to be done with one instance, or all. */
struct order {
	const char *action;
	uint64_t timeout_ns;
	bool is_forced;
	bool is_stateful;
	bool is_boot; /* a start that leaves aside the state there is */
};

static int order_read(const json_t *body, const char *path, struct order *ret, struct error *e)
{
	static const char *const actions[] = { "start", "stop", "restart", "freeze", "unfreeze" };
	struct order order = {};
	int64_t timeout = -1;
	bool is_known = false;
	int r = json_require_text(body, path, "action", &order.action, e);
	if (r == 0)
		r = json_read_i64(body, path, "timeout", &timeout, e);
	if (r == 0)
		r = json_read_bool(body, path, "force", &order.is_forced, e);
	if (r == 0)
		r = json_read_bool(body, path, "stateful", &order.is_stateful, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
		is_known = is_known || text_equal(actions[i], order.action);
	if (!is_known)
		return error_set(e, -EINVAL,
			"action: \"%.40s\" is none of start, stop, restart, freeze, unfreeze",
			order.action);
	if (order.is_stateful && !text_equal(order.action, "start") &&
		!text_equal(order.action, "stop"))
		return error_set(e, -EINVAL, "stateful: goes with start and stop");
	order.is_boot = json_is_false(json_object_get(body, "stateful"));
	if (timeout > TIMEOUT_MAX_S)
		return error_set(e, -EINVAL, "timeout: is more than %d seconds", TIMEOUT_MAX_S);
	if (timeout > 0)
		order.timeout_ns = (uint64_t)timeout * NS_PER_SEC;
	*ret = order;
	return 0;
}

/* Begins it; `done` comes later or at once. */
static int order_do(struct instance *instance, const struct order *order, lifecycle_done *done,
	void *data, struct error *e)
{
	int r;
	if (text_equal(order->action, "start") && order->is_boot)
		machine_state_forget(instance);
	if (text_equal(order->action, "stop") && order->is_stateful)
		return stateful_stop(instance, done, data, e);
	if (text_equal(order->action, "start"))
		return lifecycle_start(instance, done, data, e);
	if (text_equal(order->action, "stop"))
		return lifecycle_stop(instance, order->is_forced, order->timeout_ns, done, data, e);
	if (text_equal(order->action, "restart"))
		return lifecycle_restart(
			instance, order->is_forced, order->timeout_ns, done, data, e);
	if (!(instance->kind->can & KIND_CAN_FREEZE))
		return error_set(e, -EOPNOTSUPP, "A %s can't be frozen", instance->kind->name);
	if (text_equal(order->action, "freeze"))
		r = lifecycle_freeze(instance, e);
	else
		r = lifecycle_thaw(instance, e);
	if (r == 0)
		done(data, 0, NULL);
	return r;
}

static const char *order_description(const struct order *order)
{
	static const char *const texts[][2] = { { "start", "Starting instance" },
		{ "stop", "Stopping instance" }, { "restart", "Restarting instance" },
		{ "freeze", "Freezing instance" }, { "unfreeze", "Unfreezing instance" } };
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		if (text_equal(texts[i][0], order->action))
			return texts[i][1];
	}
	return "Changing state";
}

static int reply_state(struct instance *instance, struct request *request)
{
	cleanup(state_reader_done) struct state_reader reader = {};
	struct text text = {};
	state_reader_init(&reader);
	instance_state_add(instance, &reader, true, &text);
	size_t length = text.length;
	return reply_text(request, text_take(&text), length);
}

static int get_state(struct service *service, struct request *request, struct error *e)
{
	struct instance *instance = NULL;
	int r = request_instance(service, request, &instance, e);
	return r < 0 ? r : server_usage_reply(instance, request, reply_state);
}

static int put_state(struct service *service, struct request *request, struct error *e)
{
	struct order order = {};
	struct instance *instance = NULL;
	int r = request_instance(service, request, &instance, e);
	if (r == 0)
		r = order_read(request_json(request), "", &order, e);
	if (r < 0)
		return r;
	bool is_cut = order.is_forced && text_equal(order.action, "stop") &&
		text_equal(instance->doing, INSTANCE_STOPPING);
	if (!is_cut && request_waits(request, instance))
		return 0;
	struct task *task = task_new(service);
	r = order_do(instance, &order, task_done, task, e);
	return task_reply(task, r, request,
		&(struct operation_options){ .description = order_description(&order),
			.project = instance->project,
			.resources = instance_resources(instance) });
}

/* All of a project at once: it is over when the last one is. */
struct bulk {
	const struct order *order;
	struct task *task;
	size_t open;
	int code;
	struct error error;
};

static void bulk_end(struct bulk *bulk)
{
	if (--bulk->open)
		return;
	task_done(bulk->task, bulk->code, &bulk->error);
	free(bulk);
}

static void bulk_one_done(void *data, int code, const struct error *e)
{
	struct bulk *bulk = data;
	if (code < 0 && bulk->code == 0) {
		bulk->code = code;
		bulk->error = *e;
	}
	bulk_end(bulk);
}

/* Those that are in the state already are left alone. */
static bool order_applies(const struct order *order, const struct instance *instance)
{
	if (text_equal(order->action, "start"))
		return instance->state == INSTANCE_STOPPED;
	if (text_equal(order->action, "freeze"))
		return instance->state == INSTANCE_RUNNING;
	if (text_equal(order->action, "unfreeze"))
		return instance->state == INSTANCE_FROZEN;
	return instance->live != NULL;
}

static void bulk_one(void *data, struct instance *instance)
{
	struct bulk *bulk = data;
	struct error e = {};
	if (!order_applies(bulk->order, instance))
		return;
	bulk->open++;
	int r = order_do(instance, bulk->order, bulk_one_done, bulk, &e);
	if (r < 0) {
		error_prefix(&e, r, "%s", instance->name);
		bulk_one_done(bulk, r, &e);
	}
}

static int put_instances(struct service *service, struct request *request, struct error *e)
{
	json_t *state = NULL;
	struct order order = {};
	int r = json_read_object(request_json(request), "", "state", &state, e);
	if (r == 0 && !state)
		r = error_set(e, -EINVAL, "state: is missing");
	if (r == 0)
		r = order_read(state, "state", &order, e);
	if (r < 0)
		return r;
	struct bulk *bulk = alloc(struct bulk);
	struct task *task = task_new(service);
	*bulk = (struct bulk){ .order = &order, .task = task, .open = 1 };
	instances_each(service, request_project(request), bulk_one, bulk);
	bulk_end(bulk);
	return task_reply(task, 0, request,
		&(struct operation_options){ .description = order_description(&order),
			.project = request_project(request) });
}

/* What a launch would do: the plan of the instance that POST /1.0/instances would make. */
static int post_plan(struct service *service, struct request *request, struct error *e)
{
	struct instance *instance = NULL;
	json_t *body = request_json(request);
	const char *name = json_text(body, "name");
	if (!name || !name[0])
		json_set_text(body, "name", "planned");
	int r = instance_imagine(service, request_project(request), body, &instance, e);
	if (r < 0)
		return r;
	cleanup(spec_done) struct spec spec = {};
	cleanup(start_plan_done) struct start_plan plan = {};
	struct cpu_set_mask cpus = {};
	struct ledger *ledger = &service->instances->ledger;
	r = instance_spec(instance, &spec, e);
	if (r == 0) {
		struct resources asked = spec_resources(&spec);
		r = ledger_reserve(ledger, &asked, e);
		if (r == 0)
			ledger_release(ledger, &asked);
	}
	if (r == 0)
		r = ledger_take_cpus(ledger, &spec.cpu, &cpus, e);
	if (r == 0) {
		ledger_release_cpus(ledger, &cpus);
		r = start_plan_make(instance, &spec, &cpus, true, &plan, e);
	}
	if (r == 0)
		r = reply_sync(request, json_pack("{s:o}", "steps", plan_json(&plan.plan)));
	start_plan_done(&plan);
	plan = (struct start_plan){};
	spec_done(&spec);
	instance_free(instance);
	return r;
}

const struct route state_routes[] = {
	{ "PUT", "/1.0/instances", REQUEST_JSON, put_instances, 0 },
	{ "GET", "/1.0/instances/{name}/state", REQUEST_NONE, get_state, 0 },
	{ "PUT", "/1.0/instances/{name}/state", REQUEST_JSON, put_state, 0 },
	{ "POST", "/1.0/berth/plan", REQUEST_JSON, post_plan, 0 },
	{},
};
