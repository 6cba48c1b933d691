/* SPDX-License-Identifier: Apache-2.0 */
/*
 * servers.c - /1.0/berth/servers: enrolled, looked at, inspected, switched, let go.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "daemon/api.h"
#include "daemon/api/collections.h"
#include "daemon/events.h"
#include "daemon/names.h"
#include "daemon/server/bmc.h"
#include "daemon/server/console.h"
#include "daemon/server/media.h"
#include "daemon/server/netboot.h"
#include "daemon/server/power.h"
#include "daemon/server/secret.h"
#include "daemon/server/vlan.h"
#include "daemon/server/work.h"
#include "daemon/task.h"
#include "model/address.h"
#include "model/json.h"

#define BASE "/1.0/berth/servers"

static int of_request(
	struct service *service, struct request *request, struct server **ret, struct error *e)
{
	return server_get(service, request_param(request, "name"), ret, e);
}

/* What is known of it, with what its BMC told last. */
static json_t *shown(const struct server *server)
{
	json_t *object = server_json(server);
	const json_t *told = server_bmc_told(server);
	int power = server->work ? server_power(server) : -1;
	json_set_text(object, "power", power == 1 ? "on" : power == 0 ? "off" : "unknown");
	if (json_object_get(told, "watts"))
		json_object_set(object, "watts", json_object_get(told, "watts"));
	if (json_object_get(told, "sensors"))
		json_object_set(object, "sensors", json_object_get(told, "sensors"));
	if (json_text(told, "lost"))
		json_set_text(object, "bmc_lost", json_text(told, "lost"));
	return object;
}

static int list_servers(struct service *service, struct request *request, struct error *e)
{
	json_t *servers = json_array();
	for (const struct server *at = service->servers->first; at; at = at->next)
		json_array_append_new(servers, shown(at));
	return reply_collection(request, servers, BASE, "name", e);
}

static int get_server(struct service *service, struct request *request, struct error *e)
{
	struct server *server = NULL;
	int r = of_request(service, request, &server, e);
	return r < 0 ? r : reply_object(request, shown(server));
}

static int check_config(const json_t *config, struct error *e)
{
	static const char *const keys[] = { "poll", "deadline", "boot.deadline", "bmc.deadline",
		"bmc.system", "bmc.cipher", "boot.how", "boot.from", "switch.driver",
		"switch.port" };
	json_t *all = json_mutable(config);
	for (void *at = json_object_iter(all); at; at = json_object_iter_next(all, at)) {
		const char *key = json_object_iter_key(at);
		const char *value = json_string_value(json_object_iter_value(at)) ?: "";
		bool is_known = text_starts(key, "user.");
		uint64_t ns;
		for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
			is_known |= text_equal(keys[i], key);
		if (!is_known)
			return error_set(e, -EINVAL, "config.%.60s: there is no such key", key);
		if ((text_equal(key, "poll") || text_ends(key, "deadline")) &&
			(text_to_ns(value, &ns) < 0 || ns == 0))
			return error_set(
				e, -EINVAL, "config.%s: a time is wanted, like 30s or 10m", key);
		if (text_equal(key, "boot.how") && !text_equal(value, "kexec") &&
			!text_equal(value, "reboot"))
			return error_set(e, -EINVAL, "config.boot.how: kexec or reboot is wanted");
		if (text_equal(key, "bmc.cipher") && !text_equal(value, "17") &&
			!text_equal(value, "3"))
			return error_set(e, -EINVAL,
				"config.bmc.cipher: a cipher suite of IPMI is wanted: 17 or 3");
	}
	return server_switch_check(config, e);
}

static int read_texts(const json_t *body, json_t *object, struct error *e)
{
	static const char *const fields[] = { "description", "driver", "address", "user", "tls",
		"mac", "class", "firmware" };
	int r = 0;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(fields); i++) {
		const char *text = NULL;
		r = json_read_text(body, "", fields[i], &text, e);
		if (r == 0 && text)
			json_set_text(object, fields[i], text);
	}
	return r;
}

