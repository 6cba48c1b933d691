/* SPDX-License-Identifier: Apache-2.0 */
/*
 * entry.h - reads and writes files of an instance through the helper that enters it (doc/plan.md).
 */
#pragma once

#include "daemon/instances.h"

struct entry;

/*
 * Once: what the helper said, borrowed, and for the content of a file `data`, a pipe that is the callee's (else
 * -1); or a negative errno and why.
 */
typedef void entry_done(
	void *data, int code, const struct error *e, const json_t *answer, int content);

/*
 * Asks the helper `request`: {"do": "get", "path": ...}, taken over. `content` is the file to write, borrowed; -1
 * if there is none. For an instance that runs or does not.
 */
int entry_ask(struct instance *instance, json_t *request, int content, entry_done *done, void *data,
	struct entry **ret, struct error *e) must_use;

/* Nobody listens any more. */
void entry_forget(struct entry *entry);

/* Lets the helper speak SFTP on the stream socket, which stays the caller's. */
int entry_sftp(struct instance *instance, int socket, struct error *e) must_use;
