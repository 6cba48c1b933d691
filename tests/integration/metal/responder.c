/* SPDX-License-Identifier: Apache-2.0 */
/*
 * responder.c - a small Redfish service for tests, which can be told to misbehave.
 *
 * usage: redfish-responder PORT [CHASSIS [FAULT...]]
 *   CHASSIS  a program that is the server: `CHASSIS set power 1`, `... reset 1`, `... boot pxe`; "-": none
 *   FAULT    slow     each answer takes a second          stuck   nothing is answered
 *            lies     power changes are taken, not made   forgets boot flags are taken, not kept
 *            drops    each session is good for two requests
 *            dies     ends with the third change          torn    answers are half of themselves
 *            late     power follows after two seconds     basic   there are no sessions
 *            strays   links lead to another host         discless discs are taken, not kept
 *            driveless there is no virtual media
 *            idrac   what the next start boots stands at /Settings, and is changed there only
 *            lenovo  whatever If-Match says, it does not match
 *            supermicro a mode must be said with each boot device, a disc's name stays after it was taken out
 */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/loop.h"
#include "base/text.h"
#include "http/server.h"
#include "model/json.h"

#define SYSTEM "/redfish/v1/Systems/1"

struct responder {
	struct loop *loop;
	const char *chassis;
	char **faults;
	bool is_on, will_be_on;
	json_t *boot;
	char token[33];
	int uses, changes;
	struct source *late;
	char media[256];
};

struct waiting {
	struct responder *responder;
	struct http_request *request;
	struct source *timer;
};

static bool has(const struct responder *responder, const char *fault)
{
	for (char **at = responder->faults; *at; at++)
		if (text_equal(*at, fault))
			return true;
	return false;
}

static void run(const struct responder *responder, const char *what, const char *value)
{
	int status;
	if (!responder->chassis)
		return;
	pid_t pid = fork();
	if (pid == 0) {
		execl(responder->chassis, responder->chassis, "set", what, value, (char *)NULL);
		_exit(127);
	}
	waitpid(pid, &status, 0);
}

static void answer(const struct responder *responder, struct http_request *request,
	unsigned int status, json_t *json)
{
	char *text = json ? json_dumps(json, JSON_COMPACT) : alloc_text("");
	size_t length = strlen(text);
	json_decref(json);
	http_reply_header(request, "ETag", "\"1\"");
	http_reply_text(request, status, "application/json", text,
		has(responder, "torn") ? length / 2 : length);
}

static void fail(const struct responder *responder, struct http_request *request,
	unsigned int status, const char *why)
{
	answer(responder, request, status,
		json_pack("{s:{s:s, s:s}}", "error", "code", "Base.1.0.GeneralError", "message",
			why));
}

static void follow(void *data)
{
	struct responder *responder = data;
	responder->is_on = responder->will_be_on;
	run(responder, "power", responder->is_on ? "1" : "0");
}

static void set_power(struct responder *responder, bool is_on)
{
	responder->will_be_on = is_on;
	if (has(responder, "late"))
		timer_set_after(responder->late, 2 * NS_PER_SEC);
	else if (!has(responder, "lies"))
		follow(responder);
}

static json_t *link_to(const struct responder *responder, const char *path)
{
	return json_pack("{s:o}", "@odata.id",
		has(responder, "strays") ? json_sprintf("http://192.0.2.1%s", path)
					 : json_string(path));
}

