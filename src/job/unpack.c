/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unpack.c - archives by libarchive, entries by root.c.
 *
 * Theory of operation. Two libarchive readers stand one behind the other: the first takes the compression
 * away, the second reads the tar. Between them the bytes are counted and hashed, so that the digest of the
 * plain tar (an OCI layer's identity) and the ratio (a bomb's mark) are known without a second pass.
 */
#include "job/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/xattr.h>

#include "base/file.h"
#include "base/text.h"
#include "job/root.h"

#define BLOCK_BYTES    (128 * KIB)
#define WHITEOUT       ".wh."
#define OPAQUE         ".wh..wh..opq"
#define ATTRIBUTE_MAX  (64 * KIB)
#define ERRNO_OF_LIMIT (-E2BIG)

struct unpack {
	const struct unpack_options *options;
	int input;
	struct digest *digest;
	uint64_t passed; /* bytes of the archive as it is */
	struct digest tar;
	struct archive *outer;
	struct archive *inner;
	struct root *root;
	struct unpack_result result;
	uint64_t bytes_max;
	uint64_t entries_max;
	struct error limit; /* set when a limit ended the reading */
	char block[BLOCK_BYTES];
	char tar_block[BLOCK_BYTES];
};

static la_ssize_t read_input(struct archive *archive, void *data, const void **ret)
{
	struct unpack *unpack = data;
	ssize_t got;
	do
		got = read(unpack->input, unpack->block, BLOCK_BYTES);
	while (got < 0 && errno == EINTR);
	if (got < 0) {
		archive_set_error(archive, errno, "read");
		return ARCHIVE_FATAL;
	}
	unpack->passed += (uint64_t)got;
	if (unpack->digest)
		digest_add(unpack->digest, unpack->block, (size_t)got);
	if (unpack->options->report)
		unpack->options->report(unpack->options->data, unpack->passed);
	*ret = unpack->block;
	return got;
}

static bool is_bomb(const struct unpack *unpack)
{
	return unpack->tar.bytes > UNPACK_FREE_BYTES + UNPACK_RATIO_MAX * unpack->passed;
}

static la_ssize_t read_tar(struct archive *archive, void *data, const void **ret)
{
	struct unpack *unpack = data;
	la_ssize_t got = archive_read_data(unpack->outer, unpack->tar_block, BLOCK_BYTES);
	if (got < 0) {
		archive_set_error(archive, archive_errno(unpack->outer), "%s",
			archive_error_string(unpack->outer));
		return ARCHIVE_FATAL;
	}
	digest_add(&unpack->tar, unpack->tar_block, (size_t)got);
	if (is_bomb(unpack)) {
		error_set(&unpack->limit, ERRNO_OF_LIMIT,
			"it unpacks to more than %d times its size: a bomb", UNPACK_RATIO_MAX);
		archive_set_error(archive, E2BIG, "%s", unpack->limit.text);
		return ARCHIVE_FATAL;
	}
	*ret = unpack->tar_block;
	return got;
}

/* A failed reader's sentence: a limit, the disk, or what is wrong with the archive. */
static int reader_failed(struct unpack *unpack, struct archive *archive, struct error *e)
{
	if (unpack->limit.text[0])
		return error_set(e, ERRNO_OF_LIMIT, "%s", unpack->limit.text);
	const char *why = archive_error_string(archive);
	if (archive_errno(archive) == ENOMEM)
		return error_set(e, -ENOMEM, "the archive asks for too much memory");
	return error_set(e, -EINVAL, "the archive is damaged or of no known format: %s",
		why ? why : "it gives no reason");
}

static int open_readers(struct unpack *unpack, struct error *e)
{
	unpack->outer = archive_read_new();
	unpack->inner = archive_read_new();
	if (!unpack->outer || !unpack->inner)
		return error_set(e, -ENOMEM, "no memory to read an archive");
	archive_read_support_filter_gzip(unpack->outer);
	archive_read_support_filter_xz(unpack->outer);
	archive_read_support_filter_lzma(unpack->outer);
	archive_read_support_filter_zstd(unpack->outer);
	archive_read_support_filter_bzip2(unpack->outer);
	archive_read_support_format_raw(unpack->outer);
	archive_read_support_format_tar(unpack->inner);
	struct archive_entry *entry;
	if (archive_read_open(unpack->outer, unpack, NULL, read_input, NULL) != ARCHIVE_OK ||
		archive_read_next_header(unpack->outer, &entry) != ARCHIVE_OK)
		return reader_failed(unpack, unpack->outer, e);
	if (archive_read_open(unpack->inner, unpack, NULL, read_tar, NULL) != ARCHIVE_OK)
		return reader_failed(unpack, unpack->inner, e);
	return 0;
}

static struct root_dress dress_of(struct archive_entry *entry)
{
	la_int64_t uid = archive_entry_uid(entry), gid = archive_entry_gid(entry);
	return (struct root_dress){
		.mode = archive_entry_perm(entry),
		.uid = uid < 0 || uid > UINT32_MAX ? UINT32_MAX : (uint32_t)uid,
		.gid = gid < 0 || gid > UINT32_MAX ? UINT32_MAX : (uint32_t)gid,
		.modified = { .tv_sec = archive_entry_mtime(entry),
			.tv_nsec = archive_entry_mtime_nsec(entry) },
	};
}

