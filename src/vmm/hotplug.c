/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hotplug.c - the three registers.
 */
#include "vmm/hotplug.h"

#include <string.h>

struct registers {
	uint32_t came, go, eject;
};
static_assert(sizeof(struct registers) == HOTPLUG_PORT_BYTES, "layout");

/* A look at what came forgets it, once it was whole. */
static uint64_t port_read(void *data, uint64_t offset, uint32_t bytes)
{
	struct hotplug *hotplug = data;
	const struct registers registers = { hotplug->came, hotplug->go, 0 };
	if (offset == HOTPLUG_CAME && bytes == 4)
		hotplug->came = 0;
	return bytes_get(&registers, sizeof(registers), offset, bytes);
}

static void port_write(void *data, uint64_t offset, uint32_t bytes, uint64_t value)
{
	struct hotplug *hotplug = data;
	if (offset != HOTPLUG_EJECT || bytes != 4)
		return;
	uint32_t slots = (uint32_t)value & hotplug->go;
	hotplug->go &= ~slots;
	hotplug->ejected |= slots;
	if (slots)
		hotplug->wake(hotplug->data);
}

static const struct region_calls calls = { port_read, port_write };

int hotplug_init(struct hotplug *hotplug, struct bus *bus, struct power *power, struct error *e)
{
	*hotplug = (struct hotplug){
		.power = power,
		.region = { &calls, hotplug, HOTPLUG_PORT, HOTPLUG_PORT_BYTES },
	};
	int r = bus_add(bus, BUS_PORTS, &hotplug->region);
	if (r < 0)
		return error_code(e, r, "port 0x%x", HOTPLUG_PORT);
	hotplug->bus = bus;
	return 0;
}

void hotplug_done(struct hotplug *hotplug)
{
	if (hotplug->bus)
		bus_remove(hotplug->bus, BUS_PORTS, &hotplug->region);
}

/* A guest that starts anew finds what is there; what shall go still shall. */
void hotplug_reset(struct hotplug *hotplug)
{
	hotplug->came = 0;
}

void hotplug_tell_came(struct hotplug *hotplug, uint32_t slot)
{
	hotplug->came |= UINT32_C(1) << slot;
	power_event(hotplug->power, POWER_GPE_HOTPLUG);
}

void hotplug_tell_go(struct hotplug *hotplug, uint32_t slot)
{
	hotplug->go |= UINT32_C(1) << slot;
	power_event(hotplug->power, POWER_GPE_HOTPLUG);
}

struct hotplug_saved {
	uint32_t came, go;
};

void hotplug_save(const struct hotplug *hotplug, struct state *state)
{
	const struct hotplug_saved saved = { hotplug->came, hotplug->go };
	state_put(state, "hotplug", 1, &saved, sizeof(saved));
}

int hotplug_load(struct hotplug *hotplug, const struct state *state, struct error *e)
{
	struct hotplug_saved saved;
	int r = state_get(state, "hotplug", 1, &saved, sizeof(saved), e);
	if (r == 0) {
		hotplug->came = saved.came;
		hotplug->go = saved.go;
	}
	return r;
}