static int check_texts(const struct service *service, const json_t *object, struct error *e)
{
	const char *driver = json_text(object, "driver") ?: "", *mac = json_text(object, "mac");
	const char *address = json_text(object, "address") ?: "";
	const char *firmware = json_text(object, "firmware") ?: "";
	struct in6_addr ignored;
	uint8_t bytes[6];
	if (!text_equal(driver, "") && !text_equal(driver, "ipmi") &&
		!text_equal(driver, "redfish"))
		return error_set(e, -EINVAL, "driver: \"%.40s\" is none of redfish, ipmi", driver);
	if (text_equal(driver, "ipmi") && inet_pton(AF_INET, address, &ignored) != 1 &&
		inet_pton(AF_INET6, address, &ignored) != 1)
		return error_set(e, -EINVAL, "address: \"%.80s\" is no IP address", address);
	if (driver[0] && !address[0])
		return error_set(e, -EINVAL, "address: of the BMC is missing");
	if (address[0] && !driver[0])
		return error_set(e, -EINVAL, "driver: redfish or ipmi is wanted");
	if (mac && mac_parse(mac, bytes) < 0)
		return error_set(
			e, -EINVAL, "mac: \"%.40s\" is no MAC address of the card that boots", mac);
	if (firmware[0] && !text_equal(firmware, "bios") && !text_equal(firmware, "uefi"))
		return error_set(e, -EINVAL, "firmware: bios or uefi is wanted");
	return server_media_check(service, object, e);
}

/* The body's fields into the object; the password is sealed. */
static int read_body(struct service *service, const char *name, const json_t *body, json_t *object,
	struct error *e)
{
	const char *password = NULL;
	json_t *config = NULL;
	uint64_t port = 0;
	int r = read_texts(body, object, e);
	if (r == 0)
		r = json_read_u64(body, "", "port", &port, e);
	if (r == 0 && port > UINT16_MAX)
		r = error_set(e, -EINVAL, "port: at most %d", UINT16_MAX);
	if (r == 0 && port)
		json_object_set_new(object, "port", json_integer((json_int_t)port));
	if (r == 0)
		r = json_read_text_map(body, "", "config", &config, e);
	if (r == 0 && config)
		r = check_config(config, e);
	if (r == 0 && config)
		json_object_set_new(object, "config", json_deep_copy(config));
	if (r == 0)
		r = check_texts(service, object, e);
	if (r == 0)
		r = json_read_text(body, "", "password", &password, e);
	if (r == 0 && password) {
		cleanup(free) char *sealed = NULL;
		r = secret_seal(service, name, password, &sealed, e);
		if (r == 0)
			json_set_text(object, "secret", sealed);
	}
	return r;
}

static json_t *resources(const char *name)
{
	return json_pack("{s:[o]}", "servers", json_sprintf(BASE "/%s", name));
}

static int go_with(struct service *service, struct request *request, struct server *server,
	enum server_event event, const char *description, struct error *e)
{
	struct task *task = task_new(service);
	int r = server_go(server, event, task_done, task, e);
	return task_reply(task, r, request,
		&(struct operation_options){
			.description = description, .resources = resources(server->name) });
}

static int add_server(struct service *service, struct request *request, struct error *e)
{
	static const char *const known[] = { "name", "description", "driver", "address", "port",
		"user", "password", "tls", "mac", "class", "firmware", "config", NULL };
	const json_t *body = request_json(request);
	const char *name = NULL;
	struct server *server = NULL;
	int r = json_read_known(body, "", known, e);
	if (r == 0)
		r = json_require_text(body, "", "name", &name, e);
	if (r == 0 && !text_is_label(name))
		r = error_set(e, -EINVAL,
			"name: \"%.80s\" is no host name: letters, digits and -, a letter first",
			name);
	if (r == 0)
		r = netboot_check(service, e);
	if (r < 0)
		return r;
	json_t *object = json_pack("{s:s, s:s, s:s, s:{}}", "name", name, "description", "",
		"state", "enrolled", "config");
	r = read_body(service, name, body, object, e);
	if (r == 0 && !json_text(object, "driver"))
		r = error_set(e, -EINVAL, "driver: redfish or ipmi is wanted");
	if (r == 0 && !json_text(object, "mac"))
		r = error_set(
			e, -EINVAL, "mac: of the card that boots from the network is missing");
	struct server *other = r == 0 ? server_of_mac(service, json_text(object, "mac")) : NULL;
	if (other)
		r = error_set(e, -EEXIST, "mac: is of the server %s", other->name);
	if (r < 0) {
		json_decref(object);
		return r;
	}
	r = server_add(service, name, object, &server, e);
	if (r < 0)
		return r;
	server_work_start(server);
	server_event(server, "server-created");
	return go_with(service, request, server, SERVER_VERIFY, "Enrolling server", e);
}

