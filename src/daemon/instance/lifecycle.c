/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lifecycle.c - starts, stops, freezes and restarts instances.
 *
 * An instance goes one way: claimed, planned, launched; its runner says that it runs, and later its
 * socket closes: that is the end, whoever wanted it. Then the plan is undone, and what was wanted decides
 * how it goes on: an operation is over, it starts again, or it is removed.
 */
#include "daemon/instance/lifecycle.h"
#include "daemon/instance/helper.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/text.h"
#include "daemon/instance/launch.h"
#include "daemon/instance/machine_state.h"
#include "daemon/instance/start_plan.h"
#include "daemon/instance/turn.h"
#include "daemon/network/proxies.h"
#include "daemon/network/proxy_nat.h"
#include "daemon/server/instance.h"
#include "daemon/warnings.h"
#include "host/cgroup.h"
#include "model/json.h"

#define ENDED           "volatile.last_state.exit"
#define NO_ROOM_WARNING "A machine waits for room on its volume"
#define RESTARTS_MAX    10 /* within RESTARTS_NS */
#define RESTARTS_NS     (60 * NS_PER_SEC)

/* What is wanted of a live instance. */
struct life {
	struct live *live; /* NULL after its end */
	struct instance *instance;

	/* Who waits; these keep the instance claimed. */
	lifecycle_done *started, *stopped, *restarted;
	void *started_data, *stopped_data, *restarted_data;
	/* Who waits beside them: an end by force while an orderly one was awaited; a clearing away. */
	lifecycle_done *forced, *cleared;
	void *forced_data, *cleared_data;

	struct source *timer; /* the orderly end's limit */
	bool is_stop_asked;
	bool is_forced;
	bool is_restart;

	/* What was seen of it at its end. */
	bool has_run, has_ended_well, wants_reboot;
	struct error error;
};

static const struct live_calls calls;

static struct life *life_of(struct instance *instance)
{
	return instance->live ? instance->live->owner : NULL;
}

static struct life *life_new(struct instance *instance)
{
	struct life *life = alloc(struct life);
	life->instance = instance;
	life->live = live_new(instance, &calls);
	life->live->owner = life;
	return life;
}

static void life_free(struct life *life)
{
	source_free(life->timer);
	free(life);
}

/* How its first process ended, for whoever asks later: it is stored with what follows from the end. */
static void note_end(const struct live *live)
{
	cleanup(free) char *how = NULL;
	if (!live->is_running || !live->has_exited)
		return;
	if (WIFSIGNALED(live->wait_status))
		how = alloc_printf("signal %d", WTERMSIG(live->wait_status));
	else
		how = alloc_printf("status %d", WEXITSTATUS(live->wait_status));
	instance_set(live->instance, ENDED, how);
}

/* Notes in the store what it is, for the next daemon. */
static void remember(struct instance *instance, const char *power)
{
	struct error e = {};
	const json_t *config = json_object_get(instance->object, "config");
	bool has_template = text_equal(power, "RUNNING") &&
		json_text(config, "volatile.apply_template") != NULL;
	if (text_equal(json_text(config, "volatile.last_state.power"), power) && !has_template)
		return;
	/* What was to be written at its first start has been. */
	if (has_template)
		instance_set(instance, "volatile.apply_template", NULL);
	instance_set(instance, "volatile.last_state.power", power);
	instance_set(
		instance, text_equal(power, "STOPPED") ? "volatile.last_state.ready" : ENDED, NULL);
	if (instance_save(instance, &e) < 0)
		log_error("not stored instance=%s: %s", instance->name, e.text);
}

static int plan_and_launch(struct life *life, struct instance *instance, struct error *e)
{
	cleanup(spec_done) struct spec spec = {};
	cleanup(start_plan_done) struct start_plan plan = {};
	int r = instance_spec(instance, &spec, e);
	if (r < 0)
		return r;
	r = proxies_check(&spec, e);
	if (r == 0)
		r = start_plan_check_sources(&spec, NULL, NULL, e);
	if (r == 0)
		r = launch_reserve(life->live, &spec, e);
	if (r < 0)
		return r;
	r = start_plan_make(instance, &spec, &life->live->cpus, false, &plan, e);
	if (r == 0)
		r = launch(life->live, &plan.plan, e);
	if (r < 0)
		launch_unreserve(life->live);
	return r;
}