static json_t *system_json(const struct responder *responder)
{
	bool is_idrac = has(responder, "idrac");
	json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:O, s:{s:[o], s:[o]},"
				 "s:{s:{s:s, s:[s,s,s,s,s]}}}",
		"@odata.id", SYSTEM, "Manufacturer",
		has(responder, "supermicro")       ? "Supermicro"
			: is_idrac                 ? "Dell Inc."
			: has(responder, "lenovo") ? "Lenovo"
						   : "Berth",
		"Model", "Responder", "SerialNumber", "R0001", "UUID",
		"00000000-0000-4000-8000-000000000001", "BiosVersion", "1.0", "PowerState",
		responder->is_on ? "On" : "Off", "Boot", responder->boot, "Links", "Chassis",
		link_to(responder, "/redfish/v1/Chassis/1"), "ManagedBy",
		link_to(responder, "/redfish/v1/Managers/1"), "Actions", "#ComputerSystem.Reset",
		"target", SYSTEM "/Actions/ComputerSystem.Reset",
		"ResetType@Redfish.AllowableValues", "On", "ForceOff", "GracefulShutdown",
		"ForceRestart", "PushPowerButton");
	if (!is_idrac)
		return json;
	json_object_set_new(json, "Boot", json_pack("{s:[s]}", "BootOrder", "Boot0000"));
	json_object_set_new(json, "@Redfish.Settings",
		json_pack("{s:{s:s}}", "SettingsObject", "@odata.id", SYSTEM "/Settings"));
	return json;
}

static json_t *get_json(const struct responder *responder, const char *path)
{
	if (text_equal(path, "/redfish/v1/"))
		return json_pack("{s:s, s:o, s:o*}", "RedfishVersion", "1.15.0", "Systems",
			link_to(responder, "/redfish/v1/Systems"), "SessionService",
			has(responder, "basic") ? NULL
						: link_to(responder, "/redfish/v1/SessionService"));
	if (text_equal(path, "/redfish/v1/Systems"))
		return json_pack("{s:[o]}", "Members", link_to(responder, SYSTEM));
	if (text_equal(path, SYSTEM))
		return system_json(responder);
	if (text_equal(path, SYSTEM "/Settings") && has(responder, "idrac"))
		return json_pack(
			"{s:s, s:O}", "@odata.id", SYSTEM "/Settings", "Boot", responder->boot);
	if (text_equal(path, "/redfish/v1/Managers/1"))
		return json_pack("{s:s, s:o*, s:o}", "FirmwareVersion", "7.1", "VirtualMedia",
			has(responder, "driveless")
				? NULL
				: link_to(responder, "/redfish/v1/Managers/1/VirtualMedia"),
			"LogServices", link_to(responder, "/redfish/v1/Managers/1/LogServices"));
	if (text_equal(path, "/redfish/v1/Managers/1/VirtualMedia"))
		return json_pack("{s:[o]}", "Members",
			link_to(responder, "/redfish/v1/Managers/1/VirtualMedia/Cd"));
	if (text_equal(path, "/redfish/v1/Managers/1/VirtualMedia/Cd"))
		return json_pack("{s:[s], s:s, s:o*, s:{s:{s:s}, s:{s:s}}}", "MediaTypes", "CD",
			"Image", responder->media, "Inserted",
			has(responder, "supermicro") ? NULL
						     : json_boolean(responder->media[0] != '\0'),
			"Actions", "#VirtualMedia.InsertMedia", "target",
			"/redfish/v1/Managers/1/VirtualMedia/Cd/Insert", "#VirtualMedia.EjectMedia",
			"target", "/redfish/v1/Managers/1/VirtualMedia/Cd/Eject");
	if (text_equal(path, "/redfish/v1/Managers/1/LogServices"))
		return json_pack("{s:[o]}", "Members",
			link_to(responder, "/redfish/v1/Managers/1/LogServices/Sel"));
	if (text_equal(path, "/redfish/v1/Managers/1/LogServices/Sel"))
		return json_pack("{s:o}", "Entries",
			link_to(responder, "/redfish/v1/Managers/1/LogServices/Sel/Entries"));
	if (text_equal(path, "/redfish/v1/Managers/1/LogServices/Sel/Entries"))
		return json_pack("{s:[{s:s, s:s, s:s}]}", "Members", "Id", "1", "Created",
			"2026-01-01T00:00:00Z", "Message", "a fan was slow");
	if (text_equal(path, "/redfish/v1/Chassis/1"))
		return json_pack("{s:o, s:o}", "Thermal",
			link_to(responder, "/redfish/v1/Chassis/1/Thermal"), "Power",
			link_to(responder, "/redfish/v1/Chassis/1/Power"));
	if (text_equal(path, "/redfish/v1/Chassis/1/Thermal"))
		return json_pack("{s:[{s:s, s:f, s:{s:s}}], s:[{s:s, s:i, s:s}]}", "Temperatures",
			"Name", "CPU", "ReadingCelsius", 41.5, "Status", "Health", "OK", "Fans",
			"Name", "Fan 1", "Reading", 5200, "ReadingUnits", "RPM");
	if (text_equal(path, "/redfish/v1/Chassis/1/Power"))
		return json_pack("{s:[{s:i}]}", "PowerControl", "PowerConsumedWatts",
			responder->is_on ? 120 : 4);
	return NULL;
}

