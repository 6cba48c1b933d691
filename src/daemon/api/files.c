/* SPDX-License-Identifier: Apache-2.0 */
/*
 * files.c - /1.0/instances/{name}/files and /sftp.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "daemon/api.h"
#include "daemon/api/collections.h"
#include "daemon/api/request_instance.h"
#include "daemon/instance/entry.h"
#include "daemon/server/line.h"
#include "model/json.h"

#define CONTENT_MAX (16 * MIB) /* of the names of a directory */

/* A request that waits for the helper. */
struct asked {
	struct request *request; /* NULL: the client went */
	struct entry *entry;
	char *path;
	int content; /* a file that the helper fills: names, or a link's target; -1 */
	bool is_directory;
};

static void asked_free(struct asked *asked)
{
	entry_close(asked->entry);
	if (asked->content >= 0)
		close(asked->content);
	free(asked->path);
	free(asked);
}

static void client_gone(void *data)
{
	asked_free(data);
}

/* A machine's disk is its guest's alone: it is asked, while it runs. */
static int can_reach(const struct instance *instance, struct error *e)
{
	if (!(instance->kind->can & KIND_CAN_FILES))
		return error_set(
			e, -EOPNOTSUPP, "The files of a %s can't be reached", instance->kind->name);
	/* A server's are reached through the agent that calls from its system. */
	if ((instance->kind->can & KIND_IS_SERVER) && instance->state == INSTANCE_RUNNING)
		return server_line_check(instance, e);
	if (instance->kind->can & KIND_IS_SERVER)
		return error_set(e, -EINVAL, "The files of a %s are reached while it runs only",
			instance->kind->name);
	/* A unikernel's are read beside it, too, and changed while it does not run: its helper says so. */
	if (!(instance->kind->can & KIND_HAS_AGENT))
		return 0;
	if (!instance->live)
		return error_set(e, -EINVAL, "The files of a %s are reached while it runs only",
			instance->kind->name);
	if (instance->state == INSTANCE_FROZEN)
		return error_set(e, -EINVAL, "Instance is frozen");
	return 0;
}

static int request_file_path(struct service *service, struct request *request,
	struct instance **ret, char **ret_path, struct error *e)
{
	const char *path = request_query(request, "path");
	int r = request_instance(service, request, ret, e);
	if (r < 0)
		return r;
	if (!path || !path[0])
		return error_set(e, -EINVAL, "path: is missing");
	r = can_reach(*ret, e);
	if (r < 0)
		return r;
	*ret_path = alloc_printf("%s%s", path[0] == '/' ? "" : "/", path);
	return 0;
}

/* Opens the instance and asks; the request is answered by `answer`. */
static int ask(struct service *service, struct request *request, struct entry_question *question,
	entry_answer *answer, struct error *e)
{
	struct instance *instance = NULL;
	struct asked *asked = alloc(struct asked);
	asked->request = request;
	asked->content = -1;
	int r = request_file_path(service, request, &instance, &asked->path, e);
	question->path = asked->path;
	if (r == 0)
		r = entry_open(instance, &asked->entry, e);
	if (r == 0)
		r = entry_ask(asked->entry, question, answer, asked, e);
	if (r < 0) {
		asked_free(asked);
		return r;
	}
	request_defer(request, client_gone, asked);
	return 0;
}

static void refuse(struct asked *asked, int code, const struct error *e)
{
	reply_error(asked->request, code, e);
	asked_free(asked);
}

static const char *type_of(const struct files_answer *answer)
{
	if (S_ISDIR(answer->mode))
		return "directory";
	return S_ISLNK(answer->mode) ? "symlink" : "file";
}

static void headers_add(struct request *request, const struct files_answer *answer)
{
	char text[64];
	struct tm when;
	time_t seconds = (time_t)(answer->modified_ns / NS_PER_SEC);
	reply_x_header(request, "type", type_of(answer));
	snprintf(text, sizeof(text), "%04o", answer->mode & 07777);
	reply_x_header(request, "mode", text);
	snprintf(text, sizeof(text), "%u", answer->uid);
	reply_x_header(request, "uid", text);
	snprintf(text, sizeof(text), "%u", answer->gid);
	reply_x_header(request, "gid", text);
	gmtime_r(&seconds, &when);
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S +0000 UTC", &when);
	reply_x_header(request, "modified", text);
}

/* All that the helper wrote into the file, with a NUL behind it. */
static char *content_read(int fd, size_t *ret_length)
{
	struct stat status;
	if (fstat(fd, &status) < 0 || status.st_size < 0 || (uint64_t)status.st_size > CONTENT_MAX)
		return NULL;
	cleanup(free) char *text = alloc_array((size_t)status.st_size + 1, char);
	if (file_read_at(fd, text, (size_t)status.st_size, 0) < 0)
		return NULL;
	*ret_length = (size_t)status.st_size;
	return TAKE_PTR(text);
}

