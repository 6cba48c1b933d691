/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stateful.c - first the state, then an end that the guest does not hear of.
 */
#include "daemon/instance/stateful.h"

#include "base/log.h"
#include "daemon/instance/machine_state.h"
#include "daemon/instance/turn.h"
#include "model/json.h"

struct stop {
	struct instance *instance;
	lifecycle_done *done;
	void *data;
};

static int end(const struct stop *stop, struct error *e)
{
	struct instance *instance = stop->instance;
	json_set_bool(instance->object, "stateful", true);
	int r = instance_save(instance, e);
	instance_release(instance);
	if (r == 0)
		r = lifecycle_stop(instance, true, 0, stop->done, stop->data, e);
	if (r < 0)
		machine_state_forget(instance);
	return r;
}

static void is_saved(void *data, int code, const struct error *e)
{
	struct stop *stop = data;
	struct error error = {};
	if (code < 0) {
		instance_release(stop->instance);
		stop->done(stop->data, code, e);
	} else {
		code = end(stop, &error);
		if (code < 0) {
			machine_state_resume(stop->instance);
			stop->done(stop->data, code, &error);
		}
	}
	free(stop);
}

int stateful_stop(struct instance *instance, lifecycle_done *done, void *data, struct error *e)
{
	int r = machine_state_check(instance, e);
	if (r == 0)
		r = instance_claim(instance, "suspending", e);
	if (r < 0)
		return r;
	struct stop *stop = alloc(struct stop);
	*stop = (struct stop){ instance, done, data };
	r = machine_state_save(instance, NULL, is_saved, stop, e);
	if (r < 0) {
		instance_release(instance);
		free(stop);
	}
	return r;
}
