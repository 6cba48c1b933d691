/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine.c - the parts of a machine, put together.
 */
#include "vmm/machine.h"

#include <errno.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "vmm/acpi.h"
#include "vmm/firmware.h"
#include "vmm/test_device.h"

#define SERIAL_PORT      0x3f8
#define SERIAL_LINE      4
#define GENERATION_BYTES 16

#define FW_KEY_RAM      0x03
#define FW_KEY_CPUS     0x05
#define FW_KEY_MAX_CPUS 0x0f

static void test_line_changed(void *data, uint32_t line, bool level)
{
	struct machine *machine = data;
	machine->cpus->engine->irq(machine->cpus, line, level);
}

static void wire_line(void *data, uint32_t line, bool level)
{
	struct machine *machine = data;
	machine->cpus->engine->irq(machine->cpus, line, level);
}

static void wire_message(void *data, uint64_t address, uint32_t value)
{
	struct machine *machine = data;
	machine->cpus->engine->msi(machine->cpus, address, value);
}

static int wire_doorbell(void *data, uint64_t at, int event_fd, bool on)
{
	struct machine *machine = data;
	return machine->cpus->engine->doorbell(machine->cpus, at, on ? event_fd : -1);
}

static void wire_rung(void *data)
{
	struct machine *machine = data;
	if (machine->rung)
		machine->rung(machine->data);
}

/* The bus lock is held, by a CPU's thread or ours. */
static void want_end(struct machine *machine, enum machine_end end, int code)
{
	if (!machine->has_end) {
		machine->has_end = true;
		machine->end = end;
		machine->end_code = code;
	}
	if (machine->vcpus)
		vcpus_stop_here(machine->vcpus);
	loop_wake(machine->wake);
}

static void want_reset(void *data)
{
	want_end(data, MACHINE_RESET, 0);
}

static void want_off(void *data)
{
	want_end(data, MACHINE_OFF, 0);
}

static void want_eject(void *data)
{
	struct machine *machine = data;
	loop_wake(machine->wake);
}

void machine_stall(void *data, bool is_stalled)
{
	struct machine *machine = data;
	machine->stalls += is_stalled ? 1 : UINT32_MAX;
	loop_wake(machine->wake);
}

static void cpu_lost(void *data, uint32_t cpu, int code)
{
	struct machine *machine = data;
	(void)cpu;
	bus_guard(&machine->bus);
	want_end(machine, code < 0 ? MACHINE_BROKEN : MACHINE_FAULT, code);
}

static void prepare_thread(void *data)
{
	struct machine *machine = data;
	if (machine->prepare_thread)
		machine->prepare_thread(machine->data);
}

static void update_stall(struct machine *machine)
{
	bus_enter(&machine->bus);
	bool wants = machine->stalls > 0, changed = wants != machine->wants_stall;
	machine->wants_stall = wants;
	bus_leave(&machine->bus);
	if (!changed)
		return;
	if (!machine->is_paused) {
		if (wants)
			vcpus_pause(machine->vcpus);
		else
			vcpus_resume(machine->vcpus);
	}
	if (machine->stalled)
		machine->stalled(machine->data, wants);
}

/* What the guest has let go of is taken out, on our thread. */
static void take_ejected(struct machine *machine)
{
	bus_guard(&machine->bus);
	uint32_t ejected = machine->hotplug.ejected;
	machine->hotplug.ejected = 0;
	for (uint32_t i = 0; i < MACHINE_DEVICES_MAX; i++) {
		if (!(ejected >> (i + PCI_PLUG_FIRST) & 1) || !machine->devices[i])
			continue;
		virtio_pci_free(machine->devices[i]);
		machine->devices[i] = NULL;
		machine->names[i][0] = '\0';
	}
}

static void woken(void *data)
{
	struct machine *machine = data;
	update_stall(machine);
	take_ejected(machine);
	bus_enter(&machine->bus);
	bool has_end = machine->has_end;
	bus_leave(&machine->bus);
	if (!has_end)
		return;
	machine_pause(machine);
	machine->has_end = false;
	if (machine->ended)
		machine->ended(machine->data, machine->end, machine->end_code);
}