static void patch(struct responder *responder, struct http_request *request)
{
	size_t length;
	const char *body = http_request_body(request, &length);
	cleanup(json_decref) json_t *json = json_loadb(body, length, 0, NULL);
	json_t *boot = json_object_get(json, "Boot");
	if (!boot) {
		fail(responder, request, 400, "only Boot is changed");
		return;
	}
	if (has(responder, "supermicro") && !json_text(boot, "BootSourceOverrideMode")) {
		fail(responder, request, 400, "BootSourceOverrideMode is missing");
		return;
	}
	if (!has(responder, "forgets")) {
		json_object_update(responder->boot, boot);
		const char *target = json_text(responder->boot, "BootSourceOverrideTarget");
		run(responder, "boot",
			text_equal(target, "Pxe")          ? "pxe"
				: text_equal(target, "Cd") ? "cdrom"
							   : "default");
	}
	answer(responder, request, 200, system_json(responder));
}

static void reset(struct responder *responder, struct http_request *request)
{
	size_t length;
	const char *body = http_request_body(request, &length);
	cleanup(json_decref) json_t *json = json_loadb(body, length, 0, NULL);
	const char *type = json_text(json, "ResetType");
	if (text_equal(type, "On"))
		set_power(responder, true);
	else if (text_equal(type, "ForceOff"))
		set_power(responder, false);
	else if (text_equal(type, "GracefulShutdown") && responder->chassis)
		run(responder, "shutdown", "1");
	else if (text_equal(type, "GracefulShutdown"))
		set_power(responder, false);
	else if (text_equal(type, "ForceRestart"))
		run(responder, "reset", "1");
	else {
		fail(responder, request, 400, "no such reset");
		return;
	}
	answer(responder, request, 204, NULL);
}

static bool is_known(struct responder *responder, struct http_request *request)
{
	const char *token = http_request_header(request, "X-Auth-Token");
	if (has(responder, "basic"))
		return http_request_header(request, "Authorization");
	if (!token || !responder->token[0] || !text_equal(token, responder->token))
		return false;
	if (has(responder, "drops") && ++responder->uses > 2)
		responder->token[0] = '\0';
	return true;
}

static void log_in(struct responder *responder, struct http_request *request)
{
	size_t length;
	const char *body = http_request_body(request, &length);
	cleanup(json_decref) json_t *json = json_loadb(body, length, 0, NULL);
	if (has(responder, "basic")) {
		/* As some do, though there is nothing to be authorised for. */
		fail(responder, request, 401, "no sessions here");
		return;
	}
	if (!text_equal(json_text(json, "UserName"), "admin") ||
		!text_equal(json_text(json, "Password"), "secret")) {
		fail(responder, request, 401, "wrong user or password");
		return;
	}
	cleanup(free) char *token = text_random_hex(16);
	memcpy(responder->token, token, sizeof(responder->token));
	responder->uses = 0;
	http_reply_header(request, "X-Auth-Token", token);
	answer(responder, request, 201, json_object());
}

