/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter.h - makes a seccomp program from rules on system calls by name.
 *
 * Rules of one system call are tried in their order; the first whose conditions all hold decides. A
 * call that no rule decides gets the default action; one newer than this table, -ENOSYS if the default
 * is an error. 32-bit programs of the same machine are filtered by the same names.
 */
#pragma once

#include <linux/filter.h>

#include "base/base.h"
#include "base/error.h"

#define FILTER_RULES_MAX      4096
#define FILTER_CONDITIONS_MAX 6

enum filter_operator {
	FILTER_EQUAL,
	FILTER_NOT_EQUAL,
	FILTER_LESS,
	FILTER_LESS_OR_EQUAL,
	FILTER_GREATER,
	FILTER_GREATER_OR_EQUAL,
	FILTER_MASKED_EQUAL, /* (argument & mask) == value */
};

struct filter_condition {
	uint8_t argument; /* 0 to 5 */
	enum filter_operator how;
	uint64_t value;
	uint64_t mask;
};

struct filter_rule {
	const char *name;
	uint32_t action; /* SECCOMP_RET_*, with its data */
	struct filter_condition conditions[FILTER_CONDITIONS_MAX];
	size_t condition_count;
};

struct filter_options {
	uint32_t default_action;
	const struct filter_rule
		*rules; /* of names this kernel's headers do not know: passed over */
	size_t rule_count;
	bool has_native; /* else calls of that architecture end the process */
	bool has_32bit;
};

/* The caller frees *ret. */
int filter_compile(const struct filter_options *options, struct sock_filter **ret,
	size_t *ret_length, struct error *e) must_use;

/* Whether there is a system call of that name. */
bool filter_knows(const char *name);

/* Calls for the name of each system call, in the order of the alphabet. */
typedef void filter_name_call(void *data, const char *name);
void filter_for_each_name(filter_name_call *call, void *data);