static uint64_t exit_read(void *data, uint64_t offset, uint32_t bytes)
{
	(void)data;
	(void)offset;
	(void)bytes;
	return 0;
}

static void exit_write(void *data, uint64_t offset, uint32_t bytes, uint64_t value)
{
	(void)offset;
	(void)bytes;
	want_end(data, MACHINE_EXIT, (int)(uint8_t)value);
}

static const struct region_calls exit_calls = { exit_read, exit_write };

static int add_memory(
	struct machine *machine, const struct machine_options *options, struct error *e)
{
	int r = guest_new(&machine->guest, e);
	if (r == 0)
		r = guest_add(machine->guest, 0, machine->map.low_bytes, GUEST_RAM, e);
	if (r == 0 && machine->map.high_bytes)
		r = guest_add(
			machine->guest, LAYOUT_ABOVE_4G, machine->map.high_bytes, GUEST_RAM, e);
	if (r == 0 && machine->map.room_bytes)
		r = guest_add(machine->guest, machine->map.room_at, machine->map.room_bytes,
			GUEST_RAM, e);
	if (r == 0 && options->firmware)
		r = guest_add(machine->guest, LAYOUT_ABOVE_4G - options->firmware_bytes,
			options->firmware_bytes, GUEST_ROM, e);
	if (r == 0 && options->firmware)
		r = guest_load(machine->guest, LAYOUT_ABOVE_4G - options->firmware_bytes,
			options->firmware, options->firmware_bytes);
	if (r == 0 && options->firmware)
		r = guest_add(machine->guest, FIRMWARE_OWN_PAGE, GUEST_PAGE, GUEST_ROM, e);
	return r;
}

static int add_board(
	struct machine *machine, const struct machine_options *options, struct error *e)
{
	int r = pci_init(&machine->pci, &machine->bus, &machine->wires, e);
	if (r == 0)
		r = chipset_init(&machine->chipset, &machine->pci, e);
	if (r == 0)
		r = power_init(&machine->power, &machine->bus, &machine->wires, e);
	if (r == 0)
		r = hotplug_init(&machine->hotplug, &machine->bus, &machine->power, e);
	if (r == 0)
		r = rtc_init(&machine->rtc, &machine->bus, &machine->wires, machine->loop, e);
	if (r == 0)
		r = serial_init(&machine->serial, &machine->bus, &machine->wires, SERIAL_PORT,
			SERIAL_LINE, e);
	if (r == 0)
		r = fw_cfg_init(&machine->fw_cfg, &machine->bus, machine->guest, e);
	if (r < 0)
		return r;
	machine->pci.reset = machine->power.reset = want_reset;
	machine->power.off = want_off;
	machine->pci.data = machine->power.data = machine->hotplug.data = machine;
	machine->hotplug.wake = want_eject;
	rtc_set_memory(
		&machine->rtc, machine->map.low_bytes, machine->map.high_bytes, options->cpus);
	fw_cfg_number(&machine->fw_cfg, FW_KEY_RAM, options->memory_bytes, 8);
	fw_cfg_number(&machine->fw_cfg, FW_KEY_CPUS, options->cpus, 2);
	fw_cfg_number(&machine->fw_cfg, FW_KEY_MAX_CPUS, options->cpus, 2);
	if (options->has_test_device) {
		machine->test_device = alloc(struct test_device);
		r = test_device_init(
			machine->test_device, &machine->bus, test_line_changed, machine);
		if (r < 0)
			return error_code(e, r, "test device");
	}
	if (!options->exit_port)
		return 0;
	machine->exit_port = (struct region){ &exit_calls, machine, options->exit_port, 4 };
	r = bus_add(&machine->bus, BUS_PORTS, &machine->exit_port);
	return r < 0 ? error_code(e, r, "exit port 0x%x", options->exit_port) : 0;
}

static void line_changed(void *data, uint32_t line, bool level)
{
	struct machine *machine = data;
	chipset_line(&machine->chipset, line, level);
}

static void no_output(void *data, const uint8_t *bytes, size_t count)
{
	(void)data;
	(void)bytes;
	(void)count;
}

