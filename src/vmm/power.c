/* SPDX-License-Identifier: Apache-2.0 */
/*
 * power.c - the fixed hardware of ACPI, as an ICH9 has it, and a keyboard controller without a keyboard.
 */
#include "vmm/power.h"

#include <string.h>

#include "base/loop.h"

#define TIMER_HZ            UINT64_C(3579545)
#define STATUS_POWER_BUTTON 0x0100
#define STATUS_MASK         0x8731
#define CONTROL_SCI         0x0001
#define CONTROL_SLEEP       0x2000
/* There is no system management mode: firmware takes this as "all is set up already". */
#define SMI_ON_COMMAND   0x20
#define KEYBOARD_DATA    0x60
#define KEYBOARD_COMMAND 0x64
#define FAST_RESET       0x92

static void update(struct power *power)
{
	bool level = (power->status & power->enable) || (power->gpe_status & power->gpe_enable);
	if (level == power->level)
		return;
	power->level = level;
	power->wires->line(power->wires->data, POWER_SCI_LINE, level);
}

static uint32_t timer(const struct power *power)
{
	return (uint32_t)((unsigned __int128)(loop_now() - power->timer_start_ns) * TIMER_HZ /
		NS_PER_SEC);
}

struct registers {
	uint16_t status, enable, control, reserved;
	uint32_t timer;
	uint8_t reserved2[POWER_GPE - 12];
	uint16_t gpe_status, gpe_enable;
	uint8_t reserved3[POWER_SMI_ENABLE - POWER_GPE - 4];
	uint32_t smi_enable;
	uint8_t reserved4[POWER_PORT_BYTES - POWER_SMI_ENABLE - 4];
};
static_assert(sizeof(struct registers) == POWER_PORT_BYTES, "layout");

static struct registers show(const struct power *power)
{
	return (struct registers){
		.status = power->status,
		.enable = power->enable,
		.control = power->control | CONTROL_SCI,
		.timer = timer(power),
		.gpe_status = power->gpe_status,
		.gpe_enable = power->gpe_enable,
		.smi_enable = SMI_ON_COMMAND,
	};
}

static uint64_t acpi_read(void *data, uint64_t offset, uint32_t bytes)
{
	struct registers registers = show(data);
	return bytes_get(&registers, sizeof(registers), offset, bytes);
}

static bool touches(uint64_t offset, uint32_t bytes, uint64_t at)
{
	return offset < at + 2 && at < offset + bytes;
}

static void acpi_write(void *data, uint64_t offset, uint32_t bytes, uint64_t value)
{
	struct power *power = data;
	struct registers registers = show(power);
	if (bytes > 4)
		return;
	/* Status bits are cleared by ones: bytes that are not written are none. */
	registers.status = registers.gpe_status = 0;
	memcpy((uint8_t *)&registers + offset, &value, bytes);
	power->status &= (uint16_t)~registers.status;
	power->enable = registers.enable & STATUS_MASK;
	power->gpe_status &= (uint16_t)~registers.gpe_status;
	power->gpe_enable = registers.gpe_enable;
	power->control = registers.control & (uint16_t)~CONTROL_SLEEP;
	update(power);
	if (touches(offset, bytes, POWER_PM1_CONTROL) && (registers.control & CONTROL_SLEEP) &&
		(registers.control >> 10 & 7) == POWER_SLEEP_OFF)
		power->off(power->data);
}

static uint64_t data_read(void *data, uint64_t offset, uint32_t bytes)
{
	struct power *power = data;
	(void)offset;
	(void)bytes;
	power->keyboard_full = false;
	return power->keyboard_output;
}

static void keyboard_answer(struct power *power, uint8_t byte)
{
	power->keyboard_output = byte;
	power->keyboard_full = true;
}

static void data_write(void *data, uint64_t offset, uint32_t bytes, uint64_t value)
{
	struct power *power = data;
	(void)offset;
	(void)bytes;
	if (power->keyboard_expects == 0x60)
		power->keyboard_command_byte = (uint8_t)value;
	/* The output port: bit 0 is the reset line, low means reset. */
	if (power->keyboard_expects == 0xd1 && !(value & 1))
		power->reset(power->data);
	power->keyboard_expects = 0;
}

static uint64_t command_read(void *data, uint64_t offset, uint32_t bytes)
{
	const struct power *power = data;
	(void)offset;
	(void)bytes;
	return 0x1c | (power->keyboard_full ? 1 : 0);
}

