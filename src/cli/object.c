/* SPDX-License-Identifier: Apache-2.0 */
/*
 * object.c - read, change, write back.
 */
#include "cli/object.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/file.h"
#include "cli/cells.h"

#define EDIT_LIMIT_BYTES (4 * MIB)
#define TRIES            3

int object_change(struct context *context, const char *path, const char *what,
	object_change_call *change, void *data, struct error *e)
{
	for (int try = 1;; try++) {
		cleanup(json_decref) json_t *object = NULL;
		cleanup(free) char *etag = NULL;
		int r = context_get(context, path, &object, &etag, e);
		if (r < 0)
			return r;
		r = change(object, data, e);
		if (r < 0)
			return r;
		r = context_change(context, "PUT", path, json_incref(object), etag, what, NULL, e);
		if (r != -ESTALE || try == TRIES)
			return r;
	}
}

int object_show(struct context *context, const char *path, struct error *e)
{
	cleanup(json_decref) json_t *object = NULL;
	int r = context_get(context, path, &object, NULL, e);
	return r < 0 ? r : object_print(context, object, e);
}

/* The object that holds `key`: its config, or itself. */
static json_t *holder_of(json_t *object, const char *key)
{
	if (text_equal(key, "description"))
		return object;
	json_t *config = json_object_get(object, "config");
	if (!json_is_object(config)) {
		config = json_object();
		json_object_set_new(object, "config", config);
	}
	return config;
}

int object_get(struct context *context, const char *path, const char *key, struct error *e)
{
	cleanup(json_decref) json_t *object = NULL;
	int r = context_get(context, path, &object, NULL, e);
	if (r < 0)
		return r;
	const char *value = json_string_value(json_object_get(holder_of(object, key), key));
	cleanup(text_done) struct text text = {};
	text_printf(&text, "%s\n", value ? value : "");
	return output_write(&text, e);
}

int pair_set(json_t *strings, const char *word, struct error *e)
{
	const char *equals = strchr(word, '=');
	if (!equals || equals == word)
		return error_set(e, -EINVAL, "'%s' is not KEY=VALUE", word);
	cleanup(free) char *key = alloc_text_n(word, (size_t)(equals - word));
	if (json_object_set_new(strings, key, json_string(equals + 1)) < 0)
		return error_set(e, -EINVAL, "'%s' is not UTF-8", word);
	return 0;
}

int pairs_of_arguments(struct context *context, unsigned first, json_t *strings, struct error *e)
{
	const char *word;
	for (unsigned i = first; (word = context_argument(context, i)); i++) {
		int r = pair_set(strings, word, e);
		if (r < 0)
			return r;
	}
	return 0;
}

int pairs_of_option(struct context *context, const char *option, json_t *strings, struct error *e)
{
	size_t position = 0;
	for (const char *word; (word = options_next(&context->options, option, &position));) {
		int r = pair_set(strings, word, e);
		if (r < 0)
			return error_prefix(e, r, "--%s", option);
	}
	return 0;
}

struct words_change {
	struct context *context;
	unsigned first;
};

static int set_words(json_t *object, void *data, struct error *e)
{
	struct words_change *change = data;
	const char *word;
	for (unsigned i = change->first; (word = context_argument(change->context, i)); i++) {
		cleanup(free) char *key = alloc_text_n(word, strcspn(word, "="));
		int r = pair_set(holder_of(object, key), word, e);
		if (r < 0)
			return r;
	}
	return 0;
}

int object_set(struct context *context, const char *path, unsigned first, struct error *e)
{
	struct words_change change = { context, first };
	return object_change(context, path, "update", set_words, &change, e);
}

static int unset_words(json_t *object, void *data, struct error *e)
{
	struct words_change *change = data;
	const char *key;
	for (unsigned i = change->first; (key = context_argument(change->context, i)); i++)
		if (json_object_del(holder_of(object, key), key) < 0)
			return error_set(e, -ENOENT, "%s is not set", key);
	return 0;
}

int object_unset(struct context *context, const char *path, unsigned first, struct error *e)
{
	struct words_change change = { context, first };
	return object_change(context, path, "update", unset_words, &change, e);
}

int editor_run(const char *path, struct error *e)
{
	const char *editor = getenv("VISUAL");
	if (!editor || !*editor)
		editor = getenv("EDITOR");
	if (!editor || !*editor)
		editor = "vi";
	/* Through a shell, as everybody does: EDITOR may have arguments. */
	cleanup(free) char *command = alloc_printf("%s \"$1\"", editor);
	const char *arguments[] = { "sh", "-c", command, "sh", path, NULL };
	pid_t pid = 0;
	int r = posix_spawn(
		&pid, "/bin/sh", NULL, NULL, (char *const *)(uintptr_t)arguments, environ);
	if (r != 0)
		return error_code(e, -r, "start %s", editor);
	int status = 0;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return error_errno(e, "wait for %s", editor);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return error_set(e, -ECANCELED, "%s failed; nothing is changed", editor);
	return 0;
}

static int parse(const char *text, json_t **ret, struct error *e)
{
	json_error_t where;
	json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, &where);
	if (!object)
		return error_set(e, -EINVAL, "line %d: %s", where.line, where.text);
	*ret = object;
	return 0;
}

static int read_input(json_t **ret, struct error *e)
{
	cleanup(text_done) struct text text = {};
	char buffer[4096];
	ssize_t length;
	while ((length = read(STDIN_FILENO, buffer, sizeof(buffer))) > 0) {
		text_add_n(&text, buffer, (size_t)length);
		if (text.length > EDIT_LIMIT_BYTES)
			return error_set(e, -E2BIG, "standard input is too long");
	}
	if (length < 0)
		return error_errno(e, "read standard input");
	int r = parse(text_str(&text), ret, e);
	return r < 0 ? error_prefix(e, r, "standard input") : 0;
}

/* Lets the user edit the object; -ECANCELED if it came back as it was. */
static int edit_in_file(const json_t *object, json_t **ret, struct error *e)
{
	char path[] = "/tmp/berth-edit.XXXXXX.json";
	cleanup(close) int fd = mkostemps(path, 5, O_CLOEXEC);
	if (fd < 0)
		return error_errno(e, "make %s", path);
	char *dump = json_dumps(object, JSON_INDENT(2) | JSON_SORT_KEYS);
	cleanup(free) char *before = dump;
	cleanup(free) char *after = NULL;
	int r = dump ? file_write_all(fd, dump, strlen(dump)) : -ENOMEM;
	if (r < 0)
		error_code(e, r, "write %s", path);
	else
		r = editor_run(path, e);
	if (r == 0)
		r = file_read(AT_FDCWD, path, EDIT_LIMIT_BYTES, &after, NULL, e);
	unlink(path);
	if (r < 0)
		return r;
	if (text_equal(before, after))
		return error_set(e, -ECANCELED, "nothing was changed");
	return parse(after, ret, e);
}

int object_edit(struct context *context, const char *path, struct error *e)
{
	cleanup(json_decref) json_t *object = NULL;
	cleanup(json_decref) json_t *edited = NULL;
	cleanup(free) char *etag = NULL;
	int r = 0;
	if (!isatty(STDIN_FILENO))
		r = read_input(&edited, e);
	if (r == 0)
		r = context_get(context, path, &object, &etag, e);
	if (r == 0 && !edited)
		r = edit_in_file(object, &edited, e);
	if (r < 0)
		return r;
	return context_change(context, "PUT", path, json_incref(edited), etag, "update", NULL, e);
}
