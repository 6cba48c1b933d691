/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pack.h - writes tar archives of trees: what unpack.h reads.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"
#include "job/digest.h"

struct pack;

/* `compression` is "gzip", "zstd", "xz", "bzip2" or "none". The archive is written to `output`. */
int pack_new(int output, const char *compression, struct pack **ret, struct error *e) must_use;
void pack_free(struct pack *pack);
DEFINE_CLEANUP(struct pack *, pack_free);

/* `report` hears of every file with the bytes written so far. */
void pack_set_report(struct pack *pack, void (*report)(void *data, uint64_t bytes), void *data);

/* A small file with the mode 0644 of root. */
int pack_add_file(struct pack *pack, const char *name, const char *text, size_t length,
	struct error *e) must_use;

/*
 * Everything in `dir`, below `prefix` ("" for none). Device nodes and sockets are left out; of the attributes
 * user.* and file capabilities are kept.
 */
int pack_add_tree(struct pack *pack, const char *prefix, int dir, struct error *e) must_use;

/* One open file under a name of its own, with its holes. */
int pack_add_open_file(struct pack *pack, const char *name, int fd, struct error *e) must_use;

/* Writes the end; `digest` and `ret_size` are of the archive's bytes. */
int pack_finish(struct pack *pack, char digest[DIGEST_HEX_SIZE], uint64_t *ret_size,
	struct error *e) must_use;
