/* SPDX-License-Identifier: Apache-2.0 */
/*
 * caps.h - capabilities by name, the usual sets, and the set of the calling process.
 */
#pragma once

#include "container/container.h"

#define CAP_ALL (~UINT64_C(0))

/* The bit of "CAP_CHOWN" or "CHOWN", of any case; 0 if there is none of that name. */
uint64_t caps_bit(const char *name);

/* "CAP_CHOWN" of a number, or NULL. */
const char *caps_name(unsigned int number);

/* What an application has by default: what the well-known runtimes give, without mknod. */
extern const uint64_t caps_application;

/*
 * What a system container has below a user namespace, where nothing of it reaches the host: all but what
 * is only of use on the host's kernel, so that its systemd does not try.
 */
extern const uint64_t caps_system;

/* What a system container without a user namespace has: all but what reaches the host's kernel. */
extern const uint64_t caps_system_privileged;

/* The sets for a process that has `caps` and no more: inheritable and ambient are empty. */
struct container_caps caps_sets(uint64_t caps);

/* The permitted set of this process. */
uint64_t caps_ours(void);

/* Makes all permitted capabilities effective again, after a change of the file system user. */
int caps_raise(struct error *e) must_use;

/* Reduces the bounding set. Before the user changes. */
int caps_bound(uint64_t bounding, struct error *e) must_use;

/* Sets the other four. After the user has changed under PR_SET_KEEPCAPS. */
int caps_apply(const struct container_caps *caps, struct error *e) must_use;
