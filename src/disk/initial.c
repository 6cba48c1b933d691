/* SPDX-License-Identifier: Apache-2.0 */
/*
 * initial.c - the initial file system: a cpio archive (newc) in a memfd, made anew at each start.
 */
#include "disk/initial.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"

#define MODULES_MAX     8192
#define MODULE_BYTES    (16 * MIB)
#define WALK_FDS        16
#define NEEDED_MAX      256
#define MODE_DIRECTORY  (S_IFDIR | 0755)
#define MODE_FILE       (S_IFREG | 0644)
#define MODE_EXECUTABLE (S_IFREG | 0755)

/* nftw() has no place for data. */
static struct {
	char *paths[MODULES_MAX];
	size_t count;
} found;

struct archive {
	struct text bytes;
	struct text list; /* of modules, in the order of loading */
	const char *added[NEEDED_MAX];
	size_t added_count;
	uint32_t inode;
};

static void pad(struct text *text)
{
	while (text->length % 4)
		text_add_char(text, '\0');
}

static void add(
	struct archive *archive, const char *path, uint32_t mode, const void *data, size_t length)
{
	/* inode, mode; user, group, links, time; size; four of devices; the name's size; no sum */
	text_printf(&archive->bytes, "070701%08x%08x", ++archive->inode, mode);
	text_add(&archive->bytes,
		"00000000"
		"00000000"
		"00000001"
		"00000000");
	text_printf(&archive->bytes, "%08zx", length);
	text_add(&archive->bytes,
		"00000000"
		"00000000"
		"00000000"
		"00000000");
	text_printf(&archive->bytes, "%08zx00000000", strlen(path) + 1);
	text_add_n(&archive->bytes, path, strlen(path) + 1);
	pad(&archive->bytes);
	if (length)
		text_add_n(&archive->bytes, data, length);
	pad(&archive->bytes);
}

static int note(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
	(void)status;
	(void)ftw;
	if (type == FTW_F && text_ends(path, ".ko") && found.count < MODULES_MAX)
		found.paths[found.count++] = alloc_text(path);
	return 0;
}

/* A module's file is named with '-' or '_', whatever it is called by. */
static bool is_module(const char *path, const char *name)
{
	const char *base = strrchr(path, '/') + 1;
	size_t i = 0;
	for (; name[i]; i++) {
		char a = base[i] == '-' ? '_' : base[i], b = name[i] == '-' ? '_' : name[i];
		if (a != b)
			return false;
	}
	return text_equal(base + i, ".ko");
}

static const char *depends_of(const char *bytes, size_t length)
{
	static const char key[] = "\0depends=";
	const char *at = memmem(bytes, length, key, sizeof(key) - 1);
	return at && memchr(at + 1, '\0', length - (size_t)(at + 1 - bytes)) ? at + sizeof(key) - 1
									     : "";
}

static int add_module(struct archive *archive, const char *name, struct error *e);

static int add_needed(struct archive *archive, const char *depends, struct error *e)
{
	cleanup(free) char *list = alloc_text(depends);
	char *rest = NULL;
	int r = 0;
	for (char *name = strtok_r(list, ",", &rest); r == 0 && name;
		name = strtok_r(NULL, ",", &rest))
		r = add_module(archive, name, e);
	return r;
}

/* What is built into the kernel has no file, and need not. */
static int add_module(struct archive *archive, const char *name, struct error *e)
{
	size_t i = 0;
	while (i < found.count && !is_module(found.paths[i], name))
		i++;
	if (i == found.count)
		return 0;
	const char *path = found.paths[i];
	for (size_t j = 0; j < archive->added_count; j++)
		if (archive->added[j] == path)
			return 0;
	if (archive->added_count == NEEDED_MAX)
		return error_set(e, -E2BIG, "%s: needs too many modules", name);
	archive->added[archive->added_count++] = path;
	cleanup(free) char *bytes = NULL;
	size_t length;
	int r = file_read(AT_FDCWD, path, MODULE_BYTES, &bytes, &length, e);
	if (r == 0)
		r = add_needed(archive, depends_of(bytes, length), e);
	if (r < 0)
		return r;
	cleanup(free) char *inside = alloc_printf("berth/lib/%s", strrchr(path, '/') + 1);
	add(archive, inside, MODE_FILE, bytes, length);
	text_printf(&archive->list, "/%s\n", inside);
	return 0;
}

static int add_modules(
	struct archive *archive, const char *kernel, const char *const *wanted, struct error *e)
{
	cleanup(free) char *modules = alloc_printf("%s/lib/modules", kernel);
	if (nftw(modules, note, WALK_FDS, FTW_PHYS) < 0)
		return error_errno(e, "%s", modules);
	int r = 0;
	for (size_t i = 0; r == 0 && wanted[i]; i++)
		r = add_module(archive, wanted[i], e);
	for (size_t i = 0; i < found.count; i++)
		free(found.paths[i]);
	found.count = 0;
	return r;
}

int initial_make(const struct initial_options *options, int *ret, struct error *e)
{
	const struct initial_file *files = options->files;
	static const char *const dirs[] = { "berth", "berth/lib", "dev", "proc", "sys", "run",
		"etc", "tmp" };
	struct archive archive = {};
	cleanup(free) char *init = NULL;
	size_t length;
	int r = file_read(AT_FDCWD, options->agent, MODULE_BYTES, &init, &length, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		add(&archive, dirs[i], MODE_DIRECTORY, NULL, 0);
	add(&archive, "init", MODE_EXECUTABLE, init, length);
	r = add_modules(&archive, options->kernel, options->modules, e);
	if (!options->is_choice)
		add(&archive, "berth/modules", MODE_FILE, text_str(&archive.list),
			archive.list.length);
	for (size_t i = 0; i < options->file_count; i++)
		add(&archive, files[i].path,
			(files[i].mode & S_IFMT) ? files[i].mode : S_IFREG | files[i].mode,
			files[i].data, files[i].length);
	add(&archive, "TRAILER!!!", 0, NULL, 0);
	cleanup(close) int fd = memfd_create("initrd", MFD_CLOEXEC);
	if (r == 0 && fd < 0)
		r = error_errno(e, "make the initial file system");
	if (r == 0) {
		r = file_write_all(fd, text_str(&archive.bytes), archive.bytes.length);
		if (r < 0)
			error_code(e, r, "make the initial file system");
	}
	text_done(&archive.bytes);
	text_done(&archive.list);
	if (r == 0)
		*ret = TAKE_FD(fd);
	return r;
}
