/* SPDX-License-Identifier: Apache-2.0 */
/*
 * turn.c - the queue of those who wait for an instance.
 *
 * Each has one timer: it is set to the limit, and to now when its turn has come. Only the first may go; it
 * stays the first if somebody has claimed the instance before the loop came to it.
 */
#include "daemon/instance/turn.h"

#include <errno.h>
#include <inttypes.h>

struct turn {
	struct instance *instance; /* NULL: it was removed */
	struct turn_options options;
	uint64_t until_ns; /* UINT64_MAX: as long as it takes */
	uint64_t limit_s;
	struct source *timer;
	struct turn *next;
};

int instance_claim(struct instance *instance, const char *doing, struct error *e)
{
	if (instance->doing)
		return error_set(
			e, -EBUSY, "Instance \"%s\" is busy %s", instance->name, instance->doing);
	instance->doing = doing;
	return 0;
}

static bool is_free(const struct turn *turn)
{
	const struct instance *instance = turn->instance;
	return !instance->doing && (!turn->options.is_alone || !instance->exports);
}

static void wake(struct instance *instance)
{
	struct turn *first = instance->first_turn;
	if (first && is_free(first))
		timer_set_after(first->timer, 0);
}

void instance_release(struct instance *instance)
{
	instance->doing = NULL;
	wake(instance);
}

void instance_export_ended(struct instance *instance)
{
	instance->exports--;
	wake(instance);
}

static void unlink_turn(struct turn *turn)
{
	if (!turn->instance)
		return;
	struct turn **at = &turn->instance->first_turn;
	while (*at != turn)
		at = &(*at)->next;
	*at = turn->next;
}

static void turn_free(struct turn *turn)
{
	unlink_turn(turn);
	source_free(turn->timer);
	free(turn);
}

static void end(struct turn *turn, int code, const struct error *e)
{
	struct instance *instance = turn->instance;
	struct turn_options options = turn->options;
	turn_free(turn);
	/* Before the call: the instance may be gone after it. */
	if (instance)
		wake(instance);
	options.call(options.data, code < 0 ? NULL : instance, code, e);
}

static void on_timer(void *data)
{
	struct turn *turn = data;
	const struct instance *instance = turn->instance;
	struct error e = {};
	if (!instance) {
		error_set(&e, -ENOENT, "The instance was removed meanwhile");
		end(turn, -ENOENT, &e);
	} else if (instance->first_turn == turn && is_free(turn)) {
		end(turn, 0, NULL);
	} else if (loop_now() < turn->until_ns) {
		if (turn->until_ns != UINT64_MAX)
			timer_set(turn->timer, turn->until_ns);
	} else {
		error_set(&e, -EBUSY, "Instance \"%s\" is still busy %s after %" PRIu64 " seconds",
			instance->name, instance->doing ?: "with other requests", turn->limit_s);
		end(turn, -EBUSY, &e);
	}
}

bool turn_is_needed(const struct instance *instance)
{
	return instance->doing || instance->first_turn;
}

struct turn *turn_wait(struct instance *instance, const struct turn_options *options)
{
	struct turn *turn = alloc(struct turn);
	struct turn **last = &instance->first_turn;
	*turn = (struct turn){
		.instance = instance,
		.options = *options,
		.until_ns = options->limit_ns ? loop_now() + options->limit_ns : UINT64_MAX,
		.limit_s = options->limit_ns / NS_PER_SEC,
		.timer = loop_add_timer(instance->service->loop, on_timer, turn),
	};
	while (*last)
		last = &(*last)->next;
	*last = turn;
	if (options->limit_ns)
		timer_set(turn->timer, turn->until_ns);
	wake(instance);
	return turn;
}

void turn_leave(struct turn *turn)
{
	if (!turn)
		return;
	struct instance *instance = turn->instance;
	turn_free(turn);
	if (instance)
		wake(instance);
}

bool turn_is_waiting(const struct instance *instance, turn_call *call)
{
	for (const struct turn *turn = instance->first_turn; turn; turn = turn->next) {
		if (turn->options.call == call)
			return true;
	}
	return false;
}

void turns_gone(struct instance *instance)
{
	while (instance->first_turn) {
		struct turn *turn = instance->first_turn;
		instance->first_turn = turn->next;
		turn->instance = NULL;
		turn->next = NULL;
		timer_set_after(turn->timer, 0);
	}
}

static void stop(void *data, struct instance *instance)
{
	(void)data;
	struct error e = {};
	error_set(&e, -ESHUTDOWN, "the daemon is stopping");
	while (instance->first_turn)
		end(instance->first_turn, -ESHUTDOWN, &e);
}

int turns_start(struct service *service, struct error *e)
{
	(void)service;
	(void)e;
	return 0;
}

void turns_stop(struct service *service)
{
	if (service->instances)
		instances_each(service, NULL, stop, NULL);
}
