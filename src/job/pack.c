/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pack.c - tar archives by libarchive.
 */
#include "job/pack.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/file.h"
#include "base/text.h"

#define BLOCK_BYTES   (128 * KIB)
#define ATTRIBUTE_MAX (64 * KIB)
#define DEPTH_MAX     1000

struct pack {
	int output;
	struct digest digest;
	struct archive *archive;
	struct archive_entry_linkresolver *links;
	void (*report)(void *data, uint64_t bytes);
	void *data;
	int write_error; /* errno of the output */
	char block[BLOCK_BYTES];
};

static la_ssize_t write_output(
	struct archive *archive, void *data, const void *bytes, size_t length)
{
	struct pack *pack = data;
	int r = file_write_all(pack->output, bytes, length);
	if (r < 0) {
		pack->write_error = -r;
		archive_set_error(archive, -r, "write the archive");
		return -1;
	}
	digest_add(&pack->digest, bytes, length);
	return (la_ssize_t)length;
}

static int writer_failed(struct pack *pack, struct error *e)
{
	if (pack->write_error)
		return error_code(e, -pack->write_error, "write the archive");
	const char *why = archive_error_string(pack->archive);
	return error_set(e, -EIO, "write the archive: %s", why ? why : "no reason is given");
}

static int choose_compression(struct archive *archive, const char *name)
{
	if (text_equal(name, "gzip"))
		return archive_write_add_filter_gzip(archive);
	if (text_equal(name, "zstd"))
		return archive_write_add_filter_zstd(archive);
	if (text_equal(name, "xz"))
		return archive_write_add_filter_xz(archive);
	if (text_equal(name, "bzip2"))
		return archive_write_add_filter_bzip2(archive);
	return text_equal(name, "none") ? archive_write_add_filter_none(archive) : ARCHIVE_FATAL;
}

int pack_new(int output, const char *compression, struct pack **ret, struct error *e)
{
	cleanup(pack_free) struct pack *pack = alloc(struct pack);
	pack->output = output;
	digest_start(&pack->digest);
	pack->archive = archive_write_new();
	pack->links = archive_entry_linkresolver_new();
	if (!pack->archive || !pack->links)
		return error_set(e, -ENOMEM, "no memory to write an archive");
	if (choose_compression(pack->archive, compression) != ARCHIVE_OK)
		return error_set(e, -EINVAL,
			"compression: \"%s\" is none of gzip, zstd, xz, bzip2, none", compression);
	archive_write_set_format_pax_restricted(pack->archive);
	archive_entry_linkresolver_set_strategy(pack->links, archive_format(pack->archive));
	archive_write_set_bytes_in_last_block(pack->archive, 1);
	if (archive_write_open(pack->archive, pack, NULL, write_output, NULL) != ARCHIVE_OK)
		return writer_failed(pack, e);
	*ret = TAKE_PTR(pack);
	return 0;
}

void pack_free(struct pack *pack)
{
	if (!pack)
		return;
	archive_entry_linkresolver_free(pack->links);
	archive_write_free(pack->archive);
	free(pack);
}

void pack_set_report(struct pack *pack, void (*report)(void *data, uint64_t bytes), void *data)
{
	pack->report = report;
	pack->data = data;
}

static void archive_entry_free_cleanup(struct archive_entry **local)
{
	archive_entry_free(*local);
}

int pack_add_file(
	struct pack *pack, const char *name, const char *text, size_t length, struct error *e)
{
	cleanup(archive_entry_free) struct archive_entry *entry = archive_entry_new();
	archive_entry_set_pathname(entry, name);
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_perm(entry, 0644);
	archive_entry_set_size(entry, (la_int64_t)length);
	if (archive_write_header(pack->archive, entry) < ARCHIVE_WARN ||
		archive_write_data(pack->archive, text, length) != (la_ssize_t)length)
		return writer_failed(pack, e);
	return 0;
}

static void add_attributes(int fd, struct archive_entry *entry)
{
	char names[4096];
	ssize_t size = flistxattr(fd, names, sizeof(names));
	for (const char *name = names; size > 0 && name < names + size; name += strlen(name) + 1) {
		if (!text_starts(name, "user.") && !text_equal(name, "security.capability"))
			continue;
		cleanup(free) char *value = alloc_array(ATTRIBUTE_MAX, char);
		ssize_t length = fgetxattr(fd, name, value, ATTRIBUTE_MAX);
		if (length >= 0)
			archive_entry_xattr_add_entry(entry, name, value, (size_t)length);
	}
}

static void add_holes(int fd, const struct stat *status, struct archive_entry *entry)
{
	if ((off_t)status->st_blocks * 512 >= status->st_size)
		return;
	off_t start = lseek(fd, 0, SEEK_DATA);
	if (start < 0 && errno == ENXIO)
		archive_entry_sparse_add_entry(entry, status->st_size, 0);
	while (start >= 0) {
		off_t end = lseek(fd, start, SEEK_HOLE);
		if (end < 0)
			break;
		archive_entry_sparse_add_entry(entry, start, end - start);
		start = lseek(fd, end, SEEK_DATA);
	}
	lseek(fd, 0, SEEK_SET);
}