static int set_up(struct machine *machine, const struct machine_options *options, struct error *e)
{
	int r = loop_add_wake(machine->loop, woken, machine, &machine->wake);
	if (r < 0)
		return error_code(e, r, "watch the machine");
	r = add_memory(machine, options, e);
	if (r == 0)
		r = options->engine->open(machine->guest, options->cpus, &machine->cpus, e);
	if (r == 0)
		r = add_board(machine, options, e);
	if (r < 0)
		return r;
	machine->pci.line_changed = line_changed;
	machine->serial.output = no_output;
	r = machine->cpus->engine->save_chips(machine->cpus, &machine->chips_reset);
	if (r < 0)
		return error_code(e, r, "state of the interrupt controllers");
	/* Where a PC's firmware puts them: kernels that it does not start expect it, too. */
	machine->chips_reset.pic[0].vector_base = 0x08;
	machine->chips_reset.pic[1].vector_base = 0x70;
	r = machine->cpus->engine->load_chips(machine->cpus, &machine->chips_reset);
	if (r < 0)
		return error_code(e, r, "state of the interrupt controllers");
	cpu_state_reset(&machine->boot_state, 0);
	return 0;
}

int machine_new(const struct machine_options *options, struct loop *loop, struct machine **ret,
	struct error *e)
{
	if (options->memory_bytes < MACHINE_MEMORY_MIN ||
		options->memory_bytes > MACHINE_MEMORY_MAX || options->memory_bytes % GUEST_PAGE)
		return error_set(e, -EINVAL,
			"memory: %ju bytes is not a whole number of pages from 1 MiB to 1 TiB",
			(uintmax_t)options->memory_bytes);
	if (options->memory_max_bytes > MACHINE_MEMORY_MAX)
		return error_set(e, -EINVAL, "memory: at most %ju bytes is more than 1 TiB",
			(uintmax_t)options->memory_max_bytes);
	struct machine *machine = alloc(struct machine);
	machine->loop = loop;
	machine->is_paused = true;
	machine->firmware = options->firmware;
	machine->firmware_bytes = options->firmware_bytes;
	machine->wires =
		(struct wires){ machine, wire_line, wire_message, wire_doorbell, wire_rung };
	memory_map_init(&machine->map, options->memory_bytes);
	if (options->memory_max_bytes > options->memory_bytes)
		memory_map_leave_room(
			&machine->map, options->memory_max_bytes - options->memory_bytes);
	bus_init(&machine->bus);
	int r = set_up(machine, options, e);
	if (r < 0) {
		machine_free(machine);
		return r;
	}
	*ret = machine;
	return 0;
}

void machine_free(struct machine *machine)
{
	if (!machine)
		return;
	vcpus_free(machine->vcpus);
	machine->vcpus = NULL;
	for (uint32_t i = 0; i < machine->device_count; i++)
		virtio_pci_free(machine->devices[i]);
	hotplug_done(&machine->hotplug);
	for (uint32_t i = 0; i < machine->part_count; i++)
		machine->parts[i]->driver->free(machine->parts[i]);
	pci_done(&machine->pci);
	power_done(&machine->power);
	rtc_done(&machine->rtc);
	serial_done(&machine->serial);
	fw_cfg_done(&machine->fw_cfg);
	bus_done(&machine->bus);
	if (machine->cpus)
		machine->cpus->engine->close(machine->cpus);
	guest_free(machine->guest);
	source_free(machine->wake);
	free(machine->test_device);
	free(machine->places);
	free(machine);
}

int machine_add_part(struct machine *machine, struct part *part, struct error *e)
{
	if (machine->part_count == MACHINE_PARTS_MAX)
		return error_set(e, -ENOSPC, "more than %d devices that are not virtio's",
			MACHINE_PARTS_MAX);
	machine->parts[machine->part_count++] = part;
	return 0;
}

