/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pci.c - configuration space, BARs and interrupts of PCI bus 0.
 */
#include "vmm/pci.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/bytes.h"

#define BAR_OFFSET(index) (0x10u + 4u * (uint32_t)(index))
#define STATUS_CAPABILITY 0x10u
#define MSIX_ENABLE       0x8000u
#define MSIX_MASK_ALL     0x4000u
#define MSIX_ENTRY_MASKED 1u
#define CAPABILITY_MSIX   0x11
#define RESET_PORT_OFFSET 1 /* 0xcf9 */

void pci_identify(struct pci_device *device, uint16_t vendor, uint16_t product, uint32_t class_code,
	uint8_t revision, uint16_t sub_vendor, uint16_t sub_product)
{
	put_le16(device->config + PCI_VENDOR, vendor);
	put_le16(device->config + 0x02, product);
	put_le32(device->config + 0x08, class_code << 8 | revision);
	put_le16(device->config + 0x2c, sub_vendor);
	put_le16(device->config + 0x2e, sub_product);
	put_le16(device->writable + PCI_COMMAND,
		PCI_COMMAND_PORTS | PCI_COMMAND_MEM | PCI_COMMAND_BUS | PCI_COMMAND_NO_LINE);
	device->writable[0x0c] = 0xff;
	device->writable[PCI_INTERRUPT_LINE] = 0xff;
	device->capability_end = 0x40;
}

void pci_bar(struct pci_device *device, int index, bool is_ports, uint64_t bytes,
	const struct region_calls *calls, void *data)
{
	assert(bytes >= 16 && (bytes & (bytes - 1)) == 0 && bytes <= GIB);
	device->bars[index] = (struct pci_bar){
		.region = { .calls = calls, .data = data, .bytes = bytes },
		.is_ports = is_ports,
	};
	put_le32(device->config + BAR_OFFSET(index), is_ports ? 1 : 0);
	put_le32(device->writable + BAR_OFFSET(index), (uint32_t) ~(bytes - 1));
}

uint8_t pci_capability(struct pci_device *device, uint8_t id, uint8_t length)
{
	uint8_t at = device->capability_end;
	assert(at + length <= PCI_CONFIG_SIZE);
	device->config[at] = id;
	device->config[at + 1] = 0;
	if (device->last_capability)
		device->config[device->last_capability + 1] = at;
	else
		device->config[0x34] = at;
	put_le16(device->config + PCI_STATUS,
		get_le16(device->config + PCI_STATUS) | STATUS_CAPABILITY);
	device->last_capability = at;
	device->capability_end = (uint8_t)((at + length + 3) & ~3);
	return at;
}

void pci_msix_init(struct pci_device *device, uint16_t count, int bar, uint32_t table_offset,
	uint32_t pending_offset)
{
	assert(count > 0 && count <= PCI_MSIX_MAX);
	uint8_t at = pci_capability(device, CAPABILITY_MSIX, 12);
	put_le16(device->config + at + 2, (uint16_t)(count - 1));
	put_le16(device->writable + at + 2, MSIX_ENABLE | MSIX_MASK_ALL);
	put_le32(device->config + at + 4, table_offset | (uint32_t)bar);
	put_le32(device->config + at + 8, pending_offset | (uint32_t)bar);
	device->msix_count = count;
	device->msix_capability = at;
	device->msix = alloc_array(count, struct msix_entry);
	for (uint16_t i = 0; i < count; i++)
		device->msix[i].control = MSIX_ENTRY_MASKED;
}

static uint16_t msix_control(const struct pci_device *device)
{
	return device->msix_count ? get_le16(device->config + device->msix_capability + 2u) : 0;
}

bool pci_msix_is_enabled(const struct pci_device *device)
{
	return msix_control(device) & MSIX_ENABLE;
}

void pci_msix_send(struct pci_device *device, uint16_t vector)
{
	if (vector >= device->msix_count || !pci_msix_is_enabled(device))
		return;
	const struct msix_entry *entry = &device->msix[vector];
	uint64_t *pending = &device->msix_pending[vector / 64], bit = UINT64_C(1) << vector % 64;
	if ((msix_control(device) & MSIX_MASK_ALL) || (entry->control & MSIX_ENTRY_MASKED)) {
		*pending |= bit;
		return;
	}
	*pending &= ~bit;
	const struct wires *wires = device->pci->wires;
	wires->message(wires->data, (uint64_t)entry->address_high << 32 | entry->address_low,
		entry->value);
}

static void msix_send_pending(struct pci_device *device)
{
	for (uint16_t i = 0; i < device->msix_count; i++)
		if (device->msix_pending[i / 64] & UINT64_C(1) << i % 64)
			pci_msix_send(device, i);
}

