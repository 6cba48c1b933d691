/* SPDX-License-Identifier: Apache-2.0 */
/*
 * life.h - the verbs that make, start and end containers of bundles.
 */
#pragma once

#include "container/exec.h"
#include "container/oci/box.h"
#include "container/start.h"

struct life_options {
	const char *root;
	const char *id;
	const char *bundle;
	const char *pid_file;       /* NULL: none */
	const char *console_socket; /* NULL: none */
	bool is_detached;
	bool is_kept; /* `run` does not delete it at its end */
};

int life_create(const struct life_options *options, struct started *ret, struct error *e) must_use;
int life_start(const char *root, const char *id, struct error *e) must_use;
int life_kill(const char *root, const char *id, int signal, bool all, struct error *e) must_use;
int life_delete(const char *root, const char *id, bool force, struct error *e) must_use;
/* The exit status of the program, or -errno. */
int life_run(const struct life_options *options, struct error *e) must_use;

struct life_exec_options {
	struct life_options life;
	json_t *process; /* as of config.json */
};
int life_exec(const struct life_exec_options *options, struct error *e) must_use;