/* An archive may not place an overlay's marks, nor what only the host may say. */
static bool is_kept_attribute(const char *name)
{
	return text_equal(name, "security.capability") ||
		(text_starts(name, "user.") && !text_starts(name, "user.overlay."));
}

static int set_attributes(int fd, struct archive_entry *entry, struct error *e)
{
	const char *name;
	const void *value;
	size_t size;
	archive_entry_xattr_reset(entry);
	while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
		if (!name || !is_kept_attribute(name))
			continue;
		if (size > ATTRIBUTE_MAX)
			return error_set(e, ERRNO_OF_LIMIT, "its attribute %s is too large", name);
		/* A file system without attributes of users loses them, as everywhere. */
		if (fsetxattr(fd, name, value, size, 0) < 0 &&
			!(errno == EOPNOTSUPP && text_starts(name, "user.")))
			return error_errno(e, "set its attribute %s", name);
	}
	return 0;
}

static int add_bytes(struct unpack *unpack, uint64_t bytes, struct error *e)
{
	unpack->result.bytes += bytes;
	if (unpack->result.bytes > unpack->bytes_max)
		return error_set(e, ERRNO_OF_LIMIT, "the archive has more than %ju bytes",
			(uintmax_t)unpack->bytes_max);
	return 0;
}

static int write_at(int fd, const char *data, size_t length, off_t offset, struct error *e)
{
	while (length > 0) {
		ssize_t put = pwrite(fd, data, length, offset);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return error_errno(e, "write it");
		data += put;
		offset += put;
		length -= (size_t)put;
	}
	return 0;
}

static uint64_t size_of(struct archive_entry *entry)
{
	return archive_entry_size_is_set(entry) && archive_entry_size(entry) > 0
		? (uint64_t)archive_entry_size(entry)
		: 0;
}

static int unpack_data(struct unpack *unpack, int fd, struct archive_entry *entry, struct error *e)
{
	uint64_t size = size_of(entry);
	if (size > unpack->bytes_max)
		return error_set(
			e, ERRNO_OF_LIMIT, "it says that it has %ju bytes", (uintmax_t)size);
	for (;;) {
		const void *data;
		size_t length;
		la_int64_t offset;
		int r = archive_read_data_block(unpack->inner, &data, &length, &offset);
		if (r == ARCHIVE_EOF)
			break;
		if (r < ARCHIVE_WARN || offset < 0)
			return reader_failed(unpack, unpack->inner, e);
		if ((uint64_t)offset + length > size)
			return error_set(e, -EINVAL, "it has more bytes than it says");
		r = add_bytes(unpack, length, e);
		if (r == 0)
			r = write_at(fd, data, length, offset, e);
		if (r < 0)
			return r;
	}
	return ftruncate(fd, (off_t)size) < 0 ? error_errno(e, "set its size") : 0;
}

static int unpack_file(
	struct unpack *unpack, const char *name, struct archive_entry *entry, struct error *e)
{
	struct root_dress dress = dress_of(entry);
	cleanup(close) int fd = root_make_file(unpack->root, name, e);
	if (fd < 0)
		return fd;
	int r = unpack_data(unpack, fd, entry, e);
	if (r == 0)
		r = root_dress_file(fd, &dress, e);
	/* After the owner, whose change takes capabilities away. */
	return r < 0 ? r : set_attributes(fd, entry, e);
}

static int unpack_dir(
	struct unpack *unpack, const char *name, struct archive_entry *entry, struct error *e)
{
	struct root_dress dress = dress_of(entry);
	cleanup(close) int fd = root_make_dir(unpack->root, name, &dress, e);
	return fd < 0 ? fd : set_attributes(fd, entry, e);
}

/* The place of an entry below the root, in `name`; NULL if it is left out. */
static const char *place_of(const struct unpack *unpack, const char *name)
{
	const char *prefix = unpack->options->prefix;
	if (unpack->options->wants && !unpack->options->wants(name))
		return NULL;
	if (!prefix)
		return name;
	size_t length = strlen(prefix);
	if (strncmp(name, prefix, length) != 0 || (name[length] != '\0' && name[length] != '/'))
		return NULL;
	return name[length] == '/' ? name + length + 1 : name + length;
}

static int unpack_hard_link(
	struct unpack *unpack, const char *name, const char *target, struct error *e)
{
	cleanup(free) char *clean = NULL;
	int r = root_clean_name(target, &clean, e);
	if (r < 0)
		return error_prefix(e, r, "it is another name for %s", target);
	const char *place = place_of(unpack, clean);
	if (!place)
		return error_set(
			e, -EINVAL, "it is another name for %s, outside of the root", target);
	return root_make_hard_link(unpack->root, name, place, e);
}