int machine_expect(struct machine *machine, const struct state *state, struct error *e)
{
	struct place *places = alloc_array(MACHINE_DEVICES_MAX, struct place);
	int r = state_get(state, "places", 1, places, sizeof(*places) * MACHINE_DEVICES_MAX, e);
	/* A state of before has its devices in their order. */
	if (r == -ENOENT) {
		free(places);
		return 0;
	}
	for (uint32_t i = 0; r == 0 && i < MACHINE_DEVICES_MAX; i++)
		if (!memchr(places[i].name, '\0', sizeof(places[i].name)))
			r = error_set(e, -EINVAL, "saved state: a device's name does not end");
	if (r == 0)
		machine->places = places;
	else
		free(places);
	return r;
}

/* MACHINE_DEVICES_MAX: there is none. */
static uint32_t place_for(const struct machine *machine, const char *name)
{
	uint32_t i = 0;
	while (i < MACHINE_DEVICES_MAX &&
		(machine->devices[i] ||
			(machine->places && strcmp(machine->places[i].name, name) != 0)))
		i++;
	return i;
}

int machine_add(
	struct machine *machine, struct virtio_device *device, const char *name, struct error *e)
{
	uint32_t i = place_for(machine, name ?: device->driver->name);
	if (i == MACHINE_DEVICES_MAX && machine->places)
		return error_set(e, -EINVAL, "saved state: it has no device %s",
			name ?: device->driver->name);
	if (i == MACHINE_DEVICES_MAX)
		return error_set(e, -ENOSPC, "more than %d devices", MACHINE_DEVICES_MAX);
	int r = virtio_pci_new(
		&machine->pci, (uint8_t)(i + PCI_PLUG_FIRST), device, &machine->devices[i], e);
	if (r < 0)
		return r;
	snprintf(machine->names[i], MACHINE_NAME_BYTES, "%s", name ?: "");
	if (i >= machine->device_count)
		machine->device_count = i + 1;
	return 0;
}

/* 0: there is none. */
static uint32_t slot_of(const struct machine *machine, const char *name)
{
	for (uint32_t i = 0; i < machine->device_count; i++)
		if (machine->devices[i] && strcmp(machine->names[i], name) == 0)
			return i + PCI_PLUG_FIRST;
	return 0;
}

struct virtio_device *machine_find(struct machine *machine, const char *name)
{
	uint32_t slot = slot_of(machine, name);
	return slot ? virtio_pci_device(machine->devices[slot - PCI_PLUG_FIRST]) : NULL;
}

int machine_plug(
	struct machine *machine, struct virtio_device *device, const char *name, struct error *e)
{
	bus_guard(&machine->bus);
	if (slot_of(machine, name))
		return error_set(e, -EEXIST, "%s: the machine has it already", name);
	int r = machine_add(machine, device, name, e);
	if (r < 0)
		return r;
	hotplug_tell_came(&machine->hotplug, slot_of(machine, name));
	return 0;
}

int machine_unplug(struct machine *machine, const char *name)
{
	bus_guard(&machine->bus);
	uint32_t slot = slot_of(machine, name);
	if (!slot)
		return -ENOENT;
	hotplug_tell_go(&machine->hotplug, slot);
	return 0;
}

/* A new number each time this memory starts to live: guests renew their randomness. */
static int write_generation(struct machine *machine)
{
	uint8_t id[GENERATION_BYTES];
	if (getrandom(id, sizeof(id), 0) != (ssize_t)sizeof(id))
		return -EIO;
	uint64_t page = machine->firmware ? FIRMWARE_OWN_PAGE : LAYOUT_GENERATION;
	return guest_load(machine->guest, page + ACPI_GENERATION_OFFSET, id, sizeof(id));
}

static int write_tables(struct machine *machine, struct error *e)
{
	cleanup(acpi_done) struct acpi acpi = {};
	const struct acpi_options options = {
		.cpus = machine->cpus->count,
		.generation_at = LAYOUT_GENERATION,
	};
	uint8_t rsdp[ACPI_RSDP_BYTES];
	acpi_build(&options, &acpi);
	acpi_place(&acpi, LAYOUT_ACPI);
	acpi_rsdp(rsdp, LAYOUT_ACPI + acpi.xsdt_offset, false);
	assert(acpi.length <= LAYOUT_ACPI_END - LAYOUT_ACPI);
	if (guest_write(machine->guest, LAYOUT_ACPI, acpi.data, acpi.length) < 0 ||
		guest_write(machine->guest, LAYOUT_RSDP, rsdp, sizeof(rsdp)) < 0 ||
		write_generation(machine) < 0)
		return error_set(e, -EINVAL, "memory: too little for the ACPI tables");
	machine->rsdp_at = LAYOUT_RSDP;
	return 0;
}

