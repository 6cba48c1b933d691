/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree.h - a directory with everything in it: copied, counted, removed.
 *
 * Whoever wrote the tree may be hostile: no link is ever followed, and names are taken one by one below an
 * open directory.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

#define TREE_DEPTH_MAX 1000

struct tree_size {
	uint64_t bytes; /* allocated; a file with several names counts once for each */
	uint64_t entries;
};

/*
 * Called now and then with what is done so far; a return below 0 stops the work with that code.
 */
typedef int tree_progress(void *data, const struct tree_size *done);

/*
 * Copies everything in `from` into the existing directory `to`: owners, modes, times, holes, hard links,
 * attributes, and device nodes (an overlay's whiteouts). Data is shared where the file system can. Not
 * copied: sockets, and the overlay's notes on where a file came from, which are wrong in the copy.
 */
int tree_copy(int from, int to, tree_progress *progress, void *data, struct error *e) must_use;

/* Counts what is in `dir`. */
int tree_measure(int dir, struct tree_size *ret, struct error *e) must_use;

/* Copies every attribute of `from` to `to` but those that tree_copy() leaves out. */
int tree_copy_attributes(int from, int to, struct error *e) must_use;

/* Copies a file's bytes and its holes; shares them where it can. `to` is empty. */
int tree_copy_file(int from, int to, struct error *e) must_use;
