/* SPDX-License-Identifier: Apache-2.0 */
/*
 * entry.h - an open door to the files of one instance: the helper that enters it, one question at a time
 * (abi/files.h).
 */
#pragma once

#include "abi/files.h"
#include "daemon/instance/instances.h"

struct entry;

/* Once a question: what the helper answered, or a negative errno and why. The entry may be closed in it. */
typedef void entry_answer(
	void *data, int code, const struct error *e, const struct files_answer *answer);

/* What is asked, and about which path. */
struct entry_question {
	enum files_type type;
	uint32_t flags;
	uint32_t mode, uid, gid; /* FILES_KEEP */
	uint64_t limit_bytes;
	const char *path;
	const char *target; /* NULL: none */
	int fd;             /* given to the helper; the caller closes it; -1: none */
};

/* Starts the helper. An instance that does not run is claimed until entry_close(). */
int entry_open(struct instance *instance, struct entry **ret, struct error *e) must_use;

/* The last question must be answered. `e` says why nothing was asked. */
int entry_ask(struct entry *entry, const struct entry_question *question, entry_answer *answer,
	void *data, struct error *e) must_use;

/* The helper ends after what it is doing; no answer comes any more. */
void entry_close(struct entry *entry);