uint64_t pci_msix_table_read(struct pci_device *device, uint64_t offset, uint32_t bytes)
{
	return bytes_get(
		device->msix, device->msix_count * sizeof(struct msix_entry), offset, bytes);
}

void pci_msix_table_write(
	struct pci_device *device, uint64_t offset, uint32_t bytes, uint64_t value)
{
	uint64_t size = device->msix_count * sizeof(struct msix_entry);
	if ((bytes != 4 && bytes != 8) || offset % bytes != 0 || offset > size ||
		bytes > size - offset)
		return;
	memcpy((uint8_t *)device->msix + offset, &value, bytes);
	msix_send_pending(device);
}

uint64_t pci_msix_pending_read(struct pci_device *device, uint64_t offset, uint32_t bytes)
{
	return bytes_get(device->msix_pending, sizeof(device->msix_pending), offset, bytes);
}

uint32_t pci_slot_line(uint32_t slot)
{
	return slot % PCI_LINES;
}

static void line_update(struct pci_device *device)
{
	struct pci *pci = device->pci;
	bool level = device->line_level &&
		!(get_le16(device->config + PCI_COMMAND) & PCI_COMMAND_NO_LINE) &&
		!pci_msix_is_enabled(device);
	if (level == device->line_raised)
		return;
	device->line_raised = level;
	uint32_t line = pci_slot_line(device->slot);
	pci->line_counts[line] += level ? 1 : UINT32_MAX;
	if (pci->line_counts[line] != (level ? 1 : 0))
		return;
	pci->wires->line(pci->wires->data, PCI_LINE_GSI + line, level);
	if (pci->line_changed)
		pci->line_changed(pci->data, line, level);
}

void pci_line(struct pci_device *device, bool level)
{
	device->line_level = level;
	uint16_t status = get_le16(device->config + PCI_STATUS);
	put_le16(device->config + PCI_STATUS, level ? status | 8u : status & (uint16_t)~8u);
	line_update(device);
}

static void bar_update(struct pci_device *device, int index)
{
	struct pci_bar *bar = &device->bars[index];
	if (!bar->region.bytes)
		return;
	uint16_t command = get_le16(device->config + PCI_COMMAND);
	uint64_t at = get_le32(device->config + BAR_OFFSET(index)) &
		~(bar->is_ports ? UINT64_C(3) : UINT64_C(15));
	if (bar->is_ports)
		at &= 0xffff;
	bool wanted = (command & (bar->is_ports ? PCI_COMMAND_PORTS : PCI_COMMAND_MEM)) && at != 0;
	if (wanted == bar->is_mapped && (!wanted || at == bar->region.at))
		return;
	enum bus_space space = bar->is_ports ? BUS_PORTS : BUS_MEMORY;
	if (bar->is_mapped)
		bus_remove(device->pci->bus, space, &bar->region);
	bar->region.at = at;
	/* A BAR that overlaps another while the guest sizes it answers nowhere until it is moved. */
	bar->is_mapped = wanted && bus_add(device->pci->bus, space, &bar->region) == 0;
	if (device->calls && device->calls->bar_moved)
		device->calls->bar_moved(device, index);
}

static void bars_update(struct pci_device *device)
{
	for (int i = 0; i < PCI_BARS; i++)
		bar_update(device, i);
}

static uint64_t config_read(struct pci_device *device, uint32_t offset, uint32_t bytes)
{
	if (!device)
		return UINT64_MAX;
	if (offset >= PCI_CONFIG_SIZE)
		return 0;
	if (device->calls && device->calls->config_reading)
		device->calls->config_reading(device, offset, bytes);
	return bytes_get(device->config, PCI_CONFIG_SIZE, offset, bytes);
}

static bool overlaps(uint32_t offset, uint32_t bytes, uint32_t at, uint32_t length)
{
	return offset < at + length && at < offset + bytes;
}

static void config_write(struct pci_device *device, uint32_t offset, uint32_t bytes, uint64_t value)
{
	if (!device || offset >= PCI_CONFIG_SIZE || bytes > PCI_CONFIG_SIZE - offset || bytes > 4)
		return;
	for (uint32_t i = 0; i < bytes; i++) {
		uint8_t mask = device->writable[offset + i], *byte = &device->config[offset + i];
		*byte = (uint8_t)((*byte & ~mask) | ((uint8_t)(value >> (8 * i)) & mask));
	}
	if (overlaps(offset, bytes, PCI_COMMAND, 2) ||
		overlaps(offset, bytes, 0x10, 4 * PCI_BARS)) {
		bars_update(device);
		line_update(device);
	}
	if (device->msix_count && overlaps(offset, bytes, device->msix_capability, 4)) {
		line_update(device);
		msix_send_pending(device);
	}
	if (device->calls && device->calls->config_written)
		device->calls->config_written(device, offset, bytes);
}

