/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_files.c - /1.0/instances/{name}/files and /sftp.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "daemon/api.h"
#include "daemon/collections.h"
#include "daemon/entry.h"
#include "model/json.h"

#define TARGET_MAX 4096 /* bytes of a link's target */

/* A request that waits for the helper. */
struct asked {
	struct request *request;
	struct entry *entry;
};

static void client_gone(void *data)
{
	struct asked *asked = data;
	entry_forget(asked->entry);
	free(asked);
}

static int request_file_path(struct service *service, struct request *request,
	struct instance **ret, const char **ret_path, struct error *e)
{
	const char *path = request_query(request, "path");
	int r = instance_get(
		service, request_project(request), request_param(request, "name"), ret, e);
	if (r < 0)
		return r;
	if (!path || path[0] != '/')
		return error_set(e, -EINVAL, "path: must be an absolute path");
	if (!((*ret)->kind->can & KIND_CAN_FILES))
		return error_set(
			e, -EOPNOTSUPP, "The files of a %s can't be reached", (*ret)->kind->name);
	*ret_path = path;
	return 0;
}

static int ask(struct instance *instance, struct request *request, json_t *question, int content,
	entry_done *done, struct error *e)
{
	struct asked *asked = alloc(struct asked);
	asked->request = request;
	int r = entry_ask(instance, question, content, done, asked, &asked->entry, e);
	if (r < 0) {
		free(asked);
		return r;
	}
	request_defer(request, client_gone, asked);
	return 0;
}

static uint64_t number(const json_t *answer, const char *name)
{
	json_int_t value = json_integer_value(json_object_get(answer, name));
	return value > 0 ? (uint64_t)value : 0;
}

static void headers_add(struct request *request, const json_t *answer)
{
	char text[64];
	struct tm when;
	time_t seconds = (time_t)(number(answer, "modified_ns") / NS_PER_SEC);
	reply_x_header(request, "type", json_text(answer, "type") ?: "file");
	snprintf(text, sizeof(text), "%04o", (unsigned int)number(answer, "mode") & 07777);
	reply_x_header(request, "mode", text);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)number(answer, "uid"));
	reply_x_header(request, "uid", text);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)number(answer, "gid"));
	reply_x_header(request, "gid", text);
	gmtime_r(&seconds, &when);
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S +0000 UTC", &when);
	reply_x_header(request, "modified", text);
}

static int reply_entry(struct request *request, const json_t *answer, int content)
{
	const char *type = json_text(answer, "type");
	headers_add(request, answer);
	if (text_equal(type, "file"))
		return reply_stream(request, content, "application/octet-stream");
	close(content);
	if (text_equal(type, "directory"))
		return reply_sync(request, json_deep_copy(json_object_get(answer, "entries")));
	const char *target = json_text(answer, "target") ?: "";
	return reply_plain(request, alloc_text(target), strlen(target), "application/octet-stream");
}

static void got(void *data, int code, const struct error *e, const json_t *answer, int content)
{
	struct asked *asked = data;
	if (code < 0) {
		if (content >= 0)
			close(content);
		reply_error(asked->request, code, e);
	} else if (reply_entry(asked->request, answer, content) < 0) {
		log_error("a file was not sent");
	}
	free(asked);
}

static int get_file(struct service *service, struct request *request, struct error *e)
{
	struct instance *instance;
	const char *path;
	int r = request_file_path(service, request, &instance, &path, e);
	return r < 0 ? r
		     : ask(instance, request, json_pack("{s:s, s:s}", "do", "get", "path", path),
			       -1, got, e);
}

static void changed(void *data, int code, const struct error *e, const json_t *answer, int content)
{
	struct asked *asked = data;
	(void)answer;
	if (content >= 0)
		close(content);
	if (code < 0)
		reply_error(asked->request, code, e);
	else if (reply_sync(asked->request, NULL) < 0)
		log_error("a change of a file was not answered");
	free(asked);
}

/* A number of a header, if there is one. */
static int header_number(struct request *request, const char *name, unsigned int base, uint64_t max,
	json_t *question, struct error *e)
{
	const char *text = request_x_header(request, name);
	char *end;
	if (!text || !text[0])
		return 0;
	errno = 0;
	unsigned long long value = strtoull(text, &end, (int)base);
	if (*end || errno || value > max || text[0] == '-' || text[0] == '+')
		return error_set(e, -EINVAL, "X-LXD-%s: \"%.40s\" is no number up to %llu", name,
			text, (unsigned long long)max);
	json_object_set_new(question, name, json_integer((json_int_t)value));
	return 0;
}

