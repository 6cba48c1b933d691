/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_virtio.c - a hostile guest for each virtio device: the input is a device's number, then a program
 * of register writes, memory writes and kicks. Rings, descriptors and requests are what the input says.
 */
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/loop.h"
#include "disk/disk.h"
#include "vmm/bus.h"
#include "vmm/pci.h"
#include "vmm/virtio/balloon.h"
#include "vmm/virtio/block.h"
#include "vmm/virtio/console.h"
#include "vmm/virtio/net.h"
#include "vmm/virtio/pci.h"
#include "vmm/virtio/rng.h"
#include "vmm/virtio/vsock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEMORY     (128 * KIB)
#define DISK_BYTES (64 * KIB)
#define SLOT       1
#define STEPS_MAX  512

struct board {
	struct guest *guest;
	struct loop *loop;
	struct bus bus;
	struct wires wires;
	struct pci pci;
	struct virtio_pci *transport;
	struct virtio_device *device;
	int peer; /* the other end of a network card */
	const uint8_t *data;
	size_t size;
};

static void must(int r)
{
	if (r < 0)
		abort();
}

static void line(void *data, uint32_t number, bool level)
{
	(void)data;
	(void)number;
	(void)level;
}

static void message(void *data, uint64_t address, uint32_t value)
{
	(void)data;
	(void)address;
	(void)value;
}

static int doorbell(void *data, uint64_t at, int event_fd, bool on)
{
	(void)data;
	(void)at;
	(void)event_fd;
	(void)on;
	return -1;
}

static uint64_t take(struct board *board, size_t bytes)
{
	uint64_t value = 0;
	size_t n = bytes < board->size ? bytes : board->size;
	memcpy(&value, board->data, n);
	board->data += n;
	board->size -= n;
	return value;
}

static struct virtio_device *new_block(struct board *board)
{
	struct error e = {};
	struct disk *disk;
	struct virtio_device *device;
	int fd = memfd_create("disk", MFD_CLOEXEC);
	const struct block_options options = { .id = "fuzz", .queues = 2 };
	must(ftruncate(fd, DISK_BYTES));
	must(raw_open_fd(fd, "disk", false, &disk, &e));
	must(block_new(board->guest, board->loop, &board->bus, disk, &options, &device, &e));
	return device;
}

static struct virtio_device *new_net(struct board *board)
{
	struct error e = {};
	int pair[2];
	struct virtio_device *device;
	must(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair));
	const struct net_options options = { .taps = pair, .pairs = 1, .mac = { 2 } };
	must(net_new(board->guest, board->loop, &board->bus, &options, &device, &e));
	board->peer = pair[1];
	return device;
}

static struct virtio_device *new_vsock(struct board *board)
{
	struct error e = {};
	struct virtio_device *device;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* A name of the kernel's choice, in no file system. */
	const struct sockaddr address = { .sa_family = AF_UNIX };
	must(bind(fd, &address, sizeof(sa_family_t)));
	must(listen(fd, 1));
	must(vsock_new(board->guest, board->loop, &board->bus, 3, fd, &device, &e));
	return device;
}

static struct virtio_device *new_device(struct board *board, uint64_t which)
{
	switch (which % 6) {
	case 0:
		return new_block(board);
	case 1:
		return new_net(board);
	case 2:
		return new_vsock(board);
	case 3:
		return virtio_console_new(board->guest, board->loop, &board->bus);
	case 4:
		return balloon_new(board->guest, board->loop, &board->bus);
	default:
		return rng_new(board->guest, board->loop, &board->bus);
	}
}

static void write_register(struct board *board, uint64_t offset, uint32_t bytes, uint64_t value)
{
	bus_write(&board->bus, BUS_MEMORY, PCI_WINDOW_AT + (offset & 0x7fff & ~(bytes - 1ull)),
		bytes, value);
}

