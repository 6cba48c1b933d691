/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume_ref.h - the name of a volume or of one of its snapshots.
 */
#pragma once

#include "base/error.h"

enum volume_type {
	VOLUME_TYPE_CONTAINER, /* the root of a container */
	VOLUME_TYPE_MACHINE,   /* the root of a VM */
	VOLUME_TYPE_CUSTOM,
};

struct volume_ref {
	const char *pool;
	enum volume_type type;
	const char *project;
	const char *name;
	const char *snapshot; /* NULL for the volume itself */
};

typedef void storage_done(void *data, int code, const struct error *e);
