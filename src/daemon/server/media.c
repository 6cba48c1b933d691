/* SPDX-License-Identifier: Apache-2.0 */
/*
 * media.c - a job writes the disc, the BMC is told where it is.
 */
#include "daemon/server/media.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/config.h"
#include "daemon/job.h"
#include "daemon/server/bmc.h"
#include "daemon/server/netboot.h"
#include "daemon/server/note.h"
#include "model/json.h"

/* While its disc is made a server may be gone, or be started anew. */
struct inserting {
	struct service *service;
	char *name, *token;
	void (*then)(struct server *server);
};

bool server_uses_media(const struct server *server)
{
	const char *from = json_text(json_object_get(server->object, "config"), "boot.from");
	if (from)
		return text_equal(from, "media");
	return !server->service->netboot->has_dhcp &&
		text_equal(server_text(server, "driver"), "redfish");
}

int server_media_check(const struct service *service, const json_t *object, struct error *e)
{
	const char *from = json_text(json_object_get(object, "config"), "boot.from");
	const char *driver = json_text(object, "driver");
	if (!from && driver && !text_equal(driver, "redfish") && service->netboot->is_on &&
		!service->netboot->has_dhcp)
		return error_set(e, -EINVAL,
			"driver: only over Redfish there is virtual media, and no DHCP here (berth.metal.dhcp): "
			"the server would start from nowhere");
	if (!from || text_equal(from, "network"))
		return 0;
	if (!text_equal(from, "media"))
		return error_set(e, -EINVAL, "config.boot.from: network or media is wanted");
	if (!text_equal(json_text(object, "driver"), "redfish"))
		return error_set(
			e, -EINVAL, "config.boot.from: only over Redfish there is virtual media");
	return 0;
}

static char *path_of(const char *name)
{
	return alloc_printf("metal/media/%s.iso", name);
}

static const char *token_of(const struct server *server)
{
	return json_text(json_object_get(server->object, "boot"), "token");
}

static void inserting_free(struct inserting *inserting)
{
	free(inserting->name);
	free(inserting->token);
	free(inserting);
}

/* NULL: it is not the same start any more. */
static struct server *server_of(const struct inserting *inserting)
{
	struct server *server = server_find(inserting->service, inserting->name);
	return server && server->work && text_equal(token_of(server), inserting->token) ? server
											: NULL;
}

static void is_inserted(void *data, int code, json_t *answer, const struct error *e)
{
	struct inserting *inserting = data;
	struct server *server = server_of(inserting);
	void (*then)(struct server *) = inserting->then;
	(void)answer;
	inserting_free(inserting);
	if (!server)
		return;
	if (code < 0)
		server_fail(server, code, "%s", e->text);
	else
		then(server);
}

static void disc_made(void *data, int code, json_t *result, const struct error *e)
{
	struct inserting *inserting = data;
	struct server *server = server_of(inserting);
	struct error error = {};
	(void)result;
	if (!server) {
		inserting_free(inserting);
		return;
	}
	if (code == 0) {
		cleanup(free) char *url = netboot_url(inserting->service);
		json_t *request = json_pack("{s:s, s:o}", "do", "media", "url",
			json_sprintf("%s/media/%s/boot.iso", url, inserting->token));
		code = server_bmc_ask(server, request, is_inserted, inserting, &error);
		e = &error;
	}
	if (code < 0) {
		inserting_free(inserting);
		server_fail(server, code, "%s", e->text);
	}
}

static int open_all(const struct server *server, int fds[3], struct error *e)
{
	const struct netboot *netboot = server->service->netboot;
	cleanup(free) char *path = path_of(server->name);
	int r = file_make_dirs(server->service->dir, "metal/media", 0700);
	if (r < 0)
		return error_code(e, r, "make metal/media");
	/* A BMC may still read the one before. */
	(void)!unlinkat(server->service->dir, path, 0);
	fds[0] = openat(server->service->dir, path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fds[0] < 0)
		return error_errno(e, "make the server's disc");
	fds[1] = open(netboot->kernel, O_RDONLY | O_CLOEXEC);
	if (fds[1] < 0)
		return error_errno(e, "open %s", netboot->kernel);
	fds[2] = netboot->initial;
	return 0;
}

