/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plug.c - disks and cards that come and go, and disks' limits.
 */
#include "vmm/plug.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/virtio/block.h"

static int name_of(const struct runner_plug *plug, char ret[MACHINE_NAME_BYTES], struct error *e)
{
	if (!memchr(plug->id, '\0', sizeof(plug->id)) || !plug->id[0] ||
		(plug->kind != RUNNER_PLUG_DISK && plug->kind != RUNNER_PLUG_NIC))
		return error_set(e, -EINVAL, "no device is named");
	snprintf(ret, MACHINE_NAME_BYTES, "%s:%.60s",
		plug->kind == RUNNER_PLUG_DISK ? "disk" : "nic", plug->id);
	return 0;
}

static int make(struct assembly *assembly, const struct runner_plug *plug, int fd,
	struct virtio_device **ret, struct error *e)
{
	if (plug->kind == RUNNER_PLUG_DISK) {
		const struct plan_disk disk = {
			.file = plug->id,
			.id = plug->id,
			.read_only = plug->flags & RUNNER_PLUG_READONLY,
			.bytes_per_second = plug->bytes_per_second,
			.operations_per_second = plug->operations_per_second,
		};
		return assembly_make_disk(assembly, &disk, fd, ret, e);
	}
	char mac[18];
	const uint8_t *m = plug->mac;
	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
		m[5]);
	const struct plan_nic nic = { .tap = plug->id, .mac = mac };
	return assembly_make_nic(assembly, &nic, &fd, 1, ret, e);
}

int plug_device(struct assembly *assembly, const struct runner_plug *plug, int fd, struct error *e)
{
	char name[MACHINE_NAME_BYTES];
	struct virtio_device *device;
	int r = name_of(plug, name, e);
	if (r < 0) {
		close(fd);
		return r;
	}
	r = make(assembly, plug, fd, &device, e);
	if (r < 0)
		return r;
	r = machine_plug(assembly->machine, device, name, e);
	if (r < 0)
		device->driver->free(device);
	return r;
}

int unplug_device(struct assembly *assembly, const struct runner_plug *plug, struct error *e)
{
	char name[MACHINE_NAME_BYTES];
	int r = name_of(plug, name, e);
	if (r < 0)
		return r;
	if (machine_unplug(assembly->machine, name) == -ENOENT)
		return 0;
	return error_set(e, -EAGAIN, "%s: the guest has not let go of it", plug->id);
}

int plug_set_rates(struct assembly *assembly, const struct runner_plug *plug, struct error *e)
{
	char name[MACHINE_NAME_BYTES];
	int r = name_of(plug, name, e);
	if (r < 0)
		return r;
	bus_guard(&assembly->machine->bus);
	struct virtio_device *device = machine_find(assembly->machine, name);
	if (!device || plug->kind != RUNNER_PLUG_DISK)
		return error_set(e, -ENOENT, "%s: the machine has no such disk", plug->id);
	block_set_rates(device, plug->bytes_per_second, plug->operations_per_second);
	return 0;
}
