/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jail.h - gives up rights for good: capabilities, new privileges, system calls, paths, namespaces.
 */
#pragma once

#include <linux/filter.h>
#include <stddef.h>

#include "base/base.h"
#include "base/error.h"

/* A directory and what may be done below it: LANDLOCK_ACCESS_FS_*. Nothing else can be opened. */
struct jail_path {
	int dir;
	uint64_t access;
};

struct jail {
	bool drop_capabilities;        /* all five sets; and no program executed gets any back */
	const struct jail_path *paths; /* used if `limit_paths`; NULL: nothing can be opened */
	size_t path_count;
	bool limit_paths; /* where the kernel has Landlock; else it is passed over */
	uint64_t
		empty_namespaces; /* CLONE_NEWNS, CLONE_NEWNET, ...: new ones with nothing in them */
	int network; /* > 0: a namespace that is entered in place of a new CLONE_NEWNET */
	const uint16_t *system_calls; /* the only ones allowed: SYS_*; NULL: all */
	size_t system_call_count;
	const struct sock_filter *filter; /* or a program made by somebody else */
	size_t filter_length;
};

/* Carries out the members in this order: namespaces, capabilities, paths, system calls. */
int jail_enter(const struct jail *jail, struct error *e) must_use;

/*
 * A network namespace with nothing in it, for many: one of its own takes a process longer to make than
 * all else that jail_enter() does. The caller stays where it is. *ret is a descriptor.
 */
int jail_empty_network(int *ret, struct error *e) must_use;

/* Drops every capability from all sets; from the bounding set too, unless no_new_privs makes it moot. */
int jail_drop_capabilities(struct error *e) must_use;