static int make_disc(struct server *server, struct inserting *inserting, struct error *e)
{
	cleanup(free) char *arguments = netboot_arguments(server->service, inserting->token,
		server_text(server, "mac") ?: "", server_text(server, "host") ?: "");
	int fds[3] = { -1, -1, -1 };
	int r = netboot_check(server->service, e);
	if (r == 0)
		r = open_all(server, fds, e);
	if (r == 0)
		r = job_start(server->service,
			&(struct job_options){ .task = json_pack("{s:s, s:s}", "task", "media",
						       "arguments", arguments),
				.fds = { fds[0], fds[1], fds[2] },
				.fd_count = 3,
				.done = disc_made,
				.data = inserting },
			NULL, e);
	for (size_t i = 0; i < 2; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return r;
}

void server_media_insert(struct server *server, void (*then)(struct server *server))
{
	struct inserting *inserting = alloc(struct inserting);
	struct error e = {};
	*inserting = (struct inserting){ server->service, alloc_text(server->name),
		alloc_text(token_of(server)), then };
	int r = make_disc(server, inserting, &e);
	if (r < 0) {
		inserting_free(inserting);
		server_fail(server, r, "%s", e.text);
	}
}

static void is_out(void *data, int code, json_t *answer, const struct error *e)
{
	const struct server *server = data;
	(void)answer;
	if (code < 0)
		log_warning("its disc is not out server=%s: %s", server->name, e->text);
}

void server_media_eject(struct server *server)
{
	struct error e = {};
	if (!server_uses_media(server))
		return;
	server_media_forget(server);
	if (server_bmc_ask(server, json_pack("{s:s}", "do", "media"), is_out, server, &e) < 0)
		log_warning("its disc is not out server=%s: %s", server->name, e.text);
}

void server_media_forget(const struct server *server)
{
	cleanup(free) char *path = path_of(server->name);
	(void)!unlinkat(server->service->dir, path, 0);
}

int server_media_range(const char *text, uint64_t size, uint64_t *ret_at, uint64_t *ret_length)
{
	uint64_t first = 0, last = size ? size - 1 : 0;
	if (!text_starts(text, "bytes="))
		return -EINVAL;
	cleanup(free) char *copy = alloc_text(text + 6);
	char *dash = strchr(copy, '-');
	if (!dash)
		return -EINVAL;
	*dash = '\0';
	if (copy[0] == '\0') {
		uint64_t count;
		if (text_to_u64(dash + 1, &count) < 0)
			return -EINVAL;
		if (count == 0)
			return -ERANGE;
		first = count < size ? size - count : 0;
	} else if (text_to_u64(copy, &first) < 0 || (dash[1] && text_to_u64(dash + 1, &last) < 0) ||
		last < first) {
		/* "9-" of five bytes is a range, of which nothing is there. */
		return dash[1] || text_to_u64(copy, &first) < 0 ? -EINVAL : -ERANGE;
	}
	if (first >= size)
		return -ERANGE;
	*ret_at = first;
	*ret_length = (last < size ? last + 1 : size) - first;
	return 0;
}

static void reply_part(struct http_request *request, int fd, uint64_t size)
{
	const char *wanted = http_request_header(request, "Range");
	uint64_t at = 0, length = size;
	int r = wanted ? server_media_range(wanted, size, &at, &length) : -EINVAL;
	cleanup(free) char *range = r == -ERANGE
		? alloc_printf("bytes */%llu", (unsigned long long)size)
		: alloc_printf("bytes %llu-%llu/%llu", (unsigned long long)at,
			  (unsigned long long)(at + length - 1), (unsigned long long)size);
	http_reply_header(request, "Accept-Ranges", "bytes");
	if (r != -EINVAL)
		http_reply_header(request, "Content-Range", range);
	if (r == -ERANGE) {
		close(fd);
		http_reply_text(request, 416, "text/plain", alloc_text(""), 0);
		return;
	}
	http_reply_file(request, r == 0 ? 206 : 200, "application/octet-stream", fd, at, length);
}

void server_media_serve(struct server *server, struct http_request *request)
{
	cleanup(free) char *path = path_of(server->name);
	struct stat status;
	cleanup(close) int fd =
		openat(server->service->dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &status) < 0) {
		static const char none[] = "there is no disc\n";
		http_reply_text(request, 404, "text/plain", alloc_text(none), sizeof(none) - 1);
		return;
	}
	server_stage(server, "media");
	reply_part(request, TAKE_FD(fd), (uint64_t)status.st_size);
}