/* Firmware runs from memory below 1 MiB, where the chipset copies it: here it is there at once. */
static int write_shadow(struct machine *machine, struct error *e)
{
	uint32_t bytes = machine->firmware_bytes < FIRMWARE_SHADOW_MAX ? machine->firmware_bytes
								       : FIRMWARE_SHADOW_MAX;
	if (guest_write(machine->guest, LAYOUT_HIGH - bytes,
		    machine->firmware + machine->firmware_bytes - bytes, bytes) < 0 ||
		write_generation(machine) < 0)
		return error_set(e, -EINVAL, "memory: too little for the firmware");
	return 0;
}

static int write_memory(struct machine *machine, struct error *e)
{
	if (machine->firmware)
		return write_shadow(machine, e);
	int r = pci_assign(&machine->pci, e);
	return r < 0 ? r : write_tables(machine, e);
}

int machine_complete(struct machine *machine, struct error *e)
{
	if (machine->firmware) {
		const struct firmware_description description = {
			.low_bytes = machine->map.low_bytes,
			.high_bytes = machine->map.high_bytes,
			.room_end = machine->map.room_bytes
				? machine->map.room_at + machine->map.room_bytes
				: 0,
			.cpus = machine->cpus->count,
			.boot_order = machine->boot_order,
		};
		firmware_describe(&machine->fw_cfg, &description);
	}
	return write_memory(machine, e);
}

void machine_set_boot(struct machine *machine, const struct cpu_state *state)
{
	machine->boot_state = *state;
}

static int load_reset_states(struct machine *machine, struct error *e)
{
	const struct engine *engine = machine->cpus->engine;
	int r = engine->load(machine->cpus, 0, &machine->boot_state);
	for (uint32_t i = 1; r == 0 && i < machine->cpus->count; i++) {
		struct cpu_state state;
		cpu_state_reset(&state, i);
		r = engine->load(machine->cpus, i, &state);
	}
	return r < 0 ? error_code(e, r, "%s: set the CPUs' first state", engine->name) : 0;
}

int machine_start(struct machine *machine, struct error *e)
{
	const struct vcpus_options options = {
		.cpus = machine->cpus,
		.bus = &machine->bus,
		.lost = cpu_lost,
		.prepare = prepare_thread,
		.data = machine,
	};
	int r = machine->cpus->engine->start(machine->cpus, prepare_thread, machine);
	if (r < 0)
		return error_code(e, r, "start the engine's threads");
	return vcpus_start(&options, &machine->vcpus, e);
}

int machine_go(struct machine *machine, struct error *e)
{
	int r = load_reset_states(machine, e);
	if (r == 0)
		machine_resume(machine);
	return r;
}

void machine_pause(struct machine *machine)
{
	if (machine->vcpus)
		vcpus_pause(machine->vcpus);
	if (machine->is_paused)
		return;
	machine->is_paused = true;
	bus_guard(&machine->bus);
	for (uint32_t i = 0; i < machine->device_count; i++)
		if (machine->devices[i])
			virtio_pci_pause(machine->devices[i], true);
	for (uint32_t i = 0; i < machine->part_count; i++)
		machine->parts[i]->driver->pause(machine->parts[i], true);
}

void machine_resume(struct machine *machine)
{
	machine->is_paused = false;
	bus_enter(&machine->bus);
	for (uint32_t i = 0; i < machine->device_count; i++)
		if (machine->devices[i])
			virtio_pci_pause(machine->devices[i], false);
	for (uint32_t i = 0; i < machine->part_count; i++)
		machine->parts[i]->driver->pause(machine->parts[i], false);
	bool stalled = machine->stalls > 0;
	bus_leave(&machine->bus);
	if (!stalled)
		vcpus_resume(machine->vcpus);
}

