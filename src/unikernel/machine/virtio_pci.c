/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_pci.c - registers in BARs, which a firmware or the monitor has given their places; interrupts as messages (MSI-X).
 */
#include "unikernel/machine/virtio_pci.h"

#include "unikernel/machine/port.h"
#include "unikernel/machine/wait.h"

#define ADDRESS    0xcf8
#define DATA       0xcfc
#define ENABLE     0x80000000u
#define NOBODY     0xffffu
#define BUSES_MOST 32u

#define CONFIG_IDS       0x00
#define CONFIG_COMMAND   0x04
#define CONFIG_KIND      0x0c /* third byte */
#define CONFIG_BARS      0x10
#define CONFIG_BUSES     0x18 /* of a bridge */
#define CONFIG_SUBSYSTEM 0x2c
#define CONFIG_FIRST     0x34
#define COMMAND_MEMORY   2u
#define COMMAND_MASTER   4u
#define COMMAND_NO_LINE  0x400u
#define STATUS_HAS_LIST  (1u << 20)
#define IS_BRIDGE        1u
#define IS_MANY          0x80u

#define CAPABILITY_VENDOR  0x09
#define CAPABILITY_MESSAGE 0x11
#define MESSAGE_ON         0x80000000u
#define MESSAGE_MASKED     0x40000000u
#define NO_VECTOR          0xffffu
#define TRANSITIONAL       0x1000u
#define WINDOW_MOST        0x100000u

static uint32_t config_read(uint32_t function, uint32_t place)
{
	port_write32(ADDRESS, ENABLE | function << 8 | (place & 0xfc));
	return port_read32(DATA);
}

static void config_write(uint32_t function, uint32_t place, uint32_t value)
{
	port_write32(ADDRESS, ENABLE | function << 8 | (place & 0xfc));
	port_write32(DATA, value);
}

static uint8_t config_byte(uint32_t function, uint32_t place)
{
	return (uint8_t)(config_read(function, place) >> 8 * (place & 3));
}

/* Where a memory BAR is; 0: nowhere. */
static uint64_t bar_of(uint32_t function, uint32_t index)
{
	if (index > 5)
		return 0;
	uint32_t low = config_read(function, CONFIG_BARS + 4 * index);
	if (low & 1)
		return 0;
	uint64_t high = (low & 6) == 4 && index < 5
		? config_read(function, CONFIG_BARS + 4 * index + 4)
		: 0;
	return high << 32 | (low & ~15u);
}

static volatile uint8_t *map_bar(uint32_t function, uint32_t index, uint32_t offset, uint32_t bytes)
{
	uint64_t bar = bar_of(function, index);
	if (!bar || bytes == 0)
		return NULL;
	return pages_map_device(bar + offset, bytes < WINDOW_MOST ? bytes : WINDOW_MOST);
}

static volatile struct virtio_pci_common *common_of(const struct virtio *device)
{
	return (volatile struct virtio_pci_common *)(volatile void *)device->registers;
}

static uint64_t pci_features(struct virtio *device)
{
	volatile struct virtio_pci_common *common = common_of(device);
	common->device_feature_select = 0;
	uint64_t low = common->device_feature;
	common->device_feature_select = 1;
	return (uint64_t)common->device_feature << 32 | low;
}

static void pci_accept(struct virtio *device, uint64_t features)
{
	volatile struct virtio_pci_common *common = common_of(device);
	common->driver_feature_select = 0;
	common->driver_feature = (uint32_t)features;
	common->driver_feature_select = 1;
	common->driver_feature = (uint32_t)(features >> 32);
}

static uint8_t pci_status(struct virtio *device)
{
	return common_of(device)->status;
}

static void pci_set_status(struct virtio *device, uint8_t status)
{
	common_of(device)->status = status;
}

static uint32_t pci_ring_most(struct virtio *device, uint16_t index)
{
	volatile struct virtio_pci_common *common = common_of(device);
	if (index >= common->queue_count)
		return 0;
	common->queue_select = index;
	return common->queue_size;
}

/* In halves: not every monitor takes 64 bits at once. */
static void set_address(volatile uint64_t *to, const volatile void *pointer)
{
	volatile uint32_t *halves = (volatile uint32_t *)to;
	uint64_t physical = (uint64_t)(uintptr_t)pointer - MACHINE_BASE;
	halves[0] = (uint32_t)physical;
	halves[1] = (uint32_t)(physical >> 32);
}

static bool pci_start_ring(struct virtio *device, const struct ring *ring)
{
	volatile struct virtio_pci_common *common = common_of(device);
	common->queue_select = ring->index;
	uint64_t bell = (uint64_t)common->queue_notify_offset * device->bell_step;
	if (bell + 2 > device->bells_bytes || ring->index >= VIRTIO_RINGS_MOST)
		return false;
	device->ring_bells[ring->index] = device->bells + bell;
	common->queue_size = ring->size;
	common->queue_vector = device->has_interrupt ? 0 : NO_VECTOR;
	if (device->has_interrupt && common->queue_vector != 0)
		device->has_interrupt = false;
	set_address(&common->queue_desc, ring->desc);
	set_address(&common->queue_driver, ring->avail);
	set_address(&common->queue_device, ring->used);
	common->queue_enable = 1;
	return common->queue_enable == 1;
}

