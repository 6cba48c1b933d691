/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file.c - files in and out of instances, one request a file, streamed.
 *
 * A tree is walked here, relative to descriptors, so that neither a link planted on our side nor a name
 * told by the server leads out of it. A file that is pulled gets its name when it is whole.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "cli/cells.h"
#include "cli/context.h"
#include "cli/object.h"
#include "cli/transfer.h"
#include "cli/verbs.h"

#define DEPTH_LIMIT 128

static const struct option push_options[] = {
	{ "recursive", 'r', NULL, "directories with all that is in them" },
	{ "create-dirs", 'p', NULL, "make the directories above it that are missing" },
	{ "mode", '\0', "MODE", "octal permissions, instead of the file's own" },
	{ "uid", '\0', "UID", "owner in the instance, instead of the file's own" },
	{ "gid", '\0', "GID", "group in the instance, instead of the file's own" },
	{},
};
static const struct option pull_options[] = {
	{ "recursive", 'r', NULL, "directories with all that is in them" },
	{ "create-dirs", 'p', NULL, "make the directories above it that are missing" },
	{},
};
static const struct option remove_options[] = {
	{ "recursive", 'r', NULL, "directories with all that is in them" },
	{},
};

/* "c1/root/f1": the instance and the absolute path in it. */
struct place {
	char *instance;
	char *path;
};

static void place_done_cleanup(struct place *place)
{
	free(place->instance);
	free(place->path);
}

static int place_read(const char *word, struct place *place, struct error *e)
{
	const char *slash = strchr(word, '/');
	if (!slash || slash == word)
		return error_set(e, -EINVAL, "'%s' is not INSTANCE/PATH", word);
	place->instance = alloc_text_n(word, (size_t)(slash - word));
	place->path = alloc_text(slash);
	return 0;
}

static char *files_url(const struct place *place, const char *path)
{
	return path_query(path_format("/1.0/instances/%s/files", place->instance), "path", path);
}

/* What a file is in an instance: "file", "directory" or "symlink", its owner and mode. */
struct nature {
	char type[16];
	uint64_t uid, gid;
	mode_t mode;
};

static uint64_t header_number(const struct client_response *response, const char *name)
{
	char text[32];
	uint64_t number = 0;
	if (!client_header(response, name, text, sizeof(text)) || text_to_u64(text, &number) < 0)
		return 0;
	return number;
}

static void nature_read(const struct client_response *response, struct nature *nature)
{
	char mode[32];
	if (!client_header(response, "X-LXD-type", nature->type, sizeof(nature->type)))
		snprintf(nature->type, sizeof(nature->type), "file");
	nature->uid = header_number(response, "X-LXD-uid");
	nature->gid = header_number(response, "X-LXD-gid");
	nature->mode = 0644;
	if (client_header(response, "X-LXD-mode", mode, sizeof(mode)))
		nature->mode = (mode_t)strtoul(mode, NULL, 8) & 07777;
}

/* GETs one file: its content to `sink` (NULL: dropped), a directory's names to *ret_names. */
static int get(struct context *context, const struct place *place, const char *path, int *sink,
	struct nature *nature, json_t **ret_names, struct error *e)
{
	cleanup(free) char *url = files_url(place, path);
	cleanup(answer_done) struct answer answer = {};
	int r = context_send(context,
		&(struct client_request){ .method = "GET",
			.target = url,
			.write = sink ? transfer_sink : NULL,
			.write_data = sink },
		&answer, e);
	if (r < 0)
		return error_prefix(e, r, "%s%s", place->instance, path);
	nature_read(&answer.response, nature);
	if (ret_names)
		*ret_names = TAKE_PTR(answer.metadata);
	return 0;
}

/* ---- push ---- */

struct push {
	struct context *context;
	struct place place;
	int depth;
};