static void command_write(void *data, uint64_t offset, uint32_t bytes, uint64_t value)
{
	struct power *power = data;
	(void)offset;
	(void)bytes;
	power->keyboard_expects = 0;
	switch ((uint8_t)value) {
	case 0x20:
		keyboard_answer(power, power->keyboard_command_byte);
		break;
	case 0xaa:
		keyboard_answer(power, 0x55);
		break;
	case 0xa9:
	case 0xab:
		keyboard_answer(power, 1); /* the port has a fault: there is no keyboard */
		break;
	case 0xd0:
		keyboard_answer(power, 3); /* not in reset, A20 on */
		break;
	case 0x60:
	case 0xd1:
		power->keyboard_expects = (uint8_t)value;
		break;
	case 0xfe:
		power->reset(power->data);
		break;
	default:
		break;
	}
}

static uint64_t fast_read(void *data, uint64_t offset, uint32_t bytes)
{
	const struct power *power = data;
	(void)offset;
	(void)bytes;
	return power->fast;
}

static void fast_write(void *data, uint64_t offset, uint32_t bytes, uint64_t value)
{
	struct power *power = data;
	(void)offset;
	(void)bytes;
	power->fast = value & 2;
	if (value & 1)
		power->reset(power->data);
}

static const struct region_calls acpi_calls = { acpi_read, acpi_write };
static const struct region_calls data_calls = { data_read, data_write };
static const struct region_calls command_calls = { command_read, command_write };
static const struct region_calls fast_calls = { fast_read, fast_write };

int power_init(struct power *power, struct bus *bus, const struct wires *wires, struct error *e)
{
	*power = (struct power){
		.bus = bus,
		.wires = wires,
		.acpi = { &acpi_calls, power, POWER_PORT, POWER_PORT_BYTES },
		.keyboard_data = { &data_calls, power, KEYBOARD_DATA, 1 },
		.keyboard_command = { &command_calls, power, KEYBOARD_COMMAND, 1 },
		.fast_reset = { &fast_calls, power, FAST_RESET, 1 },
		.timer_start_ns = loop_now(),
		.fast = 2,
	};
	struct region *regions[] = { &power->acpi, &power->keyboard_data, &power->keyboard_command,
		&power->fast_reset };
	for (size_t i = 0; i < ARRAY_SIZE(regions); i++) {
		int r = bus_add(bus, BUS_PORTS, regions[i]);
		if (r < 0)
			return error_code(e, r, "port 0x%jx", (uintmax_t)regions[i]->at);
	}
	return 0;
}

void power_done(struct power *power)
{
	if (!power->bus)
		return;
	bus_remove(power->bus, BUS_PORTS, &power->acpi);
	bus_remove(power->bus, BUS_PORTS, &power->keyboard_data);
	bus_remove(power->bus, BUS_PORTS, &power->keyboard_command);
	bus_remove(power->bus, BUS_PORTS, &power->fast_reset);
}

void power_reset(struct power *power)
{
	power->status = power->enable = power->control = 0;
	power->gpe_status = power->gpe_enable = 0;
	power->keyboard_full = false;
	power->keyboard_expects = 0;
	update(power);
}

void power_button(struct power *power)
{
	power->status |= STATUS_POWER_BUTTON;
	update(power);
}

void power_event(struct power *power, uint32_t gpe)
{
	power->gpe_status |= (uint16_t)(1u << gpe);
	update(power);
}

struct power_saved {
	uint64_t timer_ns;
	uint16_t status, enable, control, gpe_status, gpe_enable;
	uint8_t keyboard_output, keyboard_command_byte, keyboard_expects, keyboard_full, fast,
		reserved[1];
};
static_assert(sizeof(struct power_saved) == 24, "layout");

void power_save(const struct power *power, struct state *state)
{
	struct power_saved saved = {
		.timer_ns = loop_now() - power->timer_start_ns,
		.status = power->status,
		.enable = power->enable,
		.control = power->control,
		.gpe_status = power->gpe_status,
		.gpe_enable = power->gpe_enable,
		.keyboard_output = power->keyboard_output,
		.keyboard_command_byte = power->keyboard_command_byte,
		.keyboard_expects = power->keyboard_expects,
		.keyboard_full = power->keyboard_full,
		.fast = power->fast,
	};
	state_put(state, "power", 1, &saved, sizeof(saved));
}

int power_load(struct power *power, const struct state *state, struct error *e)
{
	struct power_saved saved;
	int r = state_get(state, "power", 1, &saved, sizeof(saved), e);
	if (r < 0)
		return r;
	power->timer_start_ns = loop_now() - saved.timer_ns;
	power->status = saved.status;
	power->enable = saved.enable;
	power->control = saved.control;
	power->gpe_status = saved.gpe_status;
	power->gpe_enable = saved.gpe_enable;
	power->keyboard_output = saved.keyboard_output;
	power->keyboard_command_byte = saved.keyboard_command_byte;
	power->keyboard_expects = saved.keyboard_expects;
	power->keyboard_full = saved.keyboard_full;
	power->fast = saved.fast;
	update(power);
	return 0;
}
