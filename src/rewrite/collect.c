/* SPDX-License-Identifier: Apache-2.0 */
/*
 * collect.c - finds the programs and libraries of a tree and rewrites those that make system calls.
 */
#include "rewrite/collect.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/file.h"
#include "base/text.h"
#include "rewrite/prepare.h"

#define DEPTH_MOST 128
#define HEAD_BYTES 20 /* of an ELF file, with its machine */
#define SEEN_LISTS 4096u
/* What is rewritten is not much more than what was there: beyond that programs stay as they are, which is slower. */
#define GROWTH      4u
#define GROWTH_MORE (512 * MIB)

/* A file with several names is rewritten once. */
struct seen {
	struct seen *next;
	dev_t device;
	ino_t inode;
	char name[16]; /* in /.berth; "": it stays as it is */
};

struct collecting {
	int own, root;
	struct stat program; /* which file that is */
	struct stat script;  /* what it is the interpreter of; st_ino 0: none */
	char *script_path;
	struct text path; /* of what is looked at, from the root */
	struct text index;
	uint32_t count;
	uint64_t bytes_before, bytes_after; /* of what was rewritten */
	struct seen *seen[SEEN_LISTS];
	bool has_program; /* in the tree */
};

static int map_all(int fd, const struct stat *status, const void **ret, struct error *e)
{
	if (!S_ISREG(status->st_mode))
		return error_set(e, -ENOEXEC, "it is no file");
	if (status->st_size <= 0)
		return error_set(e, -ENOEXEC, "0 bytes are no ELF file");
	if ((uint64_t)status->st_size > PREPARE_PROGRAM_MAX)
		return error_set(
			e, -ENOEXEC, "it is larger than %d MiB", (int)(PREPARE_PROGRAM_MAX / MIB));
	void *data = mmap(NULL, (size_t)status->st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		return error_errno(e, "map it");
	*ret = data;
	return 0;
}

static int write_out(int own, const char *name, const void *data, size_t size, struct error *e)
{
	cleanup(close) int fd =
		openat(own, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0755);
	int r = fd < 0 ? -errno : file_write_all(fd, data, size);
	return r < 0 ? error_code(e, r, "write %s", name) : 0;
}

static void note(struct collecting *collecting, const char *name, const char *path)
{
	text_add_n(&collecting->index, name, strlen(name) + 1);
	text_add_n(&collecting->index, path, strlen(path) + 1);
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static bool has_head(int fd)
{
	uint8_t head[HEAD_BYTES];
	return pread(fd, head, sizeof(head), 0) == sizeof(head) &&
		memcmp(head,
			"\x7f"
			"ELF\x02\x01",
			6) == 0 &&
		head[18] == EM_X86_64 && head[19] == 0;
}

static const struct seen *find_seen(const struct collecting *collecting, const struct stat *status)
{
	const struct seen *seen = collecting->seen[status->st_ino % SEEN_LISTS];
	while (seen && (seen->inode != status->st_ino || seen->device != status->st_dev))
		seen = seen->next;
	return seen;
}

static void add_seen(struct collecting *collecting, const struct stat *status, const char *name)
{
	struct seen **list = &collecting->seen[status->st_ino % SEEN_LISTS];
	if (status->st_nlink < 2)
		return;
	struct seen *seen = alloc(struct seen);
	*seen = (struct seen){ *list, status->st_dev, status->st_ino, "" };
	snprintf(seen->name, sizeof(seen->name), "%s", name);
	*list = seen;
}

static void forget_seen(struct collecting *collecting)
{
	for (size_t i = 0; i < SEEN_LISTS; i++)
		while (collecting->seen[i]) {
			struct seen *seen = collecting->seen[i];
			collecting->seen[i] = seen->next;
			free(seen);
		}
}

static int take_file(
	struct collecting *collecting, int fd, const struct stat *status, struct error *e)
{
	const void *data = NULL;
	cleanup(free) void *prepared = NULL;
	size_t size = 0;
	char name[16];
	bool is_library;
	const struct seen *seen = find_seen(collecting, status);
	if (is_same(status, &collecting->script) && !collecting->script_path)
		collecting->script_path = alloc_text(text_str(&collecting->path));
	if (is_same(status, &collecting->program)) {
		/* By its first name, should it have several. */
		if (!collecting->has_program)
			note(collecting, "program", text_str(&collecting->path));
		collecting->has_program = true;
		return 0;
	}
	if (seen) {
		if (seen->name[0])
			note(collecting, seen->name, text_str(&collecting->path));
		return 0;
	}
	if (!has_head(fd) || map_all(fd, status, &data, NULL) < 0)
		return 0;
	int r = prepare_any(data, (size_t)status->st_size, &prepared, &size, &is_library, NULL);
	munmap((void *)(uintptr_t)data, (size_t)status->st_size);
	if (r == -ENOMEM)
		return error_set(e, r, "%s: not enough memory", text_str(&collecting->path));
	uint64_t bytes_before = collecting->bytes_before + (uint64_t)status->st_size;
	uint64_t bytes_after = collecting->bytes_after + size;
	if (r < 0 || bytes_after > bytes_before * GROWTH + GROWTH_MORE) {
		add_seen(collecting, status, "");
		return 0;
	}
	collecting->bytes_before = bytes_before;
	collecting->bytes_after = bytes_after;
	snprintf(name, sizeof(name), "%c%u", is_library ? 'l' : 'p', collecting->count++);
	note(collecting, name, text_str(&collecting->path));
	add_seen(collecting, status, name);
	return write_out(collecting->own, name, prepared, size, e);
}

static int take_directory(struct collecting *collecting, int fd, int depth, struct error *e);

static int take_entry(
	struct collecting *collecting, int directory, const char *name, int depth, struct error *e)
{
	struct stat status;
	if (depth == 0 && text_equal(name, ".berth"))
		return 0;
	if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
		return error_errno(e, "look at %s/%s", text_str(&collecting->path), name);
	bool is_directory = S_ISDIR(status.st_mode);
	if (!is_directory && !S_ISREG(status.st_mode))
		return 0;
	cleanup(close) int fd = openat(directory, name,
		O_RDONLY | O_NOFOLLOW | O_CLOEXEC | (is_directory ? O_DIRECTORY : O_NONBLOCK));
	if (fd < 0)
		return error_errno(e, "open %s/%s", text_str(&collecting->path), name);
	size_t length = collecting->path.length;
	text_printf(&collecting->path, "/%s", name);
	int r = is_directory ? take_directory(collecting, TAKE_FD(fd), depth + 1, e)
			     : take_file(collecting, fd, &status, e);
	collecting->path.length = length;
	collecting->path.data[length] = '\0';
	return r;
}

static int take_directory(struct collecting *collecting, int fd, int depth, struct error *e)
{
	struct dirent *entry;
	int r = 0;
	if (depth > DEPTH_MOST) {
		close(fd);
		return error_set(
			e, -ELOOP, "%.200s...: directories too deep", text_str(&collecting->path));
	}
	DIR *list = fdopendir(fd);
	if (!list) {
		close(fd);
		return error_errno(e, "list %s", text_str(&collecting->path));
	}
	while (r == 0 && (errno = 0, entry = readdir(list)))
		if (!text_equal(entry->d_name, ".") && !text_equal(entry->d_name, ".."))
			r = take_entry(collecting, fd, entry->d_name, depth, e);
	closedir(list);
	return r;
}

static int take_program(const struct collecting *collecting, int program, struct error *e)
{
	const void *data = NULL;
	cleanup(free) void *prepared = NULL;
	cleanup(free) char *interpreter = NULL;
	size_t size;
	int r = map_all(program, &collecting->program, &data, e);
	if (r == 0)
		r = prepare_program(data, (size_t)collecting->program.st_size, &prepared, &size,
			&interpreter, e);
	if (r < 0)
		return r;
	if (interpreter) {
		cleanup(close) int fd = file_open_in_root(collecting->root, interpreter, O_PATH, 0);
		if (fd < 0)
			return error_set(e, -ENOEXEC,
				"it is dynamic: it wants %.200s, which is not in the image",
				interpreter);
	}
	return write_out(collecting->own, "program", prepared, size, e);
}

/* A script's interpreter takes its place: *program becomes it, *ret_words what /.berth/script begins with. */
static int take_script(
	struct collecting *collecting, int *program, struct text *ret_words, struct error *e)
{
	const void *data = NULL;
	cleanup(free) char *interpreter = NULL, *word = NULL;
	int r = map_all(*program, &collecting->program, &data, e);
	if (r == 0)
		r = prepare_script(
			data, (size_t)collecting->program.st_size, &interpreter, &word, e);
	if (r <= 0)
		return r;
	collecting->script = collecting->program;
	*program = file_open_in_root(collecting->root, interpreter, O_RDONLY | O_NONBLOCK, 0);
	if (*program < 0)
		return error_set(e, -ENOEXEC,
			"it is a script for %.200s, which is not in the image", interpreter);
	text_add_n(ret_words, interpreter, strlen(interpreter) + 1);
	text_add_n(ret_words, word ?: "", strlen(word ?: "") + 1);
	return fstat(*program, &collecting->program) < 0 ? error_errno(e, "look at %s", interpreter)
							 : 0;
}

static int write_script(const struct collecting *collecting, struct text *words, struct error *e)
{
	if (!collecting->script.st_ino)
		return 0;
	if (!collecting->script_path)
		return error_set(e, -ENOEXEC, "it is a script, and not in the image");
	text_add_n(words, collecting->script_path, strlen(collecting->script_path) + 1);
	return write_out(collecting->own, "script", text_str(words), words->length, e);
}

static int collect(struct collecting *collecting, int program, struct error *e)
{
	cleanup(text_done) struct text words = {};
	if (fstat(program, &collecting->program) < 0)
		return error_errno(e, "look at the program");
	cleanup(close) int own_program = program;
	int r = take_script(collecting, &own_program, &words, e);
	if (r == 0)
		r = take_program(collecting, own_program, e);
	if (own_program == program)
		own_program = -1; /* the caller's */
	if (r < 0)
		return r;
	int fd = openat(collecting->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = fd < 0 ? error_errno(e, "open the tree") : take_directory(collecting, fd, 0, e);
	if (r == 0 && !collecting->has_program)
		note(collecting, "program", "");
	if (r == 0)
		r = write_script(collecting, &words, e);
	return r < 0 ? r
		     : write_out(collecting->own, "prepared", text_str(&collecting->index),
			       collecting->index.length, e);
}

int collect_programs(int root, int own, int program, struct error *e)
{
	struct collecting *collecting = alloc(struct collecting);
	*collecting = (struct collecting){ .own = own, .root = root };
	int r = collect(collecting, program, e);
	forget_seen(collecting);
	free(collecting->script_path);
	text_done(&collecting->path);
	text_done(&collecting->index);
	free(collecting);
	return r;
}
