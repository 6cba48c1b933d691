/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_machine.c - what the library OS as a kernel is told from outside: its command line, and virtio devices that do as
 * they like. It may end with a sentence; it never goes on for ever, and touches nothing that is not its own.
 */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unikernel/exit.h"
#include "unikernel/machine/card.h"
#include "unikernel/machine/command.h"
#include "unikernel/machine/disk.h"
#include "unikernel/machine/wait.h"

#define MEMORY_BYTES (4u << 20)
#define LOOKS_MOST   100000u /* at the clock, in one run */
#define SIZE_MOST    70000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *input;
static size_t input_left;
static jmp_buf end;
static uint64_t now, looks;
static const struct ring *rings[VIRTIO_RINGS_MOST];
static uint8_t memory[MEMORY_BYTES] __attribute__((aligned(4096)));

static uint8_t take(void)
{
	uint8_t value = input_left ? *input : 0;
	input += input_left > 0;
	input_left -= input_left > 0;
	return value;
}

static uint16_t take16(void)
{
	return (uint16_t)(take() << 8 | take());
}

void kernel_panic(const char *sentence)
{
	if (strlen(sentence) < 10)
		abort();
	longjmp(end, 1);
}

bool text_is(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

uint64_t platform_clock_monotonic(void)
{
	if (++looks > LOOKS_MOST)
		abort(); /* it would never end */
	return now += 50000;
}

void wait_until(uint64_t until_ns)
{
	now = until_ns > now ? until_ns : now;
}

uint64_t pages_piece(uint64_t address, uint64_t size, bool is_filled, uint64_t *ret_physical)
{
	uint64_t left = 4096 - address % 4096;
	(void)is_filled;
	*ret_physical = address - MACHINE_BASE;
	return left < size ? left : size;
}

/* The device writes into a buffer that it was given, and says that it is done with something. */
static void act(const struct ring *ring)
{
	uint8_t what = take();
	volatile struct virtio_used_entry *used =
		(void *)(uintptr_t)&ring->used->ring[ring->used->index & (ring->size - 1)];
	uint16_t last = (uint16_t)(ring->avail->index - 1);
	uint16_t entry =
		ring->avail->ring[(what & 1 ? last : ring->used->index) & (ring->size - 1)];
	const struct virtio_desc *desc = &ring->desc[entry & (ring->size - 1)];
	for (int i = 0; i < 4 && (desc->flags & VIRTIO_DESC_NEXT) && !(what & 0x80); i++)
		desc = &ring->desc[desc->next & (ring->size - 1)];
	uint8_t *bytes = (void *)(uintptr_t)(desc->at + MACHINE_BASE);
	for (uint32_t i = 0; i < 13 && i < desc->bytes && (desc->flags & VIRTIO_DESC_WRITE); i++)
		bytes[i] = what & 2 ? take() : 0;
	used->id = what & 4 ? take16() : entry;
	used->bytes = what & 8 ? (uint32_t)take16() << (what & 0x40 ? 16 : 0) : desc->bytes;
	((volatile struct virtio_used *)(uintptr_t)ring->used)->index =
		(uint16_t)(ring->used->index + (what & 0x10 ? take16() : 1));
	if (what & 0x20)
		((volatile struct virtio_used *)(uintptr_t)ring->used)->flags = take();
}

static uint64_t features(struct virtio *device)
{
	(void)device;
	uint8_t what = take();
	return what & 1 ? UINT64_MAX
			: (uint64_t)take16() << 24 | take16() | (uint64_t)(what >> 1 & 1) << 32;
}

static void accept(struct virtio *device, uint64_t bits)
{
	(void)device;
	(void)bits;
}

static uint8_t status(struct virtio *device)
{
	uint8_t what = take();
	return what & 1 ? what : device->features ? VIRTIO_STATUS_FEATURES_OK : 0;
}

static void set_status(struct virtio *device, uint8_t value)
{
	(void)device;
	(void)value;
}

static uint32_t ring_most(struct virtio *device, uint16_t index)
{
	(void)device;
	(void)index;
	uint8_t what = take();
	return what & 1 ? take16() : 256;
}

static bool start_ring(struct virtio *device, const struct ring *ring)
{
	(void)device;
	rings[ring->index] = ring;
	return true;
}

static void kick(struct virtio *device, uint16_t index)
{
	(void)device;
	for (int count = take() % 4; count; count--)
		act(rings[index]);
}

static uint8_t config(struct virtio *device, uint32_t offset)
{
	(void)device;
	return offset == 2 ? 1 : take();
}

static const struct virtio_transport transport = { features, accept, status, set_status, ring_most,
	start_ring, kick, config, NULL };

static void use_card(const struct virtio *device)
{
	static uint8_t bytes[SIZE_MOST];
	struct boot_net net;
	(void)card_start(device, &net);
	while (input_left) {
		uint32_t size = (uint32_t)take() * take();
		struct iovec parts[] = { { bytes, 12 }, { bytes + 12, size } };
		(void)card_send(parts, 2);
		for (int i = 0; i < 4 && card_has_frame(); i++)
			if (card_take(bytes, SIZE_MOST - 1000) > (int64_t)(SIZE_MOST - 1000))
				abort();
		card_listen(false);
	}
}

static void use_disk(const struct virtio *device)
{
	static uint8_t bytes[SIZE_MOST];
	static struct disk disk;
	disk_start(&disk, device);
	while (input_left) {
		uint64_t offset = take16(), size = take16() % 9000u;
		uint8_t *at_byte = bytes + take16() % 20000;
		switch (take() % 3) {
		case 0:
			(void)disk_read(&disk, offset, at_byte, size);
			break;
		case 1:
			(void)disk_write(&disk, offset, at_byte, size);
			break;
		default:
			(void)disk_flush(&disk);
		}
	}
}

static void read_command(void)
{
	static char line[COMMAND_BYTES];
	static struct command command;
	size_t bytes = input_left < sizeof(line) - 1 ? input_left : sizeof(line) - 1;
	memcpy(line, input, bytes);
	line[bytes] = '\0';
	if (command_read(line, &command))
		return;
	const char *word = command.words;
	for (uint32_t i = 0; i < command.argument_count + command.environment_count; i++)
		word += strlen(word) + 1;
	if (word != command.words + command.words_bytes || command.window_count > COMMAND_WINDOWS)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct pages_range region;
	static struct virtio device;
	input = data;
	input_left = size;
	now = looks = 0;
	region = (struct pages_range){ (uint64_t)(uintptr_t)memory - MACHINE_BASE, sizeof(memory) };
	virtio_memory(&region);
	uint8_t what = take();
	device = (struct virtio){
		.transport = &transport, .is_legacy = what & 4, .has_interrupt = true
	};
	device.id = what & 1 ? VIRTIO_ID_NET : VIRTIO_ID_BLOCK;
	if (what >= 128)
		read_command();
	else if (setjmp(end) == 0)
		(what & 1 ? use_card : use_disk)(&device);
	return 0;
}
