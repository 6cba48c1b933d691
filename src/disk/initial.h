/* SPDX-License-Identifier: Apache-2.0 */
/*
 * initial.h - an initial file system for Linux: the agent as its init, modules, and files.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

struct initial_file {
	const char *path;
	const void *data;
	size_t length;
	uint32_t mode; /* a type in it makes a directory or, of `data`, a link */
};

struct initial_options {
	const char *kernel;         /* a directory with lib/modules */
	const char *agent;          /* the program's path */
	const char *const *modules; /* by name, NULL at the end; what they need comes along */
	bool is_choice;             /* the init chooses: no list of what is to be loaded */
	const struct initial_file *files;
	size_t file_count;
};

/*
 * A cpio archive (newc) in a memfd. A module that the kernel has built in or has not at all is passed over.
 * /berth/modules lists what is there in the order of loading.
 */
int initial_make(const struct initial_options *options, int *ret, struct error *e) must_use;