/* Claimed already, or nobody waits. */
static int start(struct instance *instance, lifecycle_done *done, void *data, struct error *e)
{
	int r = instance_move(instance, INSTANCE_START, e);
	if (r < 0)
		return r;
	struct life *life = life_new(instance);
	life->started = done;
	life->started_data = data;
	r = plan_and_launch(life, instance, e);
	if (r < 0) {
		live_free(life->live);
		life_free(life);
		if (instance_move(instance, INSTANCE_GONE, NULL) < 0)
			log_error("an instance could not go instance=%s", instance->name);
		return r;
	}
	instance->live = life->live;
	return 0;
}

static int start_claimed(
	struct instance *instance, lifecycle_done *done, void *data, struct error *e)
{
	int r = instance_claim(instance, "starting", e);
	if (r < 0)
		return r;
	r = start(instance, done, data, e);
	if (r < 0)
		instance_release(instance);
	return r;
}

/* A start that waits until nobody holds the instance. */
struct patient {
	lifecycle_done *done;
	void *data;
};

static void start_turn(void *data, struct instance *instance, int code, const struct error *e)
{
	struct patient *patient = data;
	struct error error = {};
	if (code == 0) {
		e = &error;
		code = start_claimed(instance, patient->done, patient->data, &error);
	}
	if (code < 0)
		patient->done(patient->data, code, e);
	free(patient);
}

int lifecycle_start(struct instance *instance, lifecycle_done *done, void *data, struct error *e)
{
	if (instance->kind->can & KIND_IS_SERVER)
		return server_instance_start(instance, done, data, e);
	if (!instance->doing)
		return start_claimed(instance, done, data, e);
	struct patient *patient = alloc(struct patient);
	*patient = (struct patient){ done, data };
	turn_wait(instance,
		&(struct turn_options){
			.limit_ns = TURN_LIMIT_NS, .call = start_turn, .data = patient });
	return 0;
}

static void is_started(struct live *live)
{
	struct life *life = live->owner;
	struct instance *instance = live->instance;
	lifecycle_done *done = life->started;
	if (instance->state == INSTANCE_STARTING &&
		instance_move(instance, INSTANCE_STARTED, NULL) == 0) {
		char now[TEXT_TIME_SIZE];
		json_set_text(
			instance->object, "last_used_at", text_format_time(loop_wall_clock(), now));
		remember(instance, "RUNNING");
		machine_state_used(instance);
		instance_event(instance,
			life->is_restart ? "instance-restarted" : "instance-started", NULL);
		instance_release(instance);
	}
	life->started = NULL;
	if (done)
		done(life->started_data, 0, NULL);
}

struct proxying {
	struct instance *instance;
	struct live *live; /* while it is the instance's */
	struct spec spec;
};

static void proxies_are_there(void *data, int code, const struct error *e)
{
	struct proxying *proxying = data;
	struct live *live = proxying->live;
	if (proxying->instance->live == live && code < 0) {
		live->error = *e;
		live_kill(live);
	} else if (proxying->instance->live == live) {
		is_started(live);
	}
	spec_done(&proxying->spec);
	free(proxying);
}

/* It has started when its proxies have; one that can't start ends it again. */
static void is_running(struct live *live)
{
	struct proxying *proxying = alloc(struct proxying);
	*proxying = (struct proxying){ .instance = live->instance, .live = live };
	if (live->instance->service->instances->runs)
		live->instance->service->instances->runs(live->instance);
	if (live->instance->state == INSTANCE_STARTING &&
		instance_spec(live->instance, &proxying->spec, NULL) == 0 &&
		proxying->spec.devices.proxy_count > 0) {
		struct error e = {};
		int r = proxy_nat_apply(live->instance, &proxying->spec, &e);
		if (r < 0)
			proxies_are_there(proxying, r, &e);
		else
			proxies_update(live, &proxying->spec, proxies_are_there, proxying);
		return;
	}
	spec_done(&proxying->spec);
	free(proxying);
	is_started(live);
}