static int unpack_whiteout(struct unpack *unpack, const char *name, struct error *e)
{
	const char *slash = strrchr(name, '/');
	const char *last = slash ? slash + 1 : name;
	cleanup(free) char *parent = alloc_text_n(name, slash ? (size_t)(slash - name) : 0);
	if (text_equal(last, OPAQUE))
		return root_make_opaque(unpack->root, parent, e);
	const char *gone = last + strlen(WHITEOUT);
	if (text_starts(gone, ".wh."))
		return 0; /* notes of an older union file system */
	if (!*gone || text_equal(gone, ".") || text_equal(gone, ".."))
		return error_set(e, -EINVAL, "a whiteout without a name");
	cleanup(free) char *path = alloc_printf("%s%s%s", parent, *parent ? "/" : "", gone);
	return root_make_whiteout(unpack->root, path, e);
}

static bool is_whiteout(const char *name)
{
	const char *slash = strrchr(name, '/');
	return text_starts(slash ? slash + 1 : name, WHITEOUT);
}

static int unpack_entry(
	struct unpack *unpack, const char *name, struct archive_entry *entry, struct error *e)
{
	if (unpack->options->with_whiteouts && is_whiteout(name))
		return unpack_whiteout(unpack, name, e);
	const char *target = archive_entry_hardlink(entry);
	if (target)
		return unpack_hard_link(unpack, name, target, e);
	struct root_dress dress = dress_of(entry);
	switch (archive_entry_filetype(entry)) {
	case AE_IFDIR:
		return unpack_dir(unpack, name, entry, e);
	case AE_IFREG:
		return unpack_file(unpack, name, entry, e);
	case AE_IFLNK:
		target = archive_entry_symlink(entry);
		if (!target)
			return error_set(e, -EINVAL, "a link without a target");
		return root_make_link(unpack->root, name, target, &dress, e);
	case AE_IFIFO:
		return root_make_fifo(unpack->root, name, &dress, e);
	default:
		unpack->result.skipped++;
		return 0;
	}
}

static int unpack_only(
	struct unpack *unpack, const char *place, struct archive_entry *entry, struct error *e)
{
	if (*place || archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry))
		return 0;
	unpack->result.has_file = true;
	return unpack_data(unpack, unpack->options->file, entry, e);
}

static int take_entry(struct unpack *unpack, struct archive_entry *entry, struct error *e)
{
	const char *name = archive_entry_pathname(entry);
	if (!name)
		return error_set(e, -EINVAL, "an entry's name is missing or not UTF-8");
	if (++unpack->result.entries > unpack->entries_max)
		return error_set(e, ERRNO_OF_LIMIT, "the archive has more than %ju entries",
			(uintmax_t)unpack->entries_max);
	cleanup(free) char *clean = NULL;
	int r = root_clean_name(name, &clean, e);
	const char *place = r < 0 ? NULL : place_of(unpack, clean);
	if (place && unpack->options->has_file)
		r = unpack_only(unpack, place, entry, e);
	else if (place)
		r = unpack_entry(unpack, place, entry, e);
	else if (r == 0 && unpack->options->left_out)
		unpack->options->left_out(unpack->options->data, clean, size_of(entry));
	return r < 0 ? error_prefix(e, r, "entry %.200s", name) : 0;
}

/* Reads what stands behind the archive's end: the digests are of all bytes. */
static int drain(struct unpack *unpack, struct error *e)
{
	for (;;) {
		const void *data;
		la_ssize_t got = read_tar(unpack->inner, unpack, &data);
		if (got < 0)
			return reader_failed(unpack, unpack->inner, e);
		if (got == 0)
			break;
	}
	if (unpack->digest)
		return digest_add_rest(unpack->digest, unpack->input, e);
	return 0;
}

static int run(struct unpack *unpack, struct error *e)
{
	int r = open_readers(unpack, e);
	while (r == 0) {
		struct archive_entry *entry;
		int got = archive_read_next_header(unpack->inner, &entry);
		if (got == ARCHIVE_EOF)
			break;
		r = got < ARCHIVE_WARN ? reader_failed(unpack, unpack->inner, e)
				       : take_entry(unpack, entry, e);
	}
	if (r == 0)
		r = root_finish(unpack->root, e);
	return r < 0 ? r : drain(unpack, e);
}

int unpack_archive(int input, int to, const struct unpack_options *options, struct digest *digest,
	struct unpack_result *ret, struct error *e)
{
	struct unpack *unpack = alloc(struct unpack);
	unpack->options = options;
	unpack->input = input;
	unpack->digest = digest;
	unpack->bytes_max = options->bytes_max ?: UNPACK_BYTES_MAX;
	unpack->entries_max = options->entries_max ?: UNPACK_ENTRIES_MAX;
	unpack->root = root_new(to);
	digest_start(&unpack->tar);
	mode_t mask = umask(0);
	int r = run(unpack, e);
	umask(mask);
	if (r == 0) {
		digest_end(&unpack->tar, unpack->result.tar_digest);
		*ret = unpack->result;
	}
	archive_read_free(unpack->inner);
	archive_read_free(unpack->outer);
	root_free(unpack->root);
	free(unpack);
	return r;
}
