/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rights.h - the last steps of a process on its way into a program: limits, user, capabilities, filter.
 */
#pragma once

#include "container/container.h"
#include "container/users.h"

/* Resolves the user of the process in the container's own files. */
int rights_find_user(const struct container_process *process, int root, struct user *ret,
	struct error *e) must_use;

/* Sets resource limits; a hard limit above ours is cut to it, and if `say` that is said on standard error. */
int rights_set_limits(const struct container_process *process, bool say, struct error *e) must_use;

/* Puts `terminal`, or if that is -1 `stdio` (-1: /dev/null), on 0, 1 and 2. The table must be our own. */
int rights_place_stdio(const int stdio[3], int terminal, struct error *e) must_use;

/* Goes to the working directory; refuses one that is not below the root. */
int rights_enter_cwd(const char *cwd, struct error *e) must_use;

/* Takes on the user, capabilities, no_new_privs and filter. After it only execute. */
int rights_take(
	const struct container_process *process, const struct user *user, struct error *e) must_use;

/* Whether there is such a program: 0, -ENOENT or -EACCES. */
int rights_look_up(const char *const *args, const char *const *env, struct error *e) must_use;

/*
 * Executes the program, looked up in PATH of `env`. Returns only on failure: -ENOENT or -EACCES for the
 * program. Every descriptor above 2 must be close-on-exec.
 */
int rights_execute(const char *const *args, const char *const *env, struct error *e) must_use;