static struct pci_device *ecam_device(struct pci *pci, uint64_t offset)
{
	return pci->devices[offset >> 15 & 31][offset >> 12 & 7];
}

static uint64_t ecam_read(void *data, uint64_t offset, uint32_t bytes)
{
	return config_read(ecam_device(data, offset), offset & 0xfff, bytes);
}

static void ecam_write(void *data, uint64_t offset, uint32_t bytes, uint64_t value)
{
	config_write(ecam_device(data, offset), offset & 0xfff, bytes, value);
}

static const struct region_calls ecam_calls = { ecam_read, ecam_write };

static struct pci_device *port_device(const struct pci *pci)
{
	if (!(pci->address & 0x80000000u) || (pci->address >> 16 & 0xff) != 0)
		return NULL;
	return pci->devices[pci->address >> 11 & 31][pci->address >> 8 & 7];
}

static uint64_t ports_read(void *data, uint64_t offset, uint32_t bytes)
{
	struct pci *pci = data;
	if (offset < 4)
		return bytes_get(&pci->address, sizeof(pci->address), offset, bytes);
	return config_read(port_device(pci), (pci->address & 0xfc) + (offset & 3), bytes);
}

static void ports_write(void *data, uint64_t offset, uint32_t bytes, uint64_t value)
{
	struct pci *pci = data;
	if (offset == 0 && bytes == 4)
		pci->address = (uint32_t)value;
	else if (offset == RESET_PORT_OFFSET && bytes == 1 && (value & 4) && pci->reset)
		pci->reset(pci->data);
	else if (offset >= 4)
		config_write(port_device(pci), (pci->address & 0xfc) + (offset & 3), bytes, value);
}

static const struct region_calls port_calls = { ports_read, ports_write };

int pci_init(struct pci *pci, struct bus *bus, const struct wires *wires, struct error *e)
{
	*pci = (struct pci){
		.bus = bus,
		.wires = wires,
		.ports = { &port_calls, pci, 0xcf8, 8 },
		.ecam = { &ecam_calls, pci, PCI_ECAM_AT, PCI_ECAM_BYTES },
	};
	int r = bus_add(bus, BUS_PORTS, &pci->ports);
	if (r == 0)
		r = bus_add(bus, BUS_MEMORY, &pci->ecam);
	return r < 0 ? error_code(e, r, "PCI configuration space") : 0;
}

void pci_done(struct pci *pci)
{
	for (int slot = 0; slot < PCI_SLOTS; slot++)
		for (int function = 0; function < PCI_FUNCTIONS; function++)
			if (pci->devices[slot][function])
				pci_remove(pci->devices[slot][function]);
	if (!pci->bus)
		return;
	bus_remove(pci->bus, BUS_PORTS, &pci->ports);
	bus_remove(pci->bus, BUS_MEMORY, &pci->ecam);
}

int pci_add(
	struct pci *pci, struct pci_device *device, uint8_t slot, uint8_t function, struct error *e)
{
	if (slot >= PCI_SLOTS || function >= PCI_FUNCTIONS || pci->devices[slot][function])
		return error_set(e, -EEXIST, "PCI slot %u.%u is taken", slot, function);
	device->pci = pci;
	device->slot = slot;
	device->function = function;
	device->config[PCI_INTERRUPT_PIN] = function == 0 ? 1 : 0; /* INTA# */
	device->config[PCI_INTERRUPT_LINE] = (uint8_t)(PCI_LINE_GSI + pci_slot_line(slot));
	pci->devices[slot][function] = device;
	if (function != 0 && pci->devices[slot][0])
		pci->devices[slot][0]->config[0x0e] |= 0x80;
	return 0;
}

void pci_remove(struct pci_device *device)
{
	if (!device->pci)
		return;
	device->line_level = false;
	line_update(device);
	put_le16(device->config + PCI_COMMAND, 0);
	bars_update(device);
	device->pci->devices[device->slot][device->function] = NULL;
	free(device->msix);
	device->msix = NULL;
	device->msix_count = 0;
	device->pci = NULL;
}

static int assign(struct pci_device *device, uint64_t *memory, uint64_t *ports)
{
	for (int i = 0; i < PCI_BARS; i++) {
		struct pci_bar *bar = &device->bars[i];
		if (!bar->region.bytes)
			continue;
		uint64_t *next = bar->is_ports ? ports : memory;
		/* A page at least, so that a guest can map one BAR and no other with it. */
		uint64_t step =
			bar->is_ports || bar->region.bytes > 4096 ? bar->region.bytes : 4096;
		uint64_t at = (*next + step - 1) & ~(step - 1);
		if (at + step > (bar->is_ports ? 0x10000 : PCI_WINDOW_END))
			return -ENOSPC;
		*next = at + step;
		put_le32(device->config + BAR_OFFSET(i), (uint32_t)at | (bar->is_ports ? 1 : 0));
	}
	return 0;
}

