/* SPDX-License-Identifier: Apache-2.0 */
/*
 * profile.h - the seccomp programs that containers get by default, compiled when berth is built.
 */
#pragma once

#include <linux/filter.h>

#include "base/base.h"

enum profile {
	PROFILE_APPLICATION, /* no namespace, no mount, nothing of the host's kernel */
	PROFILE_SYSTEM,      /* an init: mounts and namespaces, but no user namespace */
	PROFILE_NESTING,     /* user namespaces too, for containers in the container */
	PROFILE_COUNT
};

struct profile_program {
	const struct sock_filter *filter;
	size_t length;
};

extern const struct profile_program profiles[PROFILE_COUNT];