/* POSTs one file, directory or link; `source` or `target` is its content. */
static int post(struct push *push, const char *path, const char *type, const struct stat *status,
	const struct client_source *source, struct error *e)
{
	const struct options *options = &push->context->options;
	bool is_edit = !text_equal(options->path, "file push");
	const char *mode = is_edit ? NULL : options_text(options, "mode");
	const char *uid = is_edit ? NULL : options_text(options, "uid");
	const char *gid = is_edit ? NULL : options_text(options, "gid");
	char lines[5][64];
	snprintf(lines[0], sizeof(lines[0]), "X-LXD-type: %s", type);
	snprintf(lines[1], sizeof(lines[1]), "X-LXD-write: overwrite");
	snprintf(lines[2], sizeof(lines[2]), "X-LXD-mode: %04o",
		(unsigned)(status->st_mode & 07777));
	snprintf(lines[3], sizeof(lines[3]), "X-LXD-uid: %u", status->st_uid);
	snprintf(lines[4], sizeof(lines[4]), "X-LXD-gid: %u", status->st_gid);
	if (mode && text_equal(type, "file"))
		snprintf(lines[2], sizeof(lines[2]), "X-LXD-mode: %s%.8s", *mode == '0' ? "" : "0",
			mode);
	if (uid)
		snprintf(lines[3], sizeof(lines[3]), "X-LXD-uid: %.16s", uid);
	if (gid)
		snprintf(lines[4], sizeof(lines[4]), "X-LXD-gid: %.16s", gid);
	/* A link has no mode of its own. */
	bool is_link = text_equal(type, "symlink");
	const char *headers[] = { lines[0], lines[1], lines[3], lines[4], is_link ? NULL : lines[2],
		NULL };
	cleanup(free) char *url = files_url(&push->place, path);
	int r = context_change_request(push->context,
		&(struct client_request){
			.method = "POST", .target = url, .headers = headers, .source = source },
		path, NULL, e);
	return r < 0 ? error_prefix(e, r, "%s%s", push->place.instance, path) : 0;
}

struct memory {
	const char *data;
	size_t length;
};

static ssize_t read_memory(void *data, void *buffer, size_t size)
{
	struct memory *memory = data;
	size_t length = memory->length < size ? memory->length : size;
	memcpy(buffer, memory->data, length);
	memory->data += length;
	memory->length -= length;
	return (ssize_t)length;
}

static int push_link(struct push *push, int dir, const char *name, const char *path,
	const struct stat *status, struct error *e)
{
	char target[4096];
	ssize_t length = readlinkat(dir, name, target, sizeof(target));
	if (length < 0)
		return error_errno(e, "read the link %s", name);
	struct memory memory = { target, (size_t)length };
	struct client_source source = { read_memory, &memory, (uint64_t)length };
	return post(push, path, "symlink", status, &source, e);
}

static int push_content(
	struct push *push, int fd, const char *path, const struct stat *status, struct error *e)
{
	struct transfer transfer = { .fd = fd, .context = push->context, .what = path };
	struct client_source source = transfer_source(&transfer);
	return post(push, path, "file", status, &source, e);
}

static int push_entry(struct push *push, int dir, const char *name, const char *path,
	bool is_followed, struct error *e);

static int push_directory(
	struct push *push, int fd, const char *path, const struct stat *status, struct error *e)
{
	if (!options_flag(&push->context->options, "recursive"))
		return error_set(e, -EISDIR, "it is a directory; use --recursive");
	if (push->depth >= DEPTH_LIMIT)
		return error_set(e, -ELOOP, "%s: too deep", path);
	int r = post(push, path, "directory", status, NULL, e);
	if (r < 0)
		return r;
	DIR *list = fdopendir(fcntl(fd, F_DUPFD_CLOEXEC, 3));
	if (!list)
		return error_errno(e, "read %s", path);
	push->depth++;
	for (struct dirent *entry; r == 0 && (entry = readdir(list));) {
		if (text_equal(entry->d_name, ".") || text_equal(entry->d_name, ".."))
			continue;
		cleanup(free) char *below = alloc_printf("%s/%s", path, entry->d_name);
		r = push_entry(push, fd, entry->d_name, below, false, e);
	}
	push->depth--;
	closedir(list);
	return r;
}

static int push_entry(struct push *push, int dir, const char *name, const char *path,
	bool is_followed, struct error *e)
{
	struct stat status;
	if (fstatat(dir, name, &status, is_followed ? 0 : AT_SYMLINK_NOFOLLOW) < 0)
		return error_errno(e, "%s", name);
	if (S_ISLNK(status.st_mode))
		return push_link(push, dir, name, path, &status, e);
	if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) {
		context_note(push->context, "%s: neither file, directory nor link; left out", name);
		return 0;
	}
	cleanup(close) int fd =
		openat(dir, name, O_RDONLY | O_CLOEXEC | (is_followed ? 0 : O_NOFOLLOW));
	if (fd < 0 || fstat(fd, &status) < 0)
		return error_errno(e, "open %s", name);
	return S_ISDIR(status.st_mode) ? push_directory(push, fd, path, &status, e)
				       : push_content(push, fd, path, &status, e);
}

