/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backup.c - instances as files, and as images.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "cli/cells.h"
#include "cli/context.h"
#include "cli/transfer.h"
#include "cli/verbs.h"

const struct option export_options[] = {
	{ "instance-only", '\0', NULL, "without its snapshots" },
	{ "compression", '\0', "NAME", "gzip, zstd, xz or none" },
	{},
};
const struct option import_options[] = {
	{ "pool", '\0', "POOL", "storage pool it is put in", WORDS_POOL },
	{},
};
const struct option publish_options[] = {
	{ "alias", '\0', "NAME", "call the image so; may be given again" },
	{ "public", '\0', NULL, "let everybody use it who can reach the server" },
	{},
};

/* GETs a backup into a file that has its name only when it is whole. */
static int fetch(struct context *context, const char *url, const char *target, struct error *e)
{
	if (text_equal(target, "-")) {
		int output = STDOUT_FILENO;
		cleanup(answer_done) struct answer answer = {};
		return context_send(context,
			&(struct client_request){ .method = "GET",
				.target = url,
				.write = transfer_sink,
				.write_data = &output },
			&answer, e);
	}
	cleanup(free) char *random = text_random_hex(4);
	cleanup(free) char *temporary = alloc_printf("%s.berth-%s", target, random);
	cleanup(close) int fd =
		open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_errno(e, "%s", temporary);
	cleanup(answer_done) struct answer answer = {};
	int r = context_send(context,
		&(struct client_request){
			.method = "GET", .target = url, .write = transfer_sink, .write_data = &fd },
		&answer, e);
	if (r == 0 && rename(temporary, target) < 0)
		r = error_errno(e, "%s", target);
	if (r < 0)
		unlink(temporary);
	return r;
}

int export_run(struct context *context, struct error *e)
{
	const char *name = context_argument(context, 0), *target = context_argument(context, 1);
	const char *compression = options_text(&context->options, "compression");
	cleanup(free) char *path = path_format("/1.0/instances/%s/backups", name);
	cleanup(free) char *what = alloc_printf("export %s", name);
	cleanup(free) char *random = text_random_hex(4);
	cleanup(free) char *backup = alloc_printf("export-%s", random);
	json_t *body = json_pack("{s:s, s:b, s:s}", "name", backup, "instance_only",
		options_flag(&context->options, "instance-only"), "compression_algorithm",
		compression ? compression : "");
	int r = context_change(context, "POST", path, body, NULL, what, NULL, e);
	if (r < 0)
		return r;
	cleanup(free) char *made = path_format("/1.0/instances/%s/backups/%s", name, backup);
	cleanup(free) char *url = alloc_printf("%s/export", made);
	cleanup(free) char *file = target ? alloc_text(target) : alloc_printf("%s.tar.gz", name);
	r = fetch(context, url, file, e);
	struct error unseen = {};
	int deleted = context_change(
		context, "DELETE", made, NULL, NULL, what, NULL, r < 0 ? &unseen : e);
	if (r == 0 && deleted == 0 && !text_equal(file, "-"))
		context_note(context, "written to %s", file);
	return r < 0 ? r : deleted;
}

int import_run(struct context *context, struct error *e)
{
	const char *file = context_argument(context, 0), *name = context_argument(context, 1);
	const char *pool = options_text(&context->options, "pool");
	cleanup(close) int fd =
		text_equal(file, "-") ? dup(STDIN_FILENO) : open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_errno(e, "%s", file);
	struct transfer transfer = { .fd = fd, .context = context, .what = "import" };
	struct client_source source = transfer_source(&transfer);
	cleanup(free) char *name_line = name ? alloc_printf("X-LXD-name: %s", name) : NULL;
	cleanup(free) char *pool_line = pool ? alloc_printf("X-LXD-pool: %s", pool) : NULL;
	const char *headers[3] = {};
	size_t count = 0;
	if (name_line)
		headers[count++] = name_line;
	if (pool_line)
		headers[count++] = pool_line;
	return context_change_request(context,
		&(struct client_request){ .method = "POST",
			.target = "/1.0/instances",
			.source = &source,
			.headers = headers },
		"import", NULL, e);
}

int publish_run(struct context *context, struct error *e)
{
	const char *name = context_argument(context, 0);
	json_t *body = json_pack("{s:{s:s, s:s}, s:b}", "source", "type",
		strchr(name, '/') ? "snapshot" : "instance", "name", name, "public",
		options_flag(&context->options, "public"));
	cleanup(free) char *what = alloc_printf("publish %s", name);
	cleanup(json_decref) json_t *operation = NULL;
	int r = context_change(context, "POST", "/1.0/images", body, NULL, what, &operation, e);
	if (r < 0)
		return r;
	const char *fingerprint = object_text(operation, "metadata/fingerprint");
	if (!fingerprint)
		return error_set(e, -EIO, "the server told no fingerprint");
	size_t position = 0;
	for (const char *alias; (alias = options_next(&context->options, "alias", &position));) {
		r = context_change(context, "POST", "/1.0/images/aliases",
			json_pack("{s:s, s:s}", "name", alias, "target", fingerprint), NULL,
			"alias", NULL, e);
		if (r < 0)
			return error_prefix(e, r, "alias %s", alias);
	}
	cleanup(text_done) struct text text = {};
	text_printf(&text, "%s\n", fingerprint);
	return output_write(&text, e);
}
