/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.c - /, /1.0: what this server is, and its configuration.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/file.h"
#include "daemon/api.h"
#include "daemon/api/collections.h"
#include "daemon/config.h"
#include "daemon/events.h"
#include "daemon/extensions.h"
#include "daemon/remote.h"
#include "model/json.h"

static int get_root(struct service *service, struct request *request, struct error *e)
{
	(void)service, (void)e;
	return reply_sync(request, json_pack("[s]", "/1.0"));
}

/* NAME="Debian GNU/Linux" of /etc/os-release. The caller owns the result. */
static char *os_release(const char *field)
{
	cleanup(free) char *text = NULL;
	if (file_read(AT_FDCWD, "/etc/os-release", 65536, &text, NULL, NULL) < 0)
		return alloc_text("");
	size_t length = strlen(field);
	char *rest = text, *line;
	while ((line = strsep(&rest, "\n"))) {
		if (strncmp(line, field, length) != 0 || line[length] != '=')
			continue;
		char *value = line + length + 1;
		value += *value == '"';
		value[strcspn(value, "\"")] = '\0';
		return alloc_text(value);
	}
	return alloc_text("");
}

static json_t *kernel_features(void)
{
	/* What berth asks of any kernel that it starts on. */
	return json_pack("{s:s,s:s,s:s,s:s,s:s}", "idmapped_mounts", "true", "netnsid_getifaddrs",
		"true", "seccomp_listener", "true", "uevent_injection", "false", "unpriv_fscaps",
		"true");
}

static json_t *environment(struct service *service, const char *project)
{
	struct utsname uts;
	uname(&uts);
	cleanup(free) char *os_name = os_release("NAME");
	cleanup(free) char *os_version = os_release("VERSION_ID");
	const struct certificate *own = remote_known_certificate(service);
	return json_pack("{s:o,s:[s,s],s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:o,s:s,s:s,s:s,s:s,s:s,s:b,s:s,"
			 "s:s,s:i,s:s,s:s,s:s,s:[]}",
		"addresses", remote_addresses(service), "architectures", "x86_64", "i686",
		"certificate", own ? own->pem : "", "certificate_fingerprint",
		own ? own->fingerprint : "", "driver", "berth", "driver_version", BERTH_VERSION,
		"firewall", "nftables", "kernel", uts.sysname, "kernel_architecture", uts.machine,
		"kernel_features", kernel_features(), "kernel_version", uts.release, "os_name",
		os_name, "os_version", os_version, "project", project, "server", "berth",
		"server_clustered", 0, "server_event_mode", "full-mesh", "server_name",
		uts.nodename, "server_pid", (int)getpid(), "server_version", BERTH_VERSION,
		"storage", "", "storage_version", "", "storage_supported_drivers", "berth_id",
		service->id);
}

/* What a client may PUT: the ETag is over it. */
static json_t *seen_by_client(const struct service *service)
{
	return json_pack("{s:O}", "config", json_mutable(config_all(service)));
}

static json_t *shown_to_all(const char *auth)
{
	return json_pack("{s:o,s:s,s:s,s:s,s:b,s:[s]}", "api_extensions", extensions_json(),
		"api_status", "stable", "api_version", "1.0", "auth", auth, "public", 0,
		"auth_methods", "tls");
}

static int get_server(struct service *service, struct request *request, struct error *e)
{
	(void)e;
	const struct client *client = &request->client;
	if (client->access == ACCESS_NONE || client->access == ACCESS_METRICS)
		return reply_object(request, shown_to_all("untrusted"));
	json_t *server = shown_to_all("trusted");
	json_set_text(server, "auth_user_name", client->fingerprint ? client->fingerprint : "root");
	json_set_text(server, "auth_user_method", client->fingerprint ? "tls" : "unix");
	json_object_set_new(server, "environment", environment(service, request_project(request)));
	if (client->access == ACCESS_RESTRICTED) {
		json_object_set_new(server, "config", json_object());
		return reply_object(request, server);
	}
	cleanup(json_decref) json_t *seen = seen_by_client(service);
	json_object_set(server, "config", json_mutable(config_all(service)));
	return reply_object_seen(request, server, seen);
}

static int change_server(
	struct service *service, struct request *request, bool is_patch, struct error *e)
{
	cleanup(json_decref) json_t *seen = seen_by_client(service);
	int r = request_if_match(request, seen, e);
	if (r < 0)
		return r;
	json_t *config = NULL;
	r = json_read_text_map(request_json(request), "", "config", &config, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *wanted = config ? json_copy(config) : json_object();
	if (is_patch)
		json_object_update_missing(wanted, json_mutable(config_all(service)));
	r = config_set(service, wanted, e);
	if (r < 0)
		return r;
	events_lifecycle(service, "config-updated", NULL, "/1.0", NULL);
	return reply_sync(request, NULL);
}

static int put_server(struct service *service, struct request *request, struct error *e)
{
	return change_server(service, request, false, e);
}

static int patch_server(struct service *service, struct request *request, struct error *e)
{
	return change_server(service, request, true, e);
}

const struct route server_routes[] = {
	{ "GET", "/", REQUEST_NONE, get_root, ROUTE_NO_PROJECT },
	{ "GET", "/1.0", REQUEST_NONE, get_server, ROUTE_NO_PROJECT },
	{ "PUT", "/1.0", REQUEST_JSON, put_server, ROUTE_NO_PROJECT },
	{ "PATCH", "/1.0", REQUEST_JSON, patch_server, ROUTE_NO_PROJECT },
	{},
};