/* What a driver does first, so that the rest of the input meets rings that run. */
static void start(struct board *board, uint64_t features, uint64_t queue_size)
{
	features |= UINT64_C(1) << VIRTIO_F_VERSION_1;
	write_register(board, 20, 1, 0);
	write_register(board, 20, 1, 3);
	for (uint32_t word = 0; word < 2; word++) {
		write_register(board, 8, 4, word);
		write_register(board, 12, 4,
			(uint32_t)((features & board->device->features) >> (32 * word)));
	}
	write_register(board, 20, 1, 11);
	for (uint32_t i = 0; i < board->device->queue_count; i++) {
		write_register(board, 22, 2, i);
		write_register(board, 24, 2, queue_size);
		write_register(board, 32, 8, i * UINT64_C(0x1000));
		write_register(board, 40, 8, i * UINT64_C(0x1000) + 0x400);
		write_register(board, 48, 8, i * UINT64_C(0x1000) + 0x800);
		write_register(board, 28, 2, 1);
	}
	write_register(board, 20, 1, 15);
}

static void write_memory(struct board *board)
{
	uint64_t at = take(board, 3) % MEMORY, bytes = take(board, 1) % 64;
	if (bytes > board->size)
		bytes = board->size;
	if (guest_write(board->guest, at, board->data, bytes) == 0) {
		board->data += bytes;
		board->size -= bytes;
	}
}

static void send_packet(struct board *board)
{
	uint8_t packet[2048] = {};
	size_t bytes = take(board, 2) % sizeof(packet);
	if (board->peer >= 0 && send(board->peer, packet, bytes, MSG_DONTWAIT) < 0)
		return;
}

static void act(struct board *board)
{
	uint64_t op = take(board, 1), offset;
	switch (op % 8) {
	case 0:
		offset = take(board, 2);
		write_register(board, offset, 1u << (op >> 3 & 3), take(board, 8));
		break;
	case 1:
	case 2:
		write_memory(board);
		break;
	case 3:
		bus_write(&board->bus, BUS_MEMORY,
			PCI_ECAM_AT + (SLOT << 15) + (take(board, 1) & 0xfc), 4, take(board, 4));
		break;
	case 4:
		start(board, take(board, 8), 1 + op / 8);
		break;
	case 5:
		write_register(board, 0x3000 + op / 8 * 4, 2, 0);
		must(loop_step(board->loop, 0));
		break;
	case 6:
		bus_read(&board->bus, BUS_MEMORY, PCI_WINDOW_AT + (take(board, 2) & 0x7ff8),
			1u << (op >> 3 & 3));
		break;
	default:
		send_packet(board);
		must(loop_step(board->loop, 0));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error e = {};
	struct board board = { .peer = -1, .data = data, .size = size };
	board.wires = (struct wires){ &board, line, message, doorbell };
	bus_init(&board.bus);
	must(guest_new(&board.guest, &e));
	must(guest_add(board.guest, 0, MEMORY, GUEST_RAM, &e));
	must(loop_new(&board.loop, &e));
	must(pci_init(&board.pci, &board.bus, &board.wires, &e));
	board.device = new_device(&board, take(&board, 1));
	must(virtio_pci_new(&board.pci, SLOT, board.device, &board.transport, &e));
	must(pci_assign(&board.pci, &e));
	bus_write(&board.bus, BUS_MEMORY, PCI_ECAM_AT + (SLOT << 15) + PCI_COMMAND, 4, 6);
	start(&board, UINT64_MAX ^ UINT64_C(1) << VIRTIO_F_PACKED, 16);
	for (int i = 0; i < STEPS_MAX && board.size > 0; i++)
		act(&board);
	for (int i = 0; i < 3; i++)
		must(loop_step(board.loop, 0));
	virtio_pci_free(board.transport);
	pci_done(&board.pci);
	loop_free(board.loop);
	bus_done(&board.bus);
	guest_free(board.guest);
	if (board.peer >= 0)
		close(board.peer);
	return 0;
}
