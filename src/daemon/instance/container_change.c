/* SPDX-License-Identifier: Apache-2.0 */
/*
 * container_change.c - compares what a running container has (its document) with what it shall have, and asks
 * a helper for the difference.
 */
#include "daemon/instance/container_change.h"

#include <errno.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "daemon/instance/ask.h"
#include "daemon/instance/launch.h"
#include "daemon/instance/start_plan.h"
#include "daemon/instance/turn.h"
#include "daemon/network/proxies.h"
#include "model/json.h"

#define SETTLE_NS (200 * NS_PER_MS) /* a device is told of in many words */

struct going {
	struct instance *instance;
	struct live *live; /* while it is the instance's */
	const struct spec *wanted;
	json_t *mounts, *nodes;         /* as they shall be */
	json_t *old_mounts, *old_nodes; /* as they are; not NULL */
	container_changed *done;
	void *data;
};

bool container_change_is_live(const json_t *device)
{
	return !text_equal(json_text(device, "type"), "disk") ||
		!text_equal(json_text(device, "path"), "/");
}

/* What `from` has and `other` has not, or has otherwise. */
static json_t *only_in(const json_t *from, const json_t *other)
{
	json_t *result = json_array();
	for (size_t i = 0; i < json_array_size(from); i++) {
		json_t *item = json_array_get(from, i);
		bool is_same = false;
		for (size_t k = 0; k < json_array_size(other); k++)
			is_same |= json_equal(item, json_array_get(other, k));
		if (!is_same)
			json_array_append(result, item);
	}
	return result;
}

static json_t *texts_of(json_t *items, const char *field)
{
	json_t *result = json_array();
	for (size_t i = json_array_size(items); i > 0; i--)
		json_array_append(result, json_object_get(json_array_get(items, i - 1), field));
	json_decref(items);
	return result;
}

static void set_lists(struct live *live, json_t *mounts, json_t *nodes)
{
	json_object_set(live->document, "mounts", mounts);
	json_object_set(live->document, "devices", nodes);
}

static void going_end(struct going *going, int code, const struct error *e)
{
	container_changed *done = going->done;
	void *data = going->data;
	json_decref(going->mounts);
	json_decref(going->nodes);
	json_decref(going->old_mounts);
	json_decref(going->old_nodes);
	free(going);
	done(data, code, e);
}

static void proxies_are_there(void *data, int code, const struct error *e)
{
	going_end(data, code, e);
}

static void is_plugged(void *data, int code, const struct error *e)
{
	struct going *going = data;
	struct live *live = going->live;
	struct error own = {};
	cleanup(close) int dir = -1;
	/* It ended meanwhile: at its next start it has what is wanted. */
	if (going->instance->live != live) {
		going_end(going, 0, NULL);
		return;
	}
	if (code < 0) {
		set_lists(live, going->old_mounts, going->old_nodes);
		if (launch_set_devices(live, &own) < 0)
			log_error("devices not put back instance=%s: %s", live->instance->name,
				own.text);
		going_end(going, code, e);
		return;
	}
	int r = instance_open_dir(live->instance, &dir, &own);
	if (r == 0)
		r = launch_write_document(live->document, dir, &own);
	if (r < 0)
		log_error("plan not written instance=%s: %s", live->instance->name, own.text);
	proxies_update(live, going->wanted, proxies_are_there, going);
}

static json_t *request_make(const struct going *going, bool *ret_is_empty)
{
	json_t *add_mounts = only_in(going->mounts, going->old_mounts);
	json_t *add_nodes = only_in(going->nodes, going->old_nodes);
	json_t *gone_mounts = texts_of(only_in(going->old_mounts, going->mounts), "target");
	json_t *gone_nodes = texts_of(only_in(going->old_nodes, going->nodes), "path");
	*ret_is_empty = !json_array_size(add_mounts) && !json_array_size(add_nodes) &&
		!json_array_size(gone_mounts) && !json_array_size(gone_nodes);
	return json_pack("{s:{s:o, s:o}, s:{s:o, s:o}}", "add", "mounts", add_mounts, "devices",
		add_nodes, "remove", "mounts", gone_mounts, "devices", gone_nodes);
}

static json_t *list_of(const struct live *live, const char *name)
{
	json_t *list = json_object_get(live->document, name);
	return list ? json_incref(list) : json_array();
}