static int patch_server(struct service *service, struct request *request, struct error *e)
{
	static const char *const known[] = { "description", "driver", "address", "port", "user",
		"password", "tls", "mac", "class", "firmware", "config", "maintenance", NULL };
	const json_t *body = request_json(request);
	struct server *server = NULL;
	bool is_in_maintenance = false;
	int r = of_request(service, request, &server, e);
	if (r == 0)
		r = json_read_known(body, "", known, e);
	if (r < 0)
		return r;
	if (server_is_awaited(server) && json_object_size(request_json(request)) > 0 &&
		!json_object_get(body, "maintenance"))
		return error_set(e, -EBUSY, "%s is %s: wait for its end", server->name,
			server_state_name(server->state));
	struct server *other =
		json_text(body, "mac") ? server_of_mac(service, json_text(body, "mac")) : NULL;
	if (other && other != server)
		return error_set(e, -EEXIST, "mac: is of the server %s", other->name);
	is_in_maintenance = server_is_in_maintenance(server);
	cleanup(json_decref) json_t *object = json_deep_copy(server->object);
	r = json_read_bool(body, "", "maintenance", &is_in_maintenance, e);
	if (r == 0)
		r = read_body(service, server->name, body, object, e);
	if (r < 0)
		return r;
	json_set_bool(object, "maintenance", is_in_maintenance);
	bool was_in_maintenance = server_is_in_maintenance(server);
	json_object_update(server->object, object);
	r = server_save(server, e);
	if (r < 0)
		return r;
	server_event(server, "server-updated");
	if (json_object_get(body, "address") || json_object_get(body, "password") ||
		json_object_get(body, "user") || json_object_get(body, "driver") ||
		json_object_get(body, "config")) {
		server_work_stop(server);
		server_work_start(server);
	} else if (was_in_maintenance && !is_in_maintenance) {
		server_work_resume(server);
	}
	return reply_sync(request, NULL);
}

static int delete_server(struct service *service, struct request *request, struct error *e)
{
	struct server *server = NULL;
	int r = of_request(service, request, &server, e);
	if (r < 0)
		return r;
	bool is_forced = request_query_flag(request, "force") && !server_is_owned(server->state);
	if (!is_forced && !server_may_go(server->state, server_has_failed(server)))
		return error_set(e, -EBUSY, "%s is %s%s", server->name,
			server_state_name(server->state),
			server_is_owned(server->state) ? ": delete its instance first" : "");
	server_event(server, "server-deleted");
	server_work_abandon(server);
	server_work_stop(server);
	r = server_forget(server, e);
	return r < 0 ? r : reply_sync(request, NULL);
}

/* A question to the BMC, and who waits for its answer. */
struct asking {
	struct service *service;
	struct request *request; /* NULL: gone */
};

static void asker_gone(void *data)
{
	struct asking *asking = data;
	asking->request = NULL;
}

static void answered(void *data, int code, json_t *answer, const struct error *e)
{
	struct asking *asking = data;
	if (asking->request && code < 0)
		reply_error(asking->request, code, e);
	else if (asking->request)
		(void)!reply_sync(asking->request, json_incref(answer));
	free(asking);
}

static int ask(struct service *service, struct request *request, json_t *question, struct error *e)
{
	struct server *server = NULL;
	int r = of_request(service, request, &server, e);
	if (r < 0) {
		json_decref(question);
		return r;
	}
	struct asking *asking = alloc(struct asking);
	*asking = (struct asking){ service, request };
	r = server_bmc_ask(server, question, answered, asking, e);
	if (r < 0) {
		free(asking);
		return r;
	}
	request_defer(request, asker_gone, asking);
	return 0;
}

