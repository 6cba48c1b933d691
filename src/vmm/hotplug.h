/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hotplug.h - tells the guest that a PCI device came or shall go, and hears that it may go.
 *
 * Three registers of 32 bits, a bit a slot: which came since the last look, which shall go, and, written, which
 * the guest has let go of. ACPI's general event says that there is something to see; acpi.c has the methods.
 */
#pragma once

#include "vmm/bus.h"
#include "vmm/power.h"
#include "vmm/state.h"

#define HOTPLUG_PORT       0x6c0u
#define HOTPLUG_PORT_BYTES 12
#define HOTPLUG_CAME       0
#define HOTPLUG_GO         4
#define HOTPLUG_EJECT      8

struct hotplug {
	struct bus *bus;
	struct power *power;
	struct region region;
	uint32_t came, go;
	uint32_t ejected; /* the guest has let go of them: they may be taken out */

	/* `ejected` has a bit more; the bus lock is held. */
	void (*wake)(void *data);
	void *data;
};

int hotplug_init(
	struct hotplug *hotplug, struct bus *bus, struct power *power, struct error *e) must_use;
void hotplug_done(struct hotplug *hotplug);
void hotplug_reset(struct hotplug *hotplug);

/* The bus lock is held. */
void hotplug_tell_came(struct hotplug *hotplug, uint32_t slot);
void hotplug_tell_go(struct hotplug *hotplug, uint32_t slot);

void hotplug_save(const struct hotplug *hotplug, struct state *state);
int hotplug_load(struct hotplug *hotplug, const struct state *state, struct error *e) must_use;