static void is_out_of_memory(struct live *live)
{
	struct instance *instance = live->instance;
	cleanup(free) char *url = instance_url(instance);
	log_warning("out of memory instance=%s killed=%u", instance->name, live->oom_kills);
	instance_event(
		instance, "instance-oom", json_pack("{s:i}", "killed", (int)live->oom_kills));
	service_warning(instance->service, "Instance out of memory", "moderate", instance->project,
		url, "%u processes were killed for want of memory", live->oom_kills);
}

static void has_room(struct live *live, bool is_there)
{
	struct instance *instance = live->instance;
	cleanup(free) char *url = instance_url(instance);
	if (is_there)
		service_warning_resolve(instance->service, NO_ROOM_WARNING, instance->project, url);
	else
		service_warning(instance->service, NO_ROOM_WARNING, "high", instance->project, url,
			"The volume of a disk is full: the machine stands still until there is room");
}

static void remove_turn(void *data, struct instance *instance, int code, const struct error *e)
{
	(void)data;
	(void)e;
	if (code == 0)
		instance->service->instances->remove(instance);
}

/* Whether it starts again by itself: not too often. */
static bool restarts(struct life *life, struct instance *instance)
{
	if (life->is_stop_asked || instance->service->is_stopping)
		return false;
	if (life->wants_reboot)
		return true;
	if (!instance_config_is(instance, "boot.autorestart") || life->has_ended_well)
		return false;
	uint64_t now = loop_now();
	if (now - instance->restarts_since_ns > RESTARTS_NS) {
		instance->restarts_since_ns = now;
		instance->restarts = 0;
	}
	if (instance->restarts >= RESTARTS_MAX) {
		cleanup(free) char *url = instance_url(instance);
		service_warning(instance->service, "Instance autorestart", "high",
			instance->project, url, "ended %d times within a minute", RESTARTS_MAX);
		return false;
	}
	instance->restarts++;
	return true;
}

static void restart_failed(void *data, int code, const struct error *e)
{
	struct instance *instance = data;
	(void)code;
	if (code < 0)
		log_error("not restarted instance=%s: %s", instance->name, e->text);
}

/* It is claimed. */
static void start_again(
	struct life *life, struct instance *instance, lifecycle_done *done, void *data)
{
	struct error e = {};
	if (life->forced)
		life->forced(life->forced_data, 0, NULL);
	life_free(life);
	int r = start(instance, done, data, &e);
	if (r < 0) {
		instance_release(instance);
		done(data, r, &e);
		return;
	}
	struct life *again = life_of(instance);
	assert(again);
	again->is_restart = true;
}

/* Tells all who waited, but those who want it to start again. */
static void tell_ended(struct life *life, int code, const struct error *e)
{
	bool has_reason = life->error.text[0] != '\0';
	if (life->started)
		life->started(life->started_data, has_reason ? -EIO : code ?: -EIO,
			has_reason ? &life->error : e);
	if (life->stopped)
		life->stopped(life->stopped_data, code, e);
	if (life->forced)
		life->forced(life->forced_data, code, e);
	if (life->cleared)
		life->cleared(life->cleared_data, code, e);
	life->started = life->stopped = life->forced = life->cleared = NULL;
}