static json_t *names_json(const char *names, size_t length)
{
	json_t *array = json_array();
	for (size_t at = 0; at < length; at += strlen(names + at) + 1) {
		json_t *name = json_string(names + at); /* NULL for what is no UTF-8 */
		json_array_append_new(array, name ?: json_string("?"));
	}
	return array;
}

/* The names of a directory, or the target of a link. */
static void content_came(
	void *data, int code, const struct error *e, const struct files_answer *answer)
{
	struct asked *asked = data;
	size_t length = 0;
	struct error error = {};
	int r;
	if (code < 0) {
		refuse(asked, code, e);
		return;
	}
	char *content = content_read(asked->content, &length);
	if (!content) {
		refuse(asked, error_set(&error, -EIO, "%s can't be read", asked->path), &error);
		return;
	}
	headers_add(asked->request, answer);
	if (asked->is_directory) {
		r = reply_sync(asked->request, names_json(content, length));
		free(content);
	} else {
		r = reply_plain(asked->request, content, length, "application/octet-stream");
	}
	if (r < 0)
		log_error("a file was not sent");
	asked_free(asked);
}

/* The bytes are on their way, or the client sees that they end too early. */
static void file_sent(
	void *data, int code, const struct error *e, const struct files_answer *answer)
{
	struct entry *entry = data;
	(void)answer;
	if (code < 0)
		log_warning("a file was not sent whole: %s", e->text);
	entry_close(entry);
}

static int send_file(struct asked *asked, const struct files_answer *answer, struct error *e)
{
	int pipes[2];
	if (pipe2(pipes, O_CLOEXEC) < 0)
		return error_errno(e, "make a pipe");
	const struct entry_question question = {
		.type = FILES_GET, .path = asked->path, .fd = pipes[1]
	};
	int r = entry_ask(asked->entry, &question, file_sent, asked->entry, e);
	close(pipes[1]);
	if (r < 0) {
		close(pipes[0]);
		return r;
	}
	asked->entry = NULL;
	headers_add(asked->request, answer);
	if (reply_stream(asked->request, pipes[0], "application/octet-stream") < 0)
		log_error("a file was not sent");
	asked_free(asked);
	return 0;
}

static int ask_content(struct asked *asked, bool is_directory, struct error *e)
{
	asked->is_directory = is_directory;
	asked->content = memfd_create("content", MFD_CLOEXEC);
	if (asked->content < 0)
		return error_errno(e, "make a file for the answer");
	const struct entry_question question = { .type = FILES_GET,
		.path = asked->path,
		.fd = asked->content,
		.limit_bytes = CONTENT_MAX };
	return entry_ask(asked->entry, &question, content_came, asked, e);
}

/* It is known what stands there; now its content. */
static void is_there(void *data, int code, const struct error *e, const struct files_answer *answer)
{
	struct asked *asked = data;
	struct error error = {};
	if (code < 0) {
		refuse(asked, code, e);
		return;
	}
	int r;
	if (S_ISREG(answer->mode))
		r = send_file(asked, answer, &error);
	else if (S_ISDIR(answer->mode) || S_ISLNK(answer->mode))
		r = ask_content(asked, S_ISDIR(answer->mode), &error);
	else
		r = error_set(&error, -EINVAL, "%s is neither a file, a directory nor a link",
			asked->path);
	if (r < 0)
		refuse(asked, r, &error);
}

static int get_file(struct service *service, struct request *request, struct error *e)
{
	struct entry_question question = { .type = FILES_STAT, .fd = -1 };
	return ask(service, request, &question, is_there, e);
}

static void changed(void *data, int code, const struct error *e, const struct files_answer *answer)
{
	struct asked *asked = data;
	(void)answer;
	if (code == -EEXIST && asked->is_directory)
		code = 0;
	if (code < 0) {
		refuse(asked, code, e);
		return;
	}
	if (reply_sync(asked->request, NULL) < 0)
		log_error("a change of a file was not answered");
	asked_free(asked);
}

/* A number of a header, if there is one. */
static int header_number(struct request *request, const char *name, int base, uint32_t max,
	uint32_t *ret, struct error *e)
{
	const char *text = request_x_header(request, name);
	char *end;
	if (!text || !text[0])
		return 0;
	errno = 0;
	unsigned long value = strtoul(text, &end, base);
	if (*end || errno || value > max || strspn(text, "0123456789") != strlen(text))
		return error_set(
			e, -EINVAL, "X-LXD-%s: \"%.40s\" is no number up to %u", name, text, max);
	*ret = (uint32_t)value;
	return 0;
}

static int target_read(const struct http_part *part, char target[FILES_PATH_MAX], struct error *e)
{
	if (!part || part->size_bytes == 0 || part->size_bytes >= FILES_PATH_MAX)
		return error_set(e, -EINVAL, "the body must be the target of the link");
	int r = file_read_at(part->fd, target, part->size_bytes, 0);
	if (r < 0)
		return error_code(e, r, "read the target of the link");
	target[part->size_bytes] = '\0';
	return 0;
}

