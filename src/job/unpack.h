/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unpack.h - a tar archive, plain or compressed, unpacked into a directory; nothing of it is believed.
 *
 * Formats: tar (ustar, pax, GNU) in gzip, xz, zstd, bzip2 or nothing. Kept: owners 0 to 65535, set-id bits,
 * times, links, holes, user.* attributes and file capabilities. Skipped: device nodes, sockets, other
 * attributes. Refused, with the entry's name: absolute names and `..`, anything that leads through a link,
 * owners outside the range, more than the limits. What was unpacked until then is left to the caller to
 * remove.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"
#include "job/digest.h"

#define UNPACK_BYTES_MAX   (UINT64_C(256) * GIB)
#define UNPACK_ENTRIES_MAX (UINT64_C(4) * MIB)
/* An archive may unpack to this much, and to this many times its own size beyond it. */
#define UNPACK_FREE_BYTES (256 * MIB)
#define UNPACK_RATIO_MAX  200

struct unpack_options {
	bool with_whiteouts;             /* OCI: `.wh.` entries become an overlay's marks */
	bool (*wants)(const char *name); /* false: leave the entry out; NULL: all */
	/* Told of each entry that is left out, and how many bytes it says it has; may be NULL. */
	void (*left_out)(void *data, const char *name, uint64_t bytes);
	const char *prefix;   /* only what is below it, without it; NULL: all */
	bool has_file;        /* the entry `prefix` itself is a file, and goes to */
	int file;             /* this descriptor; nothing else is unpacked */
	uint64_t bytes_max;   /* 0: UNPACK_BYTES_MAX */
	uint64_t entries_max; /* 0: UNPACK_ENTRIES_MAX */
	void (*report)(void *data, uint64_t passed); /* bytes of the archive; may be NULL */
	void *data;
};

struct unpack_result {
	uint64_t bytes; /* of files */
	uint64_t entries;
	uint64_t skipped;                 /* devices and sockets */
	bool has_file;                    /* what `file` is for was there */
	char tar_digest[DIGEST_HEX_SIZE]; /* SHA-256 of the archive without its compression */
};

/*
 * Unpacks the archive that `input` stands at the beginning of into the empty directory `to`. All bytes up to
 * the end of `input` are read and added to `digest` (may be NULL).
 */
int unpack_archive(int input, int to, const struct unpack_options *options, struct digest *digest,
	struct unpack_result *ret, struct error *e) must_use;
