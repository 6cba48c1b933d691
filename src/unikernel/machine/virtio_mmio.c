/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_mmio.c - registers in a window of memory: as virtio 1 has them, and as QEMU has them if nobody asks for that.
 */
#include "unikernel/machine/virtio_mmio.h"

#define MAGIC           0x74726976u
#define WINDOW          0x200u
#define REG_MAGIC       0x000
#define REG_VERSION     0x004
#define REG_ID          0x008
#define REG_OFFERS      0x010
#define REG_OFFERS_WORD 0x014
#define REG_TAKES       0x020
#define REG_TAKES_WORD  0x024
#define REG_PAGE_BYTES  0x028 /* legacy */
#define REG_QUEUE       0x030
#define REG_QUEUE_MOST  0x034
#define REG_QUEUE_SIZE  0x038
#define REG_QUEUE_ALIGN 0x03c /* legacy */
#define REG_QUEUE_PAGE  0x040 /* legacy */
#define REG_QUEUE_READY 0x044
#define REG_KICK        0x050
#define REG_INTERRUPT   0x060
#define REG_QUIET       0x064
#define REG_STATUS      0x070
#define REG_DESC        0x080
#define REG_DRIVER      0x090
#define REG_DEVICE      0x0a0
#define REG_OWN         0x100

static volatile uint32_t *word(const struct virtio *device, uint32_t place)
{
	return (volatile uint32_t *)(volatile void *)(device->registers + place);
}

static uint64_t mmio_features(struct virtio *device)
{
	*word(device, REG_OFFERS_WORD) = 0;
	uint64_t low = *word(device, REG_OFFERS);
	if (device->is_legacy)
		return low;
	*word(device, REG_OFFERS_WORD) = 1;
	return (uint64_t)*word(device, REG_OFFERS) << 32 | low;
}

static void mmio_accept(struct virtio *device, uint64_t features)
{
	*word(device, REG_TAKES_WORD) = 0;
	*word(device, REG_TAKES) = (uint32_t)features;
	if (device->is_legacy) {
		*word(device, REG_PAGE_BYTES) = KERNEL_PAGE;
		return;
	}
	*word(device, REG_TAKES_WORD) = 1;
	*word(device, REG_TAKES) = (uint32_t)(features >> 32);
}

static uint8_t mmio_status(struct virtio *device)
{
	return (uint8_t)*word(device, REG_STATUS);
}

static void mmio_set_status(struct virtio *device, uint8_t status)
{
	*word(device, REG_STATUS) = status;
}

static uint32_t mmio_ring_most(struct virtio *device, uint16_t index)
{
	*word(device, REG_QUEUE) = index;
	return *word(device, REG_QUEUE_MOST);
}

static void set_address(struct virtio *device, uint32_t place, const volatile void *pointer)
{
	uint64_t physical = (uint64_t)(uintptr_t)pointer - MACHINE_BASE;
	*word(device, place) = (uint32_t)physical;
	*word(device, place + 4) = (uint32_t)(physical >> 32);
}

static bool mmio_start_ring(struct virtio *device, const struct ring *ring)
{
	*word(device, REG_QUEUE) = ring->index;
	*word(device, REG_QUEUE_SIZE) = ring->size;
	if (device->is_legacy) {
		*word(device, REG_QUEUE_ALIGN) = KERNEL_PAGE;
		*word(device, REG_QUEUE_PAGE) =
			(uint32_t)(pages_physical(ring->desc) / KERNEL_PAGE);
		return *word(device, REG_QUEUE_PAGE) != 0;
	}
	set_address(device, REG_DESC, ring->desc);
	set_address(device, REG_DRIVER, ring->avail);
	set_address(device, REG_DEVICE, ring->used);
	*word(device, REG_QUEUE_READY) = 1;
	return *word(device, REG_QUEUE_READY) == 1;
}

static void mmio_kick(struct virtio *device, uint16_t index)
{
	*word(device, REG_KICK) = index;
}

static uint8_t mmio_config(struct virtio *device, uint32_t offset)
{
	return device->registers[REG_OWN + offset];
}

static bool mmio_quiet(struct virtio *device)
{
	uint32_t bits = *word(device, REG_INTERRUPT);
	if (bits)
		*word(device, REG_QUIET) = bits;
	return bits != 0;
}

static const struct virtio_transport transport = {
	.features = mmio_features,
	.accept = mmio_accept,
	.status = mmio_status,
	.set_status = mmio_set_status,
	.ring_most = mmio_ring_most,
	.start_ring = mmio_start_ring,
	.kick = mmio_kick,
	.config = mmio_config,
	.quiet = mmio_quiet,
};

bool virtio_mmio_open(uint64_t physical, struct virtio *ret)
{
	struct virtio device = { .transport = &transport,
		.registers = pages_map_device(physical, WINDOW) };
	if (!device.registers || *word(&device, REG_MAGIC) != MAGIC)
		return false;
	uint32_t version = *word(&device, REG_VERSION);
	device.id = *word(&device, REG_ID);
	device.is_legacy = version == 1;
	if (!device.id || (version != 1 && version != 2))
		return false;
	*ret = device;
	return true;
}
