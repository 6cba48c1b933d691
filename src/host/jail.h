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

/* Namespaces with nothing in them, for many processes; a descriptor each, or <= 0: none. */
enum jail_room { JAIL_NETWORK, JAIL_MOUNTS, JAIL_IPC, JAIL_UTS, JAIL_ROOMS };

struct jail_rooms {
	int fd[JAIL_ROOMS];
};

/* A system call that is allowed with one of these values of 32 bits as its argument `index`. */
struct jail_argument {
	uint16_t call; /* not among those allowed as such */
	uint8_t index;
	const uint32_t *values;
	uint8_t value_count; /* at most JAIL_VALUES_MAX */
};
#define JAIL_VALUES_MAX    32
#define JAIL_ARGUMENTS_MAX 2

struct jail {
	bool become_nobody; /* user and group 65534 and no other, if it is root; no other process reads its memory */
	bool drop_capabilities;        /* all five sets; and no program executed gets any back */
	const struct jail_path *paths; /* used if `limit_paths`; NULL: nothing can be opened */
	size_t path_count;
	bool limit_paths; /* where the kernel has Landlock; else it is passed over */
	uint64_t
		empty_namespaces; /* CLONE_NEWNS, CLONE_NEWNET, ...: new ones with nothing in them */
	struct jail_rooms rooms;  /* entered in place of new ones of their kinds */
	const uint16_t *system_calls; /* the only ones allowed: SYS_*; NULL: all */
	size_t system_call_count;
	const struct jail_argument *arguments; /* and these, if `system_calls` is set */
	size_t argument_count;                 /* at most JAIL_ARGUMENTS_MAX */
	const struct sock_filter *filter;      /* or a program made by somebody else */
	size_t filter_length;
};

/* Carries out the members in this order: namespaces, user, capabilities, paths, system calls. */
int jail_enter(const struct jail *jail, struct error *e) must_use;

/*
 * Namespaces of all kinds with nothing in them: own ones take a process longer to make than all else that
 * jail_enter() does. The caller stays where it is.
 */
int jail_rooms_make(struct jail_rooms *ret, struct error *e) must_use;
/* Those that who started this process handed on by name, as jail_room_name() says. */
void jail_rooms_find(struct jail_rooms *ret);
void jail_rooms_close(struct jail_rooms *rooms);
const char *jail_room_name(enum jail_room room);

/* Drops every capability from all sets; from the bounding set too, unless no_new_privs makes it moot. */
int jail_drop_capabilities(struct error *e) must_use;