void container_change(
	struct live *live, const struct spec *wanted, container_changed *done, void *data)
{
	struct error e = {};
	struct going *going = alloc(struct going);
	*going = (struct going){ .instance = live->instance,
		.live = live,
		.wanted = wanted,
		.old_mounts = list_of(live, "mounts"),
		.old_nodes = list_of(live, "devices"),
		.done = done,
		.data = data };
	int r = start_plan_devices(live->instance, wanted, &going->mounts, &going->nodes, &e);
	if (r < 0) {
		going_end(going, r, &e);
		return;
	}
	bool is_empty;
	cleanup(json_decref) json_t *request = request_make(going, &is_empty);
	set_lists(live, going->mounts, going->nodes);
	if (is_empty) {
		proxies_update(live, wanted, proxies_are_there, going);
		return;
	}
	r = launch_set_devices(live, &e);
	if (r == 0)
		r = ask_helper(live->instance,
			&(struct helper_options){ .name = "devices", .request = request },
			is_plugged, going, &e);
	if (r < 0)
		is_plugged(going, r, &e);
}

/* -- devices that come and go --------------------------------------------------------------------- */

struct watch {
	struct service *service;
	int fd;
	struct source *source, *timer;
};

struct renewal {
	struct instance *instance;
	struct spec spec;
};

static void is_renewed(void *data, int code, const struct error *e)
{
	struct renewal *renewal = data;
	if (code < 0)
		log_error("devices not renewed instance=%s: %s", renewal->instance->name, e->text);
	instance_release(renewal->instance);
	spec_done(&renewal->spec);
	free(renewal);
}

static void renew(struct instance *instance, bool is_for_matches);

static void renew_turn(void *data, struct instance *instance, int code, const struct error *e)
{
	(void)data;
	(void)e;
	if (code == 0)
		renew(instance, false);
}

static void renew(struct instance *instance, bool is_for_matches)
{
	if (!instance->live || !instance->live->is_running ||
		(instance->kind->can & KIND_CAN_DEVICES) == 0)
		return;
	struct renewal *renewal = alloc(struct renewal);
	renewal->instance = instance;
	bool is_waiting = instance_spec(instance, &renewal->spec, NULL) == 0 &&
		(!is_for_matches || renewal->spec.devices.match_count > 0);
	if (is_waiting && instance_claim(instance, "updating", NULL) == 0) {
		container_change(instance->live, &renewal->spec, is_renewed, renewal);
		return;
	}
	/* Somebody else changes it now: look again when that is over. */
	if (is_waiting && !turn_is_waiting(instance, renew_turn))
		turn_wait(instance, &(struct turn_options){ .call = renew_turn });
	spec_done(&renewal->spec);
	free(renewal);
}

void container_renew(struct instance *instance)
{
	renew(instance, false);
}

static void renew_matches(void *data, struct instance *instance)
{
	(void)data;
	renew(instance, true);
}

static void on_settled(void *data)
{
	struct watch *watch = data;
	instances_each(watch->service, NULL, renew_matches, NULL);
}

static void on_event(void *data, int fd, uint32_t events)
{
	struct watch *watch = data;
	char text[8192];
	(void)events;
	while (recv(fd, text, sizeof(text), MSG_DONTWAIT) > 0)
		timer_set_after(watch->timer, SETTLE_NS);
}

int container_watch_start(struct service *service, struct error *e)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	struct watch *watch = alloc(struct watch);
	service->container_watch = watch;
	watch->service = service;
	watch->timer = loop_add_timer(service->loop, on_settled, watch);
	watch->fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);
	if (watch->fd < 0 || bind(watch->fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		/* Without it devices are found at the start of an instance only. */
		log_warning("events of devices are not heard: %m");
		return 0;
	}
	int r = loop_add_fd(service->loop, watch->fd, EPOLLIN, on_event, watch, &watch->source);
	return r < 0 ? error_code(e, r, "watch events of devices") : 0;
}

void container_watch_stop(struct service *service)
{
	struct watch *watch = TAKE_PTR(service->container_watch);
	if (!watch)
		return;
	source_free(watch->source);
	source_free(watch->timer);
	if (watch->fd >= 0)
		close(watch->fd);
	free(watch);
}
