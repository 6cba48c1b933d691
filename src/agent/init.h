/* SPDX-License-Identifier: Apache-2.0 */
/*
 * init.h - the agent as the first process of a microVM.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

/*
 * Mounts the kernel's file systems, loads the modules that /berth/modules lists, and makes the root that
 * the kernel's command line names the root:
 *   berth.root=DEVICE      a read-only image: erofs, squashfs, ext4 (berth.type=TYPE, erofs without it)
 *   berth.upper=DEVICE     ext4, laid over it writable; or "memory"
 *   berth.disk=DEVICE      in place of both a disk with a system of its own, whole or partitioned: its
 *                          /sbin/init becomes process 1, and the agent serves beside it
 *   berth.exec=PROGRAM     the main program; when it ends, the machine does
 * The file /berth/configure has the lines of CONFIGURE (abi/agent.h), /berth/command the main program.
 * Without berth.root the initial file system stays. Sentences go to the console.
 */
struct init {
	char exec[256];
	char *command; /* what /berth/command holds, or NULL */
	size_t command_length;
	bool is_guest_of_init;
};

int init_set_up(struct init *ret, struct error *e) must_use;

/* Starts what is to run, and waits for the end of the machine. `server` is the child that serves. */
void init_run(const struct init *init) __attribute__((__noreturn__));

/* A line on the console. */
void init_say(const char *format, ...) printf_like(1, 2);