/* Exactly the size of the header: a file that shrank meanwhile is filled up, one that grew is cut. */
static int add_data(struct pack *pack, int fd, off_t size, struct error *e)
{
	off_t at = 0;
	while (at < size) {
		size_t wanted = size - at < (off_t)BLOCK_BYTES ? (size_t)(size - at) : BLOCK_BYTES;
		ssize_t got = pread(fd, pack->block, wanted, at);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_errno(e, "read");
		if (got == 0) {
			memset(pack->block, 0, wanted);
			got = (ssize_t)wanted;
		}
		if (archive_write_data(pack->archive, pack->block, (size_t)got) < 0)
			return writer_failed(pack, e);
		at += got;
	}
	return 0;
}

static int add_entry(
	struct pack *pack, const char *path, int dir, const char *name, struct error *e);

static int add_inside(struct pack *pack, const char *path, int dir, unsigned depth, struct error *e)
{
	if (depth > DEPTH_MAX)
		return error_set(e, -E2BIG, "more than %d directories deep", DEPTH_MAX);
	int again = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *entries = again < 0 ? NULL : fdopendir(again);
	if (!entries)
		return error_errno(e, "list %s", path);
	int r = 0;
	for (struct dirent *item; r == 0 && (item = readdir(entries));) {
		if (text_equal(item->d_name, ".") || text_equal(item->d_name, ".."))
			continue;
		cleanup(free) char *inside =
			alloc_printf("%s%s%s", path, *path ? "/" : "", item->d_name);
		r = add_entry(pack, inside, dir, item->d_name, e);
		if (r == 0 && item->d_type == DT_DIR) {
			cleanup(close) int fd = openat(
				dir, item->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			r = fd < 0 ? error_errno(e, "open %s", inside)
				   : add_inside(pack, inside, fd, depth + 1, e);
		}
	}
	closedir(entries);
	return r;
}

static int write_entry(struct pack *pack, struct archive_entry *entry, int fd,
	const struct stat *status, struct error *e)
{
	/* A later name of a file that was written becomes a link to it, without data. */
	struct archive_entry *spare = NULL;
	archive_entry_linkify(pack->links, &entry, &spare);
	if (archive_write_header(pack->archive, entry) < ARCHIVE_WARN)
		return writer_failed(pack, e);
	int r = 0;
	if (S_ISREG(status->st_mode) && archive_entry_size(entry) > 0)
		r = add_data(pack, fd, status->st_size, e);
	if (r == 0 && archive_write_finish_entry(pack->archive) < ARCHIVE_WARN)
		r = writer_failed(pack, e);
	if (pack->report)
		pack->report(pack->data, pack->digest.bytes);
	return r;
}

static int add_entry(
	struct pack *pack, const char *path, int dir, const char *name, struct error *e)
{
	struct stat status;
	if (fstatat(dir, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : error_errno(e, "stat %s", path);
	if (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode) || S_ISSOCK(status.st_mode))
		return 0;
	cleanup(close) int fd = -1;
	if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)) {
		fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0 || fstat(fd, &status) < 0)
			return errno == ENOENT ? 0 : error_errno(e, "open %s", path);
	}
	cleanup(archive_entry_free) struct archive_entry *entry = archive_entry_new();
	archive_entry_set_pathname(entry, path);
	archive_entry_copy_stat(entry, &status);
	if (S_ISLNK(status.st_mode)) {
		char target[4096];
		ssize_t length = readlinkat(dir, name, target, sizeof(target) - 1);
		if (length < 0)
			return error_errno(e, "read the link %s", path);
		target[length] = '\0';
		archive_entry_set_symlink(entry, target);
	} else if (fd >= 0) {
		add_attributes(fd, entry);
	}
	if (S_ISREG(status.st_mode))
		add_holes(fd, &status, entry);
	int r = write_entry(pack, entry, fd, &status, e);
	return r < 0 ? error_prefix(e, r, "%s", path) : 0;
}

int pack_add_open_file(struct pack *pack, const char *name, int fd, struct error *e)
{
	struct stat status;
	if (fstat(fd, &status) < 0)
		return error_errno(e, "stat %s", name);
	cleanup(archive_entry_free) struct archive_entry *entry = archive_entry_new();
	archive_entry_set_pathname(entry, name);
	archive_entry_copy_stat(entry, &status);
	archive_entry_set_uid(entry, 0);
	archive_entry_set_gid(entry, 0);
	add_holes(fd, &status, entry);
	int r = write_entry(pack, entry, fd, &status, e);
	return r < 0 ? error_prefix(e, r, "%s", name) : 0;
}

int pack_add_tree(struct pack *pack, const char *prefix, int dir, struct error *e)
{
	int r = *prefix ? add_entry(pack, prefix, dir, ".", e) : 0;
	return r < 0 ? r : add_inside(pack, prefix, dir, 0, e);
}

int pack_finish(
	struct pack *pack, char digest[DIGEST_HEX_SIZE], uint64_t *ret_size, struct error *e)
{
	if (archive_write_close(pack->archive) < ARCHIVE_WARN)
		return writer_failed(pack, e);
	*ret_size = pack->digest.bytes;
	digest_end(&pack->digest, digest);
	return 0;
}