int pci_assign(struct pci *pci, struct error *e)
{
	uint64_t memory = PCI_WINDOW_AT, ports = PCI_PORT_WINDOW;
	for (int slot = 0; slot < PCI_SLOTS; slot++)
		for (int function = 0; function < PCI_FUNCTIONS; function++) {
			struct pci_device *device = pci->devices[slot][function];
			if (device && assign(device, &memory, &ports) < 0)
				return error_set(
					e, -ENOSPC, "the PCI devices' registers do not fit");
		}
	return 0;
}

static void device_reset(struct pci_device *device)
{
	put_le16(device->config + PCI_COMMAND, 0);
	for (int i = 0; i < PCI_BARS; i++)
		if (device->bars[i].region.bytes)
			put_le32(device->config + BAR_OFFSET(i), device->bars[i].is_ports ? 1 : 0);
	if (device->msix_count) {
		put_le16(device->config + device->msix_capability + 2u,
			(uint16_t)(device->msix_count - 1));
		for (uint16_t i = 0; i < device->msix_count; i++)
			device->msix[i] = (struct msix_entry){ .control = MSIX_ENTRY_MASKED };
		memset(device->msix_pending, 0, sizeof(device->msix_pending));
	}
	device->line_level = false;
	line_update(device);
	bars_update(device);
}

void pci_reset(struct pci *pci)
{
	pci->address = 0;
	for (int slot = 0; slot < PCI_SLOTS; slot++)
		for (int function = 0; function < PCI_FUNCTIONS; function++)
			if (pci->devices[slot][function])
				device_reset(pci->devices[slot][function]);
}

struct pci_saved {
	uint32_t address;
	uint32_t reserved;
};

struct pci_device_saved {
	uint8_t config[PCI_CONFIG_SIZE];
	uint64_t msix_pending[PCI_MSIX_MAX / 64];
	uint32_t line_level;
	uint32_t msix_count;
	struct msix_entry msix[PCI_MSIX_MAX];
};
static_assert(sizeof(struct pci_device_saved) == 256 + 16 + 8 + 16 * PCI_MSIX_MAX, "layout");

static void device_save(const struct pci_device *device, struct state *state)
{
	struct pci_device_saved saved = {
		.line_level = device->line_level,
		.msix_count = device->msix_count,
	};
	memcpy(saved.config, device->config, sizeof(saved.config));
	memcpy(saved.msix_pending, device->msix_pending, sizeof(saved.msix_pending));
	if (device->msix_count)
		memcpy(saved.msix, device->msix, device->msix_count * sizeof(struct msix_entry));
	char name[STATE_NAME_SIZE];
	state_put(state, state_name(name, "pci", device->slot * 8u + device->function), 1, &saved,
		sizeof(saved));
}

void pci_save(struct pci *pci, struct state *state)
{
	struct pci_saved saved = { .address = pci->address };
	state_put(state, "pci", 1, &saved, sizeof(saved));
	for (int slot = 0; slot < PCI_SLOTS; slot++)
		for (int function = 0; function < PCI_FUNCTIONS; function++)
			if (pci->devices[slot][function])
				device_save(pci->devices[slot][function], state);
}

static int device_load(struct pci_device *device, const struct state *state, struct error *e)
{
	struct pci_device_saved saved;
	char name[STATE_NAME_SIZE];
	state_name(name, "pci", device->slot * 8u + device->function);
	int r = state_get(state, name, 1, &saved, sizeof(saved), e);
	if (r < 0)
		return r;
	if (saved.msix_count != device->msix_count || memcmp(saved.config, device->config, 4) != 0)
		return error_set(e, -EINVAL, "saved state: %s is another device", name);
	memcpy(device->config, saved.config, sizeof(saved.config));
	memcpy(device->msix_pending, saved.msix_pending, sizeof(saved.msix_pending));
	if (device->msix_count)
		memcpy(device->msix, saved.msix, device->msix_count * sizeof(struct msix_entry));
	bars_update(device);
	device->line_level = saved.line_level;
	line_update(device);
	return 0;
}

int pci_load(struct pci *pci, const struct state *state, struct error *e)
{
	struct pci_saved saved;
	int r = state_get(state, "pci", 1, &saved, sizeof(saved), e);
	pci->address = r == 0 ? saved.address : 0;
	for (int slot = 0; r == 0 && slot < PCI_SLOTS; slot++)
		for (int function = 0; r == 0 && function < PCI_FUNCTIONS; function++)
			if (pci->devices[slot][function])
				r = device_load(pci->devices[slot][function], state, e);
	return r;
}
