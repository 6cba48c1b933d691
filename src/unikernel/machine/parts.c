/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parts.c - what a machine without a tender consists of.
 *
 * The disk with an erofs file system is the image, if there is no initial file system; the other one is the volume. More
 * than that is refused: whoever gave the machine a second card or volume wants it used.
 */
#include "unikernel/machine/parts.h"

#include <signal.h>

#include "unikernel/exit.h"
#include "unikernel/machine/button.h"
#include "unikernel/machine/card.h"
#include "unikernel/machine/console.h"
#include "unikernel/machine/entropy.h"
#include "unikernel/machine/virtio_mmio.h"
#include "unikernel/machine/virtio_pci.h"
#include "unikernel/machine/wait.h"

#define WINDOWS_MOST 64u
#define DISKS_MOST   2u
#define EROFS_HEAD   1024u
#define EROFS_MAGIC  0xe0f5e1e2u

static struct {
	uint64_t windows[WINDOWS_MOST]; /* that were looked at */
	uint32_t window_count, disk_count;
	struct virtio card;
	struct disk disks[DISKS_MOST];
	struct disk *image, *volume;
	struct virtio *all[1 + DISKS_MOST];
	uint32_t count;
	bool has_card, has_entropy, is_deaf;
	struct acpi_button button;
} parts;

static bool has_image(struct disk *disk)
{
	uint32_t magic = 0;
	return disk->bytes >= EROFS_HEAD + sizeof(magic) &&
		disk_read(disk, EROFS_HEAD, &magic, sizeof(magic)) == sizeof(magic) &&
		magic == EROFS_MAGIC;
}

static void take_disk(const struct virtio *device)
{
	if (parts.disk_count == DISKS_MOST)
		kernel_panic("the machine has more than two disks");
	struct disk *disk = &parts.disks[parts.disk_count++];
	disk_start(disk, device);
	struct disk **as = has_image(disk) ? &parts.image : &parts.volume;
	if (*as)
		kernel_panic(as == &parts.image ? "the machine has two disks with an image"
						: "the machine has two disks without an image");
	if (as == &parts.volume && disk->is_read_only)
		kernel_panic("the machine's disk has no image and cannot be written to");
	*as = disk;
	parts.all[parts.count++] = &disk->device;
}

static void take_device(const struct virtio *device)
{
	switch (device->id) {
	case VIRTIO_ID_NET:
		if (parts.has_card)
			kernel_panic("the machine has two network cards: a unikernel has one");
		parts.card = *device;
		parts.has_card = true;
		break;
	case VIRTIO_ID_BLOCK:
		take_disk(device);
		break;
	case VIRTIO_ID_RNG:
		if (!parts.has_entropy)
			entropy_take(device);
		parts.has_entropy = true;
		break;
	default:
		return; /* nothing that a unikernel needs */
	}
	if (!device->has_interrupt)
		parts.is_deaf = true;
}

static void take_window(uint64_t physical, uint32_t line)
{
	struct virtio device;
	for (uint32_t i = 0; i < parts.window_count; i++)
		if (parts.windows[i] == physical)
			return;
	if (parts.window_count == WINDOWS_MOST)
		kernel_panic("the machine has too many windows of devices");
	parts.windows[parts.window_count++] = physical;
	if (!virtio_mmio_open(physical, &device))
		return;
	device.has_interrupt = wait_add_line(line);
	take_device(&device);
}

static void take_button(const struct acpi_button *button)
{
	parts.button = *button;
}

static void take_off(uint64_t physical, uint8_t value)
{
	console_set_off(pages_map_device(physical, 1), value);
}

void parts_find(
	const struct command *command, const struct parts_place *place, struct pages_range *region)
{
	const struct acpi_takers takers = { wait_add_controller, take_window, take_button,
		take_off };
	virtio_memory(region);
	acpi_read(place->rsdp, place->seen_end, &takers);
	for (uint32_t i = 0; i < command->window_count; i++)
		take_window(command->windows[i].at, command->windows[i].line);
	virtio_pci_find(take_device);
	if (parts.button.event) /* after the controllers, whatever table comes first */
		button_start(&parts.button, command->stop_signal ?: SIGTERM);
}

bool parts_read_image(struct pages_range *region, struct pages_range *ret)
{
	struct disk *disk = parts.image;
	if (!disk)
		return false;
	if (disk->bytes > region->bytes)
		kernel_panic("the machine has less memory than its image has bytes");
	*ret = (struct pages_range){ region->start, disk->bytes };
	/* Whole pages; the region is ours until the library OS has it. */
	uint8_t *to = virtio_alloc(disk->bytes);
	if (disk_read(disk, 0, to, disk->bytes) != (int64_t)disk->bytes)
		kernel_panic("the image cannot be read from its disk");
	return true;
}

uint32_t parts_start_card(struct boot_net *ret)
{
	if (!parts.has_card)
		return 0;
	parts.all[parts.count++] = &parts.card;
	return card_start(&parts.card, ret);
}

struct disk *parts_volume(void)
{
	return parts.volume;
}

/*
 * A line that two devices share falls only when none of them raises it: so they are asked until no one had a wake-up. A
 * device that always has one is left to the clock.
 */
static void quiet(void)
{
	bool was_loud = true;
	for (int tries = 0; tries < 8 && was_loud; tries++) {
		was_loud = false;
		for (uint32_t i = 0; i < parts.count; i++) {
			struct virtio *device = parts.all[i];
			if (device->transport->quiet && device->transport->quiet(device))
				was_loud = true;
		}
	}
}

void parts_listen(bool is_listening)
{
	card_listen(is_listening);
	if (is_listening)
		quiet();
}

bool parts_wake(void)
{
	return !parts.is_deaf;
}