static int target_read(const struct http_part *part, json_t *question, struct error *e)
{
	char target[TARGET_MAX];
	if (!part || part->size_bytes == 0 || part->size_bytes >= sizeof(target))
		return error_set(e, -EINVAL, "the body must be the target of the link");
	int r = file_read_at(part->fd, target, part->size_bytes, 0);
	if (r < 0)
		return error_code(e, r, "read the target of the link");
	target[part->size_bytes] = '\0';
	json_set_text(question, "target", target);
	return 0;
}

static int question_read(
	struct request *request, const struct http_part *part, json_t *question, struct error *e)
{
	const char *type = request_x_header(request, "type");
	const char *write = request_x_header(request, "write");
	if (!type || !type[0])
		type = "file";
	if (!text_equal(type, "file") && !text_equal(type, "directory") &&
		!text_equal(type, "symlink"))
		return error_set(e, -EINVAL,
			"X-LXD-type: \"%.40s\" is none of file, directory, symlink", type);
	if (write && write[0] && !text_equal(write, "overwrite") && !text_equal(write, "append"))
		return error_set(e, -EINVAL,
			"X-LXD-write: \"%.40s\" is neither overwrite nor append", write);
	json_set_text(question, "type", type);
	if (text_equal(write, "append"))
		json_set_bool(question, "append", true);
	int r = header_number(request, "mode", 8, 07777, question, e);
	if (r == 0)
		r = header_number(request, "uid", 10, 65535, question, e);
	if (r == 0)
		r = header_number(request, "gid", 10, 65535, question, e);
	if (r == 0 && text_equal(type, "symlink"))
		r = target_read(part, question, e);
	return r;
}

static int post_file(struct service *service, struct request *request, struct error *e)
{
	const struct http_part *part = request_file(request);
	struct instance *instance;
	const char *path;
	int r = request_file_path(service, request, &instance, &path, e);
	if (r < 0)
		return r;
	json_t *question = json_pack("{s:s, s:s}", "do", "put", "path", path);
	r = question_read(request, part, question, e);
	if (r < 0) {
		json_decref(question);
		return r;
	}
	return ask(instance, request, question, part ? part->fd : -1, changed, e);
}

static int delete_file(struct service *service, struct request *request, struct error *e)
{
	struct instance *instance;
	const char *path;
	int r = request_file_path(service, request, &instance, &path, e);
	return r < 0 ? r
		     : ask(instance, request, json_pack("{s:s, s:s}", "do", "delete", "path", path),
			       -1, changed, e);
}

/* Which instance the upgraded connection is for. */
struct upgrade {
	struct service *service;
	char *project, *name;
};

static void upgraded(void *data, int fd, const void *early, size_t early_length)
{
	struct upgrade *upgrade = data;
	struct instance *instance =
		instance_find(upgrade->service, upgrade->project, upgrade->name);
	struct error e = {};
	(void)early;
	if (fd >= 0 && early_length > 0)
		log_warning("sftp: a client spoke before it was answered");
	else if (fd >= 0 && instance && entry_sftp(instance, fd, &e) < 0)
		log_error("sftp instance=%s: %s", instance->name, e.text);
	if (fd >= 0)
		close(fd);
	free(upgrade->project);
	free(upgrade->name);
	free(upgrade);
}

static int get_sftp(struct service *service, struct request *request, struct error *e)
{
	const char *protocol = request_header(request, "Upgrade");
	struct instance *instance;
	int r = instance_get(
		service, request_project(request), request_param(request, "name"), &instance, e);
	if (r < 0)
		return r;
	if (!text_equal(protocol, "sftp"))
		return error_set(e, -EINVAL, "Upgrade: must be sftp");
	if (!(instance->kind->can & KIND_CAN_FILES))
		return error_set(
			e, -EOPNOTSUPP, "The files of a %s can't be reached", instance->kind->name);
	struct upgrade *upgrade = alloc(struct upgrade);
	*upgrade = (struct upgrade){ service, alloc_text(instance->project),
		alloc_text(instance->name) };
	r = reply_upgrade(request, "sftp", upgraded, upgrade, e);
	if (r < 0) {
		free(upgrade->project);
		free(upgrade->name);
		free(upgrade);
	}
	return r;
}

#define FILES "/1.0/instances/{name}/files"

const struct route files_routes[] = {
	{ "GET", FILES, REQUEST_NONE, get_file, 0 },
	{ "POST", FILES, REQUEST_FILE, post_file, 0 },
	{ "DELETE", FILES, REQUEST_NONE, delete_file, 0 },
	{ "GET", "/1.0/instances/{name}/sftp", REQUEST_NONE, get_sftp, 0 },
	{},
};
