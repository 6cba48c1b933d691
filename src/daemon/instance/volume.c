/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume.c - the pool is the root device's.
 */
#include "daemon/instance/volume.h"

#include "base/text.h"
#include "model/json.h"

void instance_volume(const struct instance *instance, const char *snapshot, struct volume_ref *ret)
{
	*ret = (struct volume_ref){ .pool = NULL,
		.type = (instance->kind->can & (KIND_IS_MACHINE | KIND_IS_SERVER))
			? VOLUME_TYPE_MACHINE
			: VOLUME_TYPE_CONTAINER,
		.project = instance->project,
		.name = instance->name,
		.snapshot = snapshot };
	json_t *devices = instance->expanded_devices;
	for (void *at = json_object_iter(devices); at; at = json_object_iter_next(devices, at)) {
		const json_t *device = json_object_iter_value(at);
		if (text_equal(json_text(device, "path"), "/") &&
			text_equal(json_text(device, "type"), "disk"))
			ret->pool = json_text(device, "pool");
	}
}