static int get_events(struct service *service, struct request *request, struct error *e)
{
	return ask(service, request, json_pack("{s:s}", "do", "events"), e);
}

static int get_sensors(struct service *service, struct request *request, struct error *e)
{
	return ask(service, request, json_pack("{s:s}", "do", "sensors"), e);
}

static int get_power(struct service *service, struct request *request, struct error *e)
{
	return ask(service, request, json_pack("{s:s}", "do", "state"), e);
}

/* {"action": "inspect" | "clean" | "power", "to": "on|off|soft|cycle|reset", "force": true} */
static int put_state(struct service *service, struct request *request, struct error *e)
{
	const json_t *body = request_json(request);
	const char *action = NULL, *to = NULL;
	struct server *server = NULL;
	bool is_forced = false;
	int r = of_request(service, request, &server, e);
	if (r == 0)
		r = json_require_text(body, "", "action", &action, e);
	if (r == 0)
		r = json_read_text(body, "", "to", &to, e);
	if (r == 0)
		r = json_read_bool(body, "", "force", &is_forced, e);
	if (r < 0)
		return r;
	if (text_equal(action, "inspect"))
		return go_with(service, request, server, SERVER_VERIFY, "Inspecting server", e);
	if (text_equal(action, "clean") && server_is_owned(server->state))
		return error_set(e, -EBUSY, "%s is somebody's: delete the instance", server->name);
	if (text_equal(action, "clean"))
		return go_with(service, request, server, SERVER_RELEASE, "Cleaning server", e);
	if (text_equal(action, "rescue"))
		return go_with(service, request, server, SERVER_TO_RESCUE, "Rescuing server", e);
	if (text_equal(action, "unrescue"))
		return go_with(
			service, request, server, SERVER_FROM_RESCUE, "Ending the rescue", e);
	if (!text_equal(action, "power"))
		return error_set(e, -EINVAL,
			"action: \"%.40s\" is none of inspect, clean, rescue, unrescue, power",
			action);
	if (server->state != SERVER_ENROLLED && !server_is_in_maintenance(server) && !is_forced)
		return error_set(e, -EBUSY,
			"%s is %s: switch its instance, or put the server in maintenance first",
			server->name, server_state_name(server->state));
	return ask(service, request, json_pack("{s:s, s:s}", "do", "power", "to", to ?: ""), e);
}

static int post_console(struct service *service, struct request *request, struct error *e)
{
	struct server *server = NULL;
	struct operation *operation = NULL;
	bool is_forced = false;
	int r = of_request(service, request, &server, e);
	if (r == 0)
		r = json_read_bool(request_json(request), "", "force", &is_forced, e);
	if (r == 0)
		r = server_console_start(server, NULL, NULL, is_forced, &operation, e);
	return r < 0 ? r : reply_operation(request, operation);
}

const struct route servers_routes[] = {
	{ "GET", BASE, REQUEST_NONE, list_servers, ROUTE_NO_PROJECT },
	{ "POST", BASE, REQUEST_JSON, add_server, ROUTE_NO_PROJECT },
	{ "GET", BASE "/{name}", REQUEST_NONE, get_server, ROUTE_NO_PROJECT },
	{ "PATCH", BASE "/{name}", REQUEST_JSON, patch_server, ROUTE_NO_PROJECT },
	{ "DELETE", BASE "/{name}", REQUEST_NONE, delete_server, ROUTE_NO_PROJECT },
	{ "GET", BASE "/{name}/power", REQUEST_NONE, get_power, ROUTE_NO_PROJECT },
	{ "GET", BASE "/{name}/sensors", REQUEST_NONE, get_sensors, ROUTE_NO_PROJECT },
	{ "GET", BASE "/{name}/events", REQUEST_NONE, get_events, ROUTE_NO_PROJECT },
	{ "PUT", BASE "/{name}/state", REQUEST_JSON, put_state, ROUTE_NO_PROJECT },
	{ "POST", BASE "/{name}/console", REQUEST_JSON, post_console, ROUTE_NO_PROJECT },
	{},
};