void machine_power_button(struct machine *machine)
{
	bus_guard(&machine->bus);
	power_button(&machine->power);
}

/* Gives all guest memory back to the host: it reads as zeroes then. ROM stays. */
static int forget_memory(struct machine *machine, struct error *e)
{
	const struct guest *guest = machine->guest;
	for (uint32_t i = 0; i < guest->region_count; i++) {
		const struct guest_region *region = &guest->regions[i];
		if (region->access != GUEST_RAM)
			continue;
		int r = guest_give_back(guest, region->at, region->bytes);
		if (r < 0)
			return error_code(e, r, "forget the guest's memory");
	}
	return 0;
}

int machine_reset(struct machine *machine, struct error *e)
{
	machine_pause(machine);
	bus_enter(&machine->bus);
	for (uint32_t i = 0; i < machine->device_count; i++)
		if (machine->devices[i])
			virtio_pci_reset(machine->devices[i]);
	hotplug_reset(&machine->hotplug);
	pci_reset(&machine->pci);
	power_reset(&machine->power);
	serial_reset(&machine->serial);
	for (uint32_t i = 0; i < machine->part_count; i++)
		machine->parts[i]->driver->reset(machine->parts[i]);
	bus_leave(&machine->bus);
	int r = forget_memory(machine, e);
	if (r == 0)
		r = write_memory(machine, e);
	if (r < 0)
		return r;
	r = machine->cpus->engine->load_chips(machine->cpus, &machine->chips_reset);
	return r < 0 ? error_code(e, r, "reset the interrupt controllers") : 0;
}

static int save_cpus(struct machine *machine, struct state *state, struct error *e)
{
	const struct engine *engine = machine->cpus->engine;
	cleanup(free) struct cpu_state *cpu = alloc(struct cpu_state);
	char name[STATE_NAME_SIZE];
	for (uint32_t i = 0; i < machine->cpus->count; i++) {
		int r = engine->save(machine->cpus, i, cpu);
		if (r < 0)
			return error_code(e, r, "%s: state of CPU %u", engine->name, i);
		state_put(state, state_name(name, "cpu", i), cpu->version, cpu, sizeof(*cpu));
	}
	struct chips_state chips;
	int r = engine->save_chips(machine->cpus, &chips);
	if (r < 0)
		return error_code(e, r, "%s: state of the interrupt controllers", engine->name);
	state_put(state, "chips", chips.version, &chips, sizeof(chips));
	return 0;
}

static int load_cpus(struct machine *machine, const struct state *state, struct error *e)
{
	const struct engine *engine = machine->cpus->engine;
	cleanup(free) struct cpu_state *cpu = alloc(struct cpu_state);
	char name[STATE_NAME_SIZE];
	struct chips_state chips;
	int r = state_get(state, "chips", CHIPS_STATE_VERSION, &chips, sizeof(chips), e);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < machine->cpus->count; i++) {
		r = state_get(
			state, state_name(name, "cpu", i), CPU_STATE_VERSION, cpu, sizeof(*cpu), e);
		if (r < 0)
			return r;
		r = engine->load(machine->cpus, i, cpu);
		if (r == -ENOTSUP)
			return error_set(e, r,
				"%s: CPU %u uses %s (XCR0 0x%jx), which this host has not: restore it on one that has",
				engine->name, i, cpu->xcr0 & 0xe0 ? "AVX-512" : "AVX",
				(uintmax_t)cpu->xcr0);
		if (r < 0)
			return error_code(e, r, "%s: set the state of CPU %u", engine->name, i);
	}
	r = engine->load_chips(machine->cpus, &chips);
	if (r < 0)
		return error_code(e, r, "%s: set the interrupt controllers", engine->name);
	return 0;
}

struct machine_saved {
	uint64_t low_bytes, high_bytes;
	uint32_t cpus, devices;
};
static_assert(sizeof(struct machine_saved) == 24, "layout");