static int type_read(struct request *request, enum files_type *ret, struct error *e)
{
	static const struct {
		const char *name;
		enum files_type type;
	} types[] = { { "file", FILES_PUT }, { "directory", FILES_MKDIR },
		{ "symlink", FILES_SYMLINK } };
	const char *type = request_x_header(request, "type");
	if (!type || !type[0])
		type = "file";
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (text_equal(type, types[i].name)) {
			*ret = types[i].type;
			return 0;
		}
	}
	return error_set(
		e, -EINVAL, "X-LXD-type: \"%.40s\" is none of file, directory, symlink", type);
}

static int question_read(struct request *request, struct entry_question *question, struct error *e)
{
	const char *write = request_x_header(request, "write");
	int r = type_read(request, &question->type, e);
	if (r < 0)
		return r;
	if (write && write[0] && !text_equal(write, "overwrite") && !text_equal(write, "append"))
		return error_set(e, -EINVAL,
			"X-LXD-write: \"%.40s\" is neither overwrite nor append", write);
	if (text_equal(write, "append"))
		question->flags |= FILES_APPEND;
	r = header_number(request, "mode", 8, 07777, &question->mode, e);
	if (r == 0)
		r = header_number(request, "uid", 10, 65535, &question->uid, e);
	if (r == 0)
		r = header_number(request, "gid", 10, 65535, &question->gid, e);
	return r;
}

static void directory_made(
	void *data, int code, const struct error *e, const struct files_answer *answer)
{
	struct asked *asked = data;
	asked->is_directory = true;
	changed(data, code, e, answer);
}

static int post_file(struct service *service, struct request *request, struct error *e)
{
	const struct http_part *part = request_file(request);
	char target[FILES_PATH_MAX];
	cleanup(close) int empty = -1;
	struct entry_question question = {
		.mode = FILES_KEEP, .uid = FILES_KEEP, .gid = FILES_KEEP, .fd = -1
	};
	int r = question_read(request, &question, e);
	if (r < 0)
		return r;
	if (question.type == FILES_MKDIR)
		return ask(service, request, &question, directory_made, e);
	if (question.type == FILES_SYMLINK) {
		r = target_read(part, target, e);
		question.target = target;
		return r < 0 ? r : ask(service, request, &question, changed, e);
	}
	if (!part) {
		empty = memfd_create("empty", MFD_CLOEXEC);
		if (empty < 0)
			return error_errno(e, "make an empty file");
	}
	question.fd = part ? part->fd : empty;
	return ask(service, request, &question, changed, e);
}

static int delete_file(struct service *service, struct request *request, struct error *e)
{
	struct entry_question question = { .type = FILES_DELETE, .fd = -1 };
	return ask(service, request, &question, changed, e);
}

/* Which instance the upgraded connection is for. */
struct upgrade {
	struct service *service;
	char *project, *name;
};

static void sftp_ended(
	void *data, int code, const struct error *e, const struct files_answer *answer)
{
	struct asked *asked = data;
	(void)answer;
	if (code < 0)
		log_debug("sftp: %s", e->text);
	asked_free(asked);
}

static int sftp_begin(struct instance *instance, int fd, struct error *e)
{
	const struct entry_question question = { .type = FILES_SFTP, .path = "/", .fd = fd };
	struct asked *asked = alloc(struct asked);
	asked->content = -1;
	int r = entry_open(instance, &asked->entry, e);
	if (r == 0)
		r = entry_ask(asked->entry, &question, sftp_ended, asked, e);
	if (r < 0)
		asked_free(asked);
	return r;
}

static void upgraded(void *data, int fd, const void *early, size_t early_length)
{
	struct upgrade *upgrade = data;
	struct instance *instance =
		instance_find(upgrade->service, upgrade->project, upgrade->name);
	struct error e = {};
	(void)early;
	if (fd >= 0 && early_length > 0)
		log_warning("sftp: a client spoke before it was answered");
	else if (fd >= 0 && instance && sftp_begin(instance, fd, &e) < 0)
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
	struct instance *instance = NULL;
	int r = request_instance(service, request, &instance, e);
	if (r < 0)
		return r;
	if (!text_equal(protocol, "sftp"))
		return error_set(e, -EINVAL, "Upgrade: must be sftp");
	r = can_reach(instance, e);
	if (r == 0 && (instance->kind->can & KIND_IS_MACHINE) &&
		!(instance->kind->can & KIND_HAS_AGENT))
		r = error_set(e, -EOPNOTSUPP,
			"The files of a %s are not served as SFTP: use lxc file or berth file",
			instance->kind->name);
	if (r < 0)
		return r;
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