/* Makes what is missing above `path`, as root's. */
static int push_parents(struct push *push, const char *path, struct error *e)
{
	static const struct stat status = { .st_mode = 0755 };
	for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		cleanup(free) char *above = alloc_text_n(path, (size_t)(slash - path));
		struct nature nature;
		struct error unseen = {};
		cleanup(json_decref) json_t *names = NULL;
		int r = get(push->context, &push->place, above, NULL, &nature, &names, &unseen);
		if (r == 0)
			continue;
		if (r != -ENOENT)
			return error_set(e, r, "%s", unseen.text);
		r = post(push, above, "directory", &status, NULL, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* True if the path names a directory in the instance. */
static bool is_directory(struct push *push, const char *path)
{
	struct nature nature;
	cleanup(json_decref) json_t *names = NULL;
	return get(push->context, &push->place, path, NULL, &nature, &names, NULL) == 0 &&
		text_equal(nature.type, "directory");
}

static int push_one(struct push *push, const char *source, bool is_into, struct error *e)
{
	cleanup(free) char *local = alloc_text(source);
	size_t length = strlen(local);
	while (length > 1 && local[length - 1] == '/')
		local[--length] = '\0';
	cleanup(free) char *base = alloc_text(push->place.path);
	length = strlen(base);
	while (length && base[length - 1] == '/')
		base[--length] = '\0';
	cleanup(free) char *path =
		is_into ? alloc_printf("%s/%s", base, last_part(local)) : alloc_text(base);
	if (options_flag(&push->context->options, "create-dirs")) {
		int r = push_parents(push, path, e);
		if (r < 0)
			return r;
	}
	if (!text_equal(source, "-")) {
		int r = push_entry(push, AT_FDCWD, local, path, true, e);
		return r < 0 && !strstr(e->text, local) ? error_prefix(e, r, "%s", source) : r;
	}
	struct stat status = { .st_mode = 0644 };
	return push_content(push, STDIN_FILENO, path, &status, e);
}

static int push_run(struct context *context, struct error *e)
{
	unsigned count = context->options.argument_count;
	const char *last = context_argument(context, count - 1);
	struct push push = { .context = context };
	cleanup(place_done) struct place place = {};
	int r = place_read(last, &place, e);
	if (r < 0)
		return r;
	push.place = place;
	bool is_into = count > 2 || text_ends(place.path, "/");
	bool is_stdin = text_equal(context_argument(context, 0), "-");
	if (!is_into && !is_stdin)
		is_into = is_directory(&push, place.path);
	for (unsigned i = 0; r == 0 && i + 1 < count; i++)
		r = push_one(&push, context_argument(context, i), is_into, e);
	return r;
}

/* ---- pull ---- */

struct pull {
	struct context *context;
	struct place place;
	int depth;
};

static int pull_entry(
	struct pull *pull, const char *path, int dir, const char *name, struct error *e);

static int pull_directory(struct pull *pull, const char *path, int dir, const char *name,
	const struct nature *nature, const json_t *names, struct error *e)
{
	if (!options_flag(&pull->context->options, "recursive"))
		return error_set(e, -EISDIR, "%s%s: is a directory; use --recursive",
			pull->place.instance, path);
	if (pull->depth >= DEPTH_LIMIT)
		return error_set(e, -ELOOP, "%s: too deep", path);
	if (mkdirat(dir, name, 0700) < 0 && errno != EEXIST)
		return error_errno(e, "make %s", name);
	cleanup(close) int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return error_errno(e, "open %s", name);
	size_t i;
	json_t *each;
	int r = 0;
	pull->depth++;
	json_array_foreach(names, i, each)
	{
		const char *child = json_string_value(each);
		if (!child || !*child || strchr(child, '/') || text_equal(child, ".") ||
			text_equal(child, ".."))
			return error_set(e, -EIO, "%s: the server told a name that is none", path);
		cleanup(free) char *below =
			alloc_printf("%s%s%s", path, text_ends(path, "/") ? "" : "/", child);
		r = pull_entry(pull, below, fd, child, e);
		if (r < 0)
			break;
	}
	pull->depth--;
	if (r == 0 && fchmod(fd, nature->mode) < 0)
		r = error_errno(e, "mode of %s", name);
	if (r == 0 && geteuid() == 0 && fchown(fd, (uid_t)nature->uid, (gid_t)nature->gid) < 0)
		r = error_errno(e, "owner of %s", name);
	return r;
}

static int pull_link(int dir, int fd, const char *name, struct error *e)
{
	char target[4096];
	ssize_t length = pread(fd, target, sizeof(target) - 1, 0);
	if (length <= 0)
		return error_set(e, -EIO, "%s: a link to nothing", name);
	target[length] = '\0';
	if (unlinkat(dir, name, 0) < 0 && errno != ENOENT)
		return error_errno(e, "replace %s", name);
	return symlinkat(target, dir, name) < 0 ? error_errno(e, "make the link %s", name) : 0;
}

/* The content that stands whole in the temporary file gets its owner, mode and name. */
static int pull_file(int dir, int fd, const char *temporary, const char *name,
	const struct nature *nature, struct error *e)
{
	if (geteuid() == 0 && fchown(fd, (uid_t)nature->uid, (gid_t)nature->gid) < 0)
		return error_errno(e, "owner of %s", name);
	if (fchmod(fd, nature->mode) < 0)
		return error_errno(e, "mode of %s", name);
	if (renameat(dir, temporary, dir, name) < 0)
		return error_errno(e, "write %s", name);
	return 0;
}

static int pull_entry(
	struct pull *pull, const char *path, int dir, const char *name, struct error *e)
{
	cleanup(free) char *random = text_random_hex(4);
	cleanup(free) char *temporary = alloc_printf(".berth-%s", random);
	cleanup(close) int fd =
		openat(dir, temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_errno(e, "write into the directory of %s", name);
	struct nature nature = {};
	cleanup(json_decref) json_t *names = NULL;
	int r = get(pull->context, &pull->place, path, &fd, &nature, &names, e);
	bool is_file = !names && text_equal(nature.type, "file");
	if (r == 0 && is_file)
		r = pull_file(dir, fd, temporary, name, &nature, e);
	if (r < 0 || !is_file)
		unlinkat(dir, temporary, 0);
	if (r < 0 || is_file)
		return r;
	if (text_equal(nature.type, "symlink"))
		return pull_link(dir, fd, name, e);
	return pull_directory(pull, path, dir, name, &nature, names, e);
}

/* Where one source goes: a directory that is there gets it inside. */
static int pull_one(struct pull *pull, const char *target, bool is_into, struct error *e)
{
	if (text_equal(target, "-")) {
		int output = STDOUT_FILENO;
		struct nature nature;
		return get(
			pull->context, &pull->place, pull->place.path, &output, &nature, NULL, e);
	}
	cleanup(free) char *path = alloc_text(pull->place.path);
	size_t length = strlen(path);
	while (length > 1 && path[length - 1] == '/')
		path[--length] = '\0';
	const char *own = last_part(path);
	cleanup(free) char *local =
		is_into ? alloc_printf("%s/%s", target, *own ? own : "root") : alloc_text(target);
	char *slash = strrchr(local, '/');
	cleanup(free) char *above = slash == local ? alloc_text("/")
		: slash                            ? alloc_text_n(local, (size_t)(slash - local))
						   : alloc_text(".");
	if (options_flag(&pull->context->options, "create-dirs")) {
		int r = file_make_dirs(AT_FDCWD, above, 0755);
		if (r < 0)
			return error_code(e, r, "make %s", above);
	}
	cleanup(close) int dir = open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return error_errno(e, "open %s", above);
	return pull_entry(pull, path, dir, slash ? slash + 1 : local, e);
}

static int pull_run(struct context *context, struct error *e)
{
	unsigned count = context->options.argument_count;
	const char *target = context_argument(context, count - 1);
	struct stat status;
	bool is_into = stat(target, &status) == 0 && S_ISDIR(status.st_mode);
	if ((count > 2 || text_ends(target, "/")) && !is_into) {
		int r = options_flag(&context->options, "create-dirs")
			? file_make_dirs(AT_FDCWD, target, 0755)
			: -ENOTDIR;
		if (r < 0)
			return error_code(e, r, "%s", target);
		is_into = true;
	}
	for (unsigned i = 0; i + 1 < count; i++) {
		cleanup(place_done) struct place place = {};
		int r = place_read(context_argument(context, i), &place, e);
		struct pull pull = { .context = context, .place = place };
		if (r == 0)
			r = pull_one(&pull, target, is_into, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- delete, edit ---- */

static int delete_path(struct context *context, const struct place *place, const char *path,
	bool is_recursive, int depth, struct error *e)
{
	struct nature nature = {};
	cleanup(json_decref) json_t *names = NULL;
	int r = 0;
	if (is_recursive) {
		r = get(context, place, path, NULL, &nature, &names, e);
		if (r == 0 && depth >= DEPTH_LIMIT)
			r = error_set(e, -ELOOP, "%s: too deep", path);
	}
	size_t i;
	json_t *each;
	json_array_foreach(names, i, each)
	{
		if (r < 0)
			return r;
		cleanup(free) char *below = alloc_printf(
			"%s%s%s", path, text_ends(path, "/") ? "" : "/", json_string_value(each));
		r = delete_path(context, place, below, true, depth + 1, e);
	}
	if (r < 0)
		return r;
	cleanup(free) char *url = files_url(place, path);
	r = context_change(context, "DELETE", url, NULL, NULL, path, NULL, e);
	return r < 0 ? error_prefix(e, r, "%s%s", place->instance, path) : 0;
}

static int delete_run(struct context *context, struct error *e)
{
	bool is_recursive = options_flag(&context->options, "recursive");
	const char *word;
	for (unsigned i = 0; (word = context_argument(context, i)); i++) {
		cleanup(place_done) struct place place = {};
		int r = place_read(word, &place, e);
		if (r == 0)
			r = delete_path(context, &place, place.path, is_recursive, 0, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int edit_in(
	struct push *push, int fd, const char *temporary, struct nature *nature, struct error *e)
{
	struct stat before, after;
	if (fstat(fd, &before) < 0)
		return error_errno(e, "%s", temporary);
	int r = editor_run(temporary, e);
	if (r < 0)
		return r;
	/* An editor may have put another file in its place. */
	cleanup(close) int edited = open(temporary, O_RDONLY | O_CLOEXEC);
	if (edited < 0 || fstat(edited, &after) < 0)
		return error_errno(e, "open %s", temporary);
	if (before.st_mtim.tv_sec == after.st_mtim.tv_sec &&
		before.st_mtim.tv_nsec == after.st_mtim.tv_nsec && before.st_size == after.st_size)
		return error_set(e, -ECANCELED, "nothing was changed");
	after.st_mode = S_IFREG | nature->mode;
	after.st_uid = (uid_t)nature->uid;
	after.st_gid = (gid_t)nature->gid;
	return push_content(push, edited, push->place.path, &after, e);
}

static int edit_run(struct context *context, struct error *e)
{
	cleanup(place_done) struct place place = {};
	int r = place_read(context_argument(context, 0), &place, e);
	if (r < 0)
		return r;
	char temporary[] = "/tmp/berth-edit.XXXXXX";
	cleanup(close) int fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return error_errno(e, "make %s", temporary);
	struct nature nature = {};
	struct push push = { .context = context, .place = place };
	r = get(context, &place, place.path, &fd, &nature, NULL, e);
	if (r == 0 && !text_equal(nature.type, "file"))
		r = error_set(e, -EINVAL, "%s is no file", place.path);
	if (r == 0)
		r = edit_in(&push, fd, temporary, &nature, e);
	unlink(temporary);
	return r;
}

const struct verb file_verbs[] = {
	{ "push", "FILE... INSTANCE/PATH", "copy files into an instance; '-' is standard input",
		.run = push_run, .options = push_options, .min = 2, .max = ARGUMENTS_ANY,
		.words = WORDS_FILE },
	{ "pull", "INSTANCE/PATH... FILE", "copy files out of an instance; '-' is standard output",
		.run = pull_run, .options = pull_options, .min = 2, .max = ARGUMENTS_ANY,
		.words = WORDS_INSTANCE },
	{ "delete", "INSTANCE/PATH...", "delete files in an instance", .run = delete_run,
		.options = remove_options, .min = 1, .max = ARGUMENTS_ANY,
		.words = WORDS_INSTANCE },
	{ "edit", "INSTANCE/PATH", "edit a file of an instance", .run = edit_run, .min = 1,
		.max = 1, .words = WORDS_INSTANCE },
	{},
};