static void change(struct responder *responder, struct http_request *request, const char *path)
{
	if (has(responder, "dies") && ++responder->changes == 3) {
		loop_stop(responder->loop, 0);
		return;
	}
	const char *match = http_request_header(request, "If-Match");
	if (has(responder, "lenovo") && match) {
		fail(responder, request, 412, "it is another one by now");
	} else if (text_equal(path, has(responder, "idrac") ? SYSTEM "/Settings" : SYSTEM)) {
		patch(responder, request);
	} else if (text_equal(path, SYSTEM "/Actions/ComputerSystem.Reset")) {
		reset(responder, request);
	} else if (text_ends(path, "/Cd/Insert") || text_ends(path, "/Cd/Eject")) {
		size_t length;
		const char *body = http_request_body(request, &length);
		cleanup(json_decref) json_t *json = json_loadb(body, length, 0, NULL);
		/* Some name what was in the drive. */
		if (!has(responder, "supermicro") || text_ends(path, "/Cd/Insert"))
			snprintf(responder->media, sizeof(responder->media), "%s",
			has(responder, "discless") ? "" : json_text(json, "Image") ?: "");
		answer(responder, request, 204, NULL);
	} else {
		fail(responder, request, 404, "there is nothing to change");
	}
}

static void serve(struct responder *responder, struct http_request *request)
{
	const char *method = http_request_method(request), *path = http_request_path(request);
	if (text_equal(method, "POST") && text_ends(path, "/SessionService/Sessions")) {
		log_in(responder, request);
		return;
	}
	if (!text_equal(path, "/redfish/v1/") && !is_known(responder, request)) {
		fail(responder, request, 401, "log in first");
		return;
	}
	if (!text_equal(method, "GET")) {
		change(responder, request, path);
		return;
	}
	json_t *json = get_json(responder, path);
	if (json)
		answer(responder, request, 200, json);
	else
		fail(responder, request, 404, "there is no such resource");
}

static void head(void *data, struct http_request *request)
{
	(void)data;
	http_request_want(request, HTTP_BODY_MEMORY, 65536);
}

static void waited(void *data)
{
	struct waiting *waiting = data;
	if (waiting->request)
		serve(waiting->responder, waiting->request);
}

static void ready(void *data, struct http_request *request)
{
	struct responder *responder = data;
	if (has(responder, "stuck"))
		return;
	if (!has(responder, "slow")) {
		serve(responder, request);
		return;
	}
	struct waiting *waiting = alloc(struct waiting);
	*waiting = (struct waiting){ responder, request,
		loop_add_timer(responder->loop, waited, waiting) };
	http_request_set_user(request, waiting);
	timer_set_after(waiting->timer, NS_PER_SEC);
}

static void done(void *data, struct http_request *request)
{
	struct waiting *waiting = http_request_user(request);
	(void)data;
	if (waiting)
		source_free(waiting->timer);
	free(waiting);
}

int main(int argc, char **argv)
{
	uint64_t port;
	struct error e = {};
	if (argc < 2 || text_to_u64(argv[1], &port) < 0 || port > UINT16_MAX) {
		fprintf(stderr, "usage: redfish-responder PORT [CHASSIS [FAULT...]]\n");
		return 2;
	}
	struct responder responder = {
		.chassis = argc > 2 && !text_equal(argv[2], "-") ? argv[2] : NULL,
		.faults = argc > 3 ? argv + 3 : argv + argc,
		.boot = json_pack("{s:s, s:s, s:s}", "BootSourceOverrideTarget", "None",
			"BootSourceOverrideEnabled", "Disabled", "BootSourceOverrideMode",
			"Legacy"),
	};
	signal(SIGPIPE, SIG_IGN);
	cleanup(close) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int yes = 1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1024) < 0) {
		perror("redfish-responder");
		return 1;
	}
	struct http_options options = { .listen_fd = TAKE_FD(fd),
		.tmp_dir = -1,
		.connection_limit = 4096,
		.head_timeout_ns = 60 * NS_PER_SEC,
		.idle_timeout_ns = 60 * NS_PER_SEC };
	static const struct http_calls calls = { head, ready, done };
	struct http_server *server = NULL;
	int r = loop_new(&responder.loop, &e);
	if (r == 0)
		r = http_server_new(responder.loop, &options, &calls, &responder, &server, &e);
	if (r < 0) {
		fprintf(stderr, "redfish-responder: %s\n", e.text);
		return 1;
	}
	responder.late = loop_add_timer(responder.loop, follow, &responder);
	return loop_run(responder.loop) < 0;
}
