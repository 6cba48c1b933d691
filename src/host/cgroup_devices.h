/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup_devices.h - which device nodes the processes of a group can open or make.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"
#include "host/cgroup.h"

#define CGROUP_DEVICES_MAX 256

struct cgroup_device {
	char type;     /* 'c' or 'b' */
	int64_t major; /* -1: any */
	int64_t minor;
	const char *access; /* of "rwm" */
};

/*
 * From now on only these devices can be opened (r, w) or made (m): files of v1, or a program
 * attached to the v2 group, in place of the one before.
 */
int cgroup_devices_allow(struct cgroup *group, const struct cgroup_device *devices, size_t count,
	struct error *e) must_use;