/* The plan is undone: the instance has stopped. */
static void undone(void *data, struct instance *instance, int code, const struct error *e)
{
	struct life *life = data;
	bool is_ours = life->started || life->stopped || life->restarted; /* then so is the claim */
	life->live = NULL;
	if (instance_move(instance, code < 0 ? INSTANCE_BROKEN : INSTANCE_GONE, NULL) < 0)
		log_error("an instance could not go instance=%s", instance->name);
	remember(instance, "STOPPED");
	if (life->has_run && !life->restarted && !life->wants_reboot)
		instance_event(
			instance, life->is_forced ? "instance-stopped" : "instance-shutdown", NULL);
	if (life->restarted && code == 0) {
		start_again(life, instance, life->restarted, life->restarted_data);
		return;
	}
	if (code == 0 && life->has_run && !is_ours && restarts(life, instance) &&
		instance_claim(instance, "starting", NULL) == 0) {
		start_again(life, instance, restart_failed, instance);
		return;
	}
	if (is_ours)
		instance_release(instance);
	if (life->restarted)
		life->restarted(life->restarted_data, code, e);
	tell_ended(life, code, e);
	if (instance_is_ephemeral(instance) && life->has_run && code == 0 &&
		instance->service->instances->remove)
		turn_wait(
			instance, &(struct turn_options){ .is_alone = true, .call = remove_turn });
	life_free(life);
}

static void is_gone(struct live *live)
{
	struct life *life = live->owner;
	struct instance *instance = live->instance;
	life->has_run = live->is_running;
	life->wants_reboot = live->wants_reboot;
	life->has_ended_well = live->has_exited && live->wait_status == 0;
	note_end(live);
	life->error = live->error;
	if (!live->is_running && !life->error.text[0])
		error_set(&life->error, -EIO,
			"The runner ended before the instance ran; see runner.log");
	if (live->is_running && !live->has_exited)
		log_warning("runner lost instance=%s", instance->name);
	if (instance->kind->can & KIND_IS_MACHINE)
		has_room(live, true);
	source_free(life->timer);
	life->timer = NULL;
	launch_undo(live, undone, life);
}

static const struct live_calls calls = {
	.running = is_running,
	.gone = is_gone,
	.oom = is_out_of_memory,
	.room = has_room,
};

static void stop_too_slow(void *data)
{
	struct life *life = data;
	struct instance *instance = life->live->instance;
	struct error e = {};
	lifecycle_done *done = life->stopped ?: life->restarted;
	void *done_data = life->stopped ? life->stopped_data : life->restarted_data;
	source_free(life->timer);
	life->timer = NULL;
	error_set(&e, -ETIMEDOUT, "The instance did not stop in time; stop it by force");
	life->stopped = life->restarted = NULL;
	life->is_stop_asked = false;
	if (instance_move(instance, INSTANCE_STOP_GIVEN_UP, NULL) < 0)
		log_error("an instance could not go on instance=%s", instance->name);
	instance_release(instance);
	done(done_data, -ETIMEDOUT, &e);
}

/* A machine with an agent and a power button has both: an image may listen to one only. */
static int ask_end(struct live *live, struct error *e)
{
	uint32_t can = live->instance->kind->can;
	int r = 0;
	if (!(can & KIND_HAS_AGENT) || (can & KIND_HAS_BUTTON))
		r = live_stop(live, e);
	if (r == 0 && (can & KIND_HAS_AGENT))
		r = helper_ask_end(live->instance, e);
	return r;
}

/* Asks or forces it to end. */
static int stop_begin(struct life *life, struct instance *instance, bool is_forced,
	uint64_t timeout_ns, struct error *e)
{
	enum instance_state before = instance->state;
	assert(life);
	int r = instance_move(instance, INSTANCE_STOP, e);
	if (r < 0)
		return r;
	if (before == INSTANCE_FROZEN && !is_forced)
		r = cgroup_thaw(life->live->group, e);
	if (r == 0 && !is_forced)
		r = ask_end(life->live, e);
	if (r < 0) {
		instance->state = before;
		return r;
	}
	life->is_stop_asked = true;
	life->is_forced = is_forced;
	if (is_forced) {
		live_kill(life->live);
		return 0;
	}
	life->timer = loop_add_timer(instance->service->loop, stop_too_slow, life);
	timer_set_after(life->timer, timeout_ns ?: LIFECYCLE_STOP_NS);
	return 0;
}

static int stop_claim(
	struct instance *instance, const char *doing, struct life **ret, struct error *e)
{
	enum instance_state ignored;
	int r = instance_next(instance->state, INSTANCE_STOP, &ignored, e);
	if (r < 0)
		return r;
	if (!instance->live)
		return error_set(e, -EBUSY, "What the instance left behind could not be removed");
	r = instance_claim(instance, doing, e);
	if (r == 0)
		*ret = life_of(instance);
	return r;
}