static void pci_kick(struct virtio *device, uint16_t index)
{
	*(volatile uint16_t *)(volatile void *)device->ring_bells[index] = index;
}

static uint8_t pci_config(struct virtio *device, uint32_t offset)
{
	return device->own && offset < device->own_bytes ? device->own[offset] : 0;
}

static const struct virtio_transport transport = {
	.features = pci_features,
	.accept = pci_accept,
	.status = pci_status,
	.set_status = pci_set_status,
	.ring_most = pci_ring_most,
	.start_ring = pci_start_ring,
	.kick = pci_kick,
	.config = pci_config,
};

static void take_window(uint32_t function, uint32_t place, struct virtio *device)
{
	uint8_t type = config_byte(function, place + 3), bar = config_byte(function, place + 4);
	uint32_t offset = config_read(function, place + 8);
	uint32_t bytes = config_read(function, place + 12);
	if (type == VIRTIO_PCI_COMMON && !device->registers &&
		bytes >= sizeof(struct virtio_pci_common)) {
		device->registers = map_bar(function, bar, offset, bytes);
	} else if (type == VIRTIO_PCI_DEVICE && !device->own) {
		device->own = map_bar(function, bar, offset, bytes);
		device->own_bytes = bytes < WINDOW_MOST ? bytes : WINDOW_MOST;
	} else if (type == VIRTIO_PCI_NOTIFY && !device->bells) {
		device->bells = map_bar(function, bar, offset, bytes);
		device->bells_bytes = bytes < WINDOW_MOST ? bytes : WINDOW_MOST;
		device->bell_step = config_read(function, place + 16);
	}
}

/* All rings of it send the one message that wakes the processor. */
static bool use_messages(uint32_t function, uint32_t place)
{
	uint32_t where = config_read(function, place + 4);
	volatile uint8_t *table = map_bar(function, where & 7, where & ~7u, 16);
	if (!table)
		return false;
	config_write(function, place, config_read(function, place) | MESSAGE_ON | MESSAGE_MASKED);
	volatile uint32_t *entry = (volatile uint32_t *)(volatile void *)table;
	entry[0] = wait_message_address();
	entry[1] = 0;
	entry[2] = VECTOR_WAKE;
	entry[3] = 0;
	config_write(
		function, place, (config_read(function, place) | MESSAGE_ON) & ~MESSAGE_MASKED);
	return true;
}

static uint32_t id_of(uint32_t function, uint32_t ids)
{
	uint32_t product = ids >> 16;
	if (product >= VIRTIO_PCI_PRODUCT_BASE)
		return product - VIRTIO_PCI_PRODUCT_BASE;
	return config_read(function, CONFIG_SUBSYSTEM) >> 16;
}

static void look_at(uint32_t function, uint32_t ids, void (*take)(const struct virtio *device))
{
	struct virtio device = { .transport = &transport, .id = id_of(function, ids) };
	if (!(config_read(function, CONFIG_COMMAND) & STATUS_HAS_LIST))
		return;
	config_write(function, CONFIG_COMMAND,
		(config_read(function, CONFIG_COMMAND) & 0xffff) | COMMAND_MEMORY | COMMAND_MASTER |
			COMMAND_NO_LINE);
	uint8_t place = config_byte(function, CONFIG_FIRST) & 0xfc;
	for (int i = 0; i < 48 && place; i++) {
		uint8_t kind = config_byte(function, place);
		if (kind == CAPABILITY_VENDOR)
			take_window(function, place, &device);
		else if (kind == CAPABILITY_MESSAGE)
			device.has_interrupt = use_messages(function, place);
		place = config_byte(function, place + 1u) & 0xfc;
	}
	if (device.registers && device.bells)
		take(&device);
}

static void look_at_bus(uint32_t bus, uint32_t *left, void (*take)(const struct virtio *device))
{
	for (uint32_t slot = 0; slot < 32; slot++) {
		uint32_t count = 1;
		for (uint32_t i = 0; i < count; i++) {
			uint32_t function = bus << 8 | slot << 3 | i;
			uint32_t ids = config_read(function, CONFIG_IDS);
			if ((ids & 0xffff) == NOBODY)
				continue;
			uint32_t kind = config_read(function, CONFIG_KIND) >> 16 & 0xff;
			if (i == 0 && (kind & IS_MANY))
				count = 8;
			uint32_t below = config_read(function, CONFIG_BUSES) >> 8 & 0xff;
			if ((kind & 0x7f) == IS_BRIDGE && below > bus && *left) {
				(*left)--;
				look_at_bus(below, left, take);
			} else if ((ids & 0xffff) == VIRTIO_PCI_VENDOR && (kind & 0x7f) == 0 &&
				ids >> 16 >= TRANSITIONAL) {
				look_at(function, ids, take);
			}
		}
	}
}

void virtio_pci_find(void (*take)(const struct virtio *device))
{
	uint32_t left = BUSES_MOST;
	port_write32(ADDRESS, ENABLE);
	if (port_read32(ADDRESS) == ENABLE)
		look_at_bus(0, &left, take);
}