static void save_places(const struct machine *machine, struct state *state)
{
	struct place *places = alloc_array(MACHINE_DEVICES_MAX, struct place);
	for (uint32_t i = 0; i < MACHINE_DEVICES_MAX; i++)
		if (machine->devices[i])
			snprintf(places[i].name, MACHINE_NAME_BYTES, "%s",
				machine->names[i][0]
					? machine->names[i]
					: virtio_pci_device(machine->devices[i])->driver->name);
	state_put(state, "places", 1, places, sizeof(*places) * MACHINE_DEVICES_MAX);
	free(places);
}

/* All that the state has, and no others: those were refused when they were added. */
static int check_places(struct machine *machine, struct error *e)
{
	for (uint32_t i = 0; machine->places && i < MACHINE_DEVICES_MAX; i++)
		if (machine->places[i].name[0] && !machine->devices[i])
			return error_set(e, -EINVAL,
				"saved state: its device %s is not there any more",
				machine->places[i].name);
	/* From now on devices come where there is room. */
	free(machine->places);
	machine->places = NULL;
	return 0;
}

/* The last that is taken, and 1: whatever went from behind it is forgotten. */
static uint32_t devices_now(const struct machine *machine)
{
	uint32_t count = machine->device_count;
	while (count > 0 && !machine->devices[count - 1])
		count--;
	return count;
}

int machine_save(struct machine *machine, struct state *state, struct error *e)
{
	if (machine->stalls > 0)
		return error_set(e, -EBUSY, "a disk's volume is full: its writes wait for room");
	struct machine_saved saved = { machine->map.low_bytes, machine->map.high_bytes,
		machine->cpus->count, devices_now(machine) };
	state_put(state, "machine", 1, &saved, sizeof(saved));
	save_places(machine, state);
	{
		bus_guard(&machine->bus);
		/* Devices first: what they have under way ends, and may interrupt a CPU. */
		for (uint32_t i = 0; i < machine->device_count; i++)
			if (machine->devices[i])
				virtio_pci_save(machine->devices[i], state);
		for (uint32_t i = 0; i < machine->part_count; i++)
			machine->parts[i]->driver->save(machine->parts[i], state);
		pci_save(&machine->pci, state);
		power_save(&machine->power, state);
		hotplug_save(&machine->hotplug, state);
		rtc_save(&machine->rtc, state);
		serial_save(&machine->serial, state);
		fw_cfg_save(&machine->fw_cfg, state);
	}
	return save_cpus(machine, state, e);
}

int machine_load(struct machine *machine, const struct state *state, struct error *e)
{
	struct machine_saved saved;
	int r = state_get(state, "machine", 1, &saved, sizeof(saved), e);
	if (r == 0)
		r = check_places(machine, e);
	if (r < 0)
		return r;
	if (saved.low_bytes != machine->map.low_bytes ||
		saved.high_bytes != machine->map.high_bytes || saved.cpus != machine->cpus->count ||
		saved.devices != machine->device_count)
		return error_set(e, -EINVAL,
			"saved state: a machine of %ju bytes, %u CPUs and %u devices, this one has others",
			(uintmax_t)(saved.low_bytes + saved.high_bytes), saved.cpus, saved.devices);
	r = load_cpus(machine, state, e);
	if (r < 0)
		return r;
	bus_guard(&machine->bus);
	r = pci_load(&machine->pci, state, e);
	if (r == 0)
		r = power_load(&machine->power, state, e);
	if (r == 0)
		r = hotplug_load(&machine->hotplug, state, e);
	if (r == 0)
		r = rtc_load(&machine->rtc, state, e);
	if (r == 0)
		r = serial_load(&machine->serial, state, e);
	if (r == 0)
		r = fw_cfg_load(&machine->fw_cfg, state, e);
	for (uint32_t i = 0; r == 0 && i < machine->part_count; i++)
		r = machine->parts[i]->driver->load(machine->parts[i], state, e);
	for (uint32_t i = 0; r == 0 && i < machine->device_count; i++)
		if (machine->devices[i])
			r = virtio_pci_load(machine->devices[i], state, e);
	if (r < 0)
		return r;
	/* This memory begins a life of its own. */
	if ((machine->rsdp_at || machine->firmware) && write_generation(machine) == 0)
		power_event(&machine->power, POWER_GPE_GENERATION);
	return 0;
}