int lifecycle_stop(struct instance *instance, bool is_forced, uint64_t timeout_ns,
	lifecycle_done *done, void *data, struct error *e)
{
	struct life *life = life_of(instance);
	if (instance->kind->can & KIND_IS_SERVER)
		return server_instance_stop(instance, is_forced, timeout_ns, done, data, e);
	if (is_forced && life && life->stopped && !life->forced) {
		/* Cuts an orderly end short. */
		life->forced = done;
		life->forced_data = data;
		life->is_forced = true;
		source_free(life->timer);
		life->timer = NULL;
		live_kill(life->live);
		return 0;
	}
	int r = stop_claim(instance, INSTANCE_STOPPING, &life, e);
	if (r < 0)
		return r;
	r = stop_begin(life, instance, is_forced, timeout_ns, e);
	if (r < 0) {
		instance_release(instance);
		return r;
	}
	life->stopped = done;
	life->stopped_data = data;
	return 0;
}

int lifecycle_restart(struct instance *instance, bool is_forced, uint64_t timeout_ns,
	lifecycle_done *done, void *data, struct error *e)
{
	struct life *life = NULL;
	if (instance->kind->can & KIND_IS_SERVER)
		return server_instance_restart(instance, is_forced, timeout_ns, done, data, e);
	int r = stop_claim(instance, "restarting", &life, e);
	if (r < 0)
		return r;
	r = stop_begin(life, instance, is_forced, timeout_ns, e);
	if (r < 0) {
		instance_release(instance);
		return r;
	}
	life->restarted = done;
	life->restarted_data = data;
	return 0;
}

int lifecycle_freeze(struct instance *instance, struct error *e)
{
	int r = instance_claim(instance, "freezing", e);
	if (r < 0)
		return r;
	r = instance_move(instance, INSTANCE_FREEZE, e);
	if (r == 0) {
		r = cgroup_freeze(instance->live->group, e);
		if (instance_move(instance, r < 0 ? INSTANCE_THAW : INSTANCE_IS_FROZEN, NULL) < 0)
			log_error("an instance could not freeze instance=%s", instance->name);
	}
	if (r == 0) {
		remember(instance, "FROZEN");
		instance_event(instance, "instance-paused", NULL);
	}
	instance_release(instance);
	return r;
}

int lifecycle_thaw(struct instance *instance, struct error *e)
{
	int r = instance_claim(instance, "unfreezing", e);
	if (r < 0)
		return r;
	enum instance_state after;
	r = instance_next(instance->state, INSTANCE_THAW, &after, e);
	if (r == 0)
		r = cgroup_thaw(instance->live->group, e);
	if (r == 0) {
		instance->state = after;
		remember(instance, "RUNNING");
		instance_event(instance, "instance-resumed", NULL);
	}
	instance_release(instance);
	return r;
}

void lifecycle_set_remove(struct service *service, void (*remove)(struct instance *instance))
{
	service->instances->remove = remove;
}

struct live *lifecycle_revive(struct instance *instance)
{
	instance->live = life_new(instance)->live;
	return instance->live;
}

void lifecycle_adopted(struct instance *instance)
{
	const json_t *config = json_object_get(instance->object, "config");
	bool is_frozen = text_equal(json_text(config, "volatile.last_state.power"), "FROZEN");
	instance->state = is_frozen ? INSTANCE_FROZEN : INSTANCE_RUNNING;
}

void lifecycle_clear(struct instance *instance, lifecycle_done *done, void *data)
{
	struct life *life = life_of(instance);
	assert(life);
	life->cleared = done;
	life->cleared_data = data;
	life->live->is_gone = true;
	launch_undo(life->live, undone, life);
}

void lifecycle_leave(struct instance *instance)
{
	struct life *life = life_of(instance);
	if (!life)
		return;
	instance->live = NULL;
	launch_unreserve(life->live);
	live_free(life->live);
	life_free(life);
}
