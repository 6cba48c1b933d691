/* SPDX-License-Identifier: Apache-2.0 */
/*
 * entropy.c - random bytes for the start: RDRAND's and those of a virtio device, one over the other.
 */
#include "unikernel/machine/entropy.h"

#include "unikernel/exit.h"
#include "unikernel/machine/port.h"
#include "unikernel/machine/wait.h"

#define HAS_RANDOM     (1u << 30)
#define BYTES          64u
#define ANSWER_LONGEST UINT64_C(5000000000) /* ns */
#define LOOK_AGAIN     UINT64_C(1000000)

static struct virtio device;
static struct ring ring;
static uint8_t *page; /* NULL: there is no device */

void entropy_take(const struct virtio *given)
{
	device = *given;
	virtio_begin(&device, 0);
	ring_start(&ring, &device, 0, 2);
	page = virtio_alloc(BYTES);
	virtio_ready(&device);
}

static void ask_device(uint8_t to[BYTES])
{
	uint32_t done = 0, bytes = 0;
	uint64_t start = platform_clock_monotonic();
	while (done < BYTES) {
		uint16_t entry;
		ring_describe(&ring, 0, pages_physical(page), BYTES, VIRTIO_DESC_WRITE, 0);
		ring_offer(&ring, 0);
		ring_kick(&ring);
		while (!ring_take(&ring, &entry, &bytes)) {
			uint64_t now = platform_clock_monotonic();
			if (now - start > ANSWER_LONGEST)
				virtio_broke(&device, "does not answer");
			wait_until(now + LOOK_AGAIN);
		}
		if (bytes == 0 || bytes > BYTES)
			virtio_broke(&device, "gives none");
		for (uint32_t i = 0; i < bytes && done < BYTES; i++)
			to[done++] = page[i];
	}
}

static bool random_word(uint64_t *ret)
{
	bool is_good = false;
	if (!(cpuid(1).c & HAS_RANDOM))
		return false;
	for (int tries = 0; tries < 100 && !is_good; tries++)
		__asm__ volatile("rdrand %0\n\tsetc %1" : "=r"(*ret), "=qm"(is_good) : : "cc");
	return is_good;
}

void entropy_make(uint8_t *to, size_t bytes)
{
	uint8_t of_device[BYTES] = {};
	if (page)
		ask_device(of_device);
	for (size_t i = 0; i < bytes; i += sizeof(uint64_t)) {
		uint64_t word = 0;
		if (!random_word(&word) && !page)
			kernel_panic(
				"the machine has no random numbers: neither RDRAND nor a virtio device");
		for (size_t j = 0; j < sizeof(word) && i + j < bytes; j++)
			to[i + j] = (uint8_t)(word >> 8 * j) ^ of_device[(i + j) % BYTES];
	}
}
