/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxies.c - starts and ends proxies.
 */
#include "daemon/network/proxies.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/instance/ask.h"
#include "daemon/network/port_try.h"
#include "model/json.h"

#define PREFIX        "proxy-"
#define REQUEST_BYTES 65536

struct update {
	struct instance *instance;
	json_t *wanted; /* requests that are still to be started */
	size_t at;
	struct error error;
	int code;
	proxies_done *done;
	void *data;
};

/* -- before a start ------------------------------------------------------------------------------- */

static int try_port(const struct proxy_address *address, uint16_t port)
{
	struct address at;
	int r = address_parse(address->host, &at);
	return r < 0 ? r
		     : port_try(&at, port,
			       address->protocol == PROXY_UDP ? SOCK_DGRAM : SOCK_STREAM, false);
}

int proxies_check(const struct spec *spec, struct error *e)
{
	for (size_t i = 0; i < spec->devices.proxy_count; i++) {
		const struct proxy_device *proxy = &spec->devices.proxies[i];
		const struct proxy_address *listen = &proxy->listen;
		if (proxy->is_nat || proxy->listens_inside || listen->protocol == PROXY_UNIX)
			continue;
		for (size_t k = 0; k < listen->port_count; k++) {
			int r = try_port(listen, listen->ports[k]);
			if (r < 0)
				return error_code(e, r, "devices.%s.listen: port %u of %s",
					proxy->device, listen->ports[k], listen->host);
		}
	}
	return 0;
}

/* -- those that are there ------------------------------------------------------------------------- */

/* The process that has the lock; 0 if there is none. */
static pid_t holder(int file)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	if (fcntl(file, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
		return 0;
	return lock.l_pid;
}

static void end_holder(int file)
{
	pid_t pid = holder(file);
	cleanup(close) int pidfd = pid > 0 ? process_open(pid) : -1;
	/* Still the same one, and no other that has got its number. */
	if (pidfd >= 0 && holder(file) == pid)
		(void)!process_signal(pidfd, SIGKILL);
}

/* A socket in the host's file system stays when its process ends. */
static void remove_socket(const json_t *request)
{
	struct proxy_address listen;
	const char *text = json_text(request, "listen");
	struct stat stat;
	if (text && !json_is_true(json_object_get(request, "inside")) &&
		proxy_address_parse(text, &listen, NULL) == 0 && listen.path[0] == '/' &&
		lstat(listen.path, &stat) == 0 && S_ISSOCK(stat.st_mode))
		(void)unlink(listen.path);
}

static void end_one(int dir, const char *name)
{
	cleanup(close) int file = openat(dir, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (file < 0)
		return;
	cleanup(free) char *text = NULL;
	cleanup(json_decref) json_t *request = NULL;
	end_holder(file);
	if (file_read(dir, name, REQUEST_BYTES, &text, NULL, NULL) == 0 &&
		json_parse(text, strlen(text), &request, NULL) == 0)
		remove_socket(request);
	(void)unlinkat(dir, name, 0);
}

/* True if it lives and does what the request says. */
static bool is_kept(int dir, const char *name, const json_t *request)
{
	cleanup(close) int file = openat(dir, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	cleanup(free) char *text = NULL;
	cleanup(free) char *wanted = json_dumps(request, JSON_COMPACT | JSON_SORT_KEYS);
	if (file < 0 || !holder(file) || file_read(dir, name, REQUEST_BYTES, &text, NULL, NULL) < 0)
		return false;
	return text_equal(text, wanted);
}

/* Ends all that `wanted` (NULL: none) does not name, and takes those out of it that may stay. */
static void end_others(int dir, json_t *wanted)
{
	int again = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *entries = again < 0 ? NULL : fdopendir(again);
	if (!entries) {
		if (again >= 0)
			close(again);
		return;
	}
	for (struct dirent *entry; (entry = readdir(entries));) {
		if (!text_starts(entry->d_name, PREFIX))
			continue;
		const json_t *request = json_object_get(wanted, entry->d_name);
		if (request && is_kept(dir, entry->d_name, request))
			json_object_del(wanted, entry->d_name);
		else
			end_one(dir, entry->d_name);
	}
	closedir(entries);
}

void proxies_end(int dir)
{
	end_others(dir, NULL);
}

/* -- those that are wanted ------------------------------------------------------------------------ */

static char *address_text(const struct proxy_address *address)
{
	static const char *const protocols[] = { "tcp", "udp", "unix" };
	if (address->protocol == PROXY_UNIX)
		return alloc_printf("unix:%s", address->path);
	cleanup(text_done) struct text text = {};
	text_printf(&text, address->is_ipv6 ? "%s:[%s]:" : "%s:%s:", protocols[address->protocol],
		address->host);
	for (size_t i = 0; i < address->port_count; i++)
		text_printf(&text, "%s%u", i ? "," : "", address->ports[i]);
	return text_take(&text);
}

static json_t *request_of(const struct proxy_device *proxy)
{
	cleanup(free) char *listen = address_text(&proxy->listen);
	cleanup(free) char *connect = address_text(&proxy->connect);
	return json_pack("{s:s+, s:s, s:s, s:b, s:b, s:I, s:I, s:I, s:I, s:I}", "file", PREFIX,
		proxy->device, "listen", listen, "connect", connect, "inside",
		proxy->listens_inside, "header", proxy->has_header, "mode", (json_int_t)proxy->mode,
		"uid", (json_int_t)proxy->uid, "gid", (json_int_t)proxy->gid, "run_as_uid",
		(json_int_t)proxy->run_as_uid, "run_as_gid", (json_int_t)proxy->run_as_gid);
}

static void next(struct update *update);

static void started(void *data, int code, const struct error *e)
{
	struct update *update = data;
	if (code < 0 && update->code == 0) {
		update->code = code;
		update->error = *e;
	}
	next(update);
}

static void next(struct update *update)
{
	struct error e = {};
	void *at = json_object_iter(update->wanted);
	if (!at || !update->instance->live) {
		proxies_done *done = update->done;
		void *data = update->data;
		int code = update->code;
		struct error error = update->error;
		json_decref(update->wanted);
		free(update);
		done(data, code, &error);
		return;
	}
	cleanup(json_decref) json_t *request = json_incref(json_object_iter_value(at));
	cleanup(free) char *name = alloc_text(json_object_iter_key(at) + strlen(PREFIX));
	json_object_del(update->wanted, json_text(request, "file"));
	int r = ask_helper(update->instance,
		&(struct helper_options){ .name = "proxy", .request = request }, started, update,
		&e);
	if (r < 0)
		started(update, error_prefix(&e, r, "devices.%s", name), &e);
}

void proxies_update(struct live *live, const struct spec *wanted, proxies_done *done, void *data)
{
	cleanup(close) int dir = -1;
	struct error e = {};
	int r = instance_open_dir(live->instance, &dir, &e);
	if (r < 0) {
		done(data, r, &e);
		return;
	}
	struct update *update = alloc(struct update);
	*update = (struct update){
		.instance = live->instance, .wanted = json_object(), .done = done, .data = data
	};
	for (size_t i = 0; i < wanted->devices.proxy_count; i++) {
		if (wanted->devices.proxies[i].is_nat)
			continue;
		json_t *request = request_of(&wanted->devices.proxies[i]);
		json_object_set_new(update->wanted, json_text(request, "file"), request);
	}
	end_others(dir, update->wanted);
	next(update);
}
