/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_virtio.c - a hostile guest for each virtio device: the input is a device's number (its top bit asks
 * for packed rings), then a program
 * of register writes, memory writes and kicks. Rings, descriptors and requests are what the input says.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/loop.h"
#include "devices.h"
#include "disk/disk.h"
#include "vmm/bus.h"
#include "vmm/pci.h"
#include "vmm/virtio/balloon.h"
#include "vmm/virtio/block.h"
#include "vmm/virtio/console.h"
#include "vmm/virtio/memory.h"
#include "vmm/virtio/net.h"
#include "vmm/virtio/pci.h"
#include "vmm/virtio/rng.h"
#include "vmm/virtio/vsock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEMORY     (128 * KIB)
#define DISK_BYTES (64 * KIB)
#define ROOM_AT    UINT64_C(0x40000000)
#define ROOM_BYTES (44 * MIB)
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
	int peer;     /* the other end of a network card */
	int listener; /* where a host's program finds the guest's sockets */
	int client;   /* such a program's end */
	struct input input;
};

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
	int pairs[2][2], taps[2];
	struct virtio_device *device;
	for (int i = 0; i < 2; i++) {
		must(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pairs[i]));
		taps[i] = pairs[i][0];
	}
	const struct net_options options = { .taps = taps, .pairs = 2, .mac = { 2 }, .mtu = 1500 };
	must(net_new(board->guest, board->loop, &board->bus, &options, &device, &e));
	board->peer = pairs[0][1];
	close(pairs[1][1]); /* a tap that is gone */
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
	board->listener = fd;
	must(vsock_new(board->guest, board->loop, &board->bus, 3, fd, &device, &e));
	return device;
}

static struct virtio_device *new_device(struct board *board, uint64_t which)
{
	switch (which % 7) {
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
	case 6:
		must(guest_add(board->guest, ROOM_AT, ROOM_BYTES, GUEST_RAM, &(struct error){}));
		return memory_new(board->guest, board->loop, &board->bus, ROOM_AT, ROOM_BYTES);
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
	uint64_t at = take(&board->input, 3) % MEMORY, bytes = take(&board->input, 1) % 64;
	(void)take_to_guest(&board->input, board->guest, at, bytes);
}

static void send_packet(struct board *board)
{
	uint8_t packet[2048] = {};
	size_t bytes = take(&board->input, 2) % sizeof(packet);
	if (board->peer >= 0 && send(board->peer, packet, bytes, MSG_DONTWAIT) < 0)
		return;
}

/* A program of the host: it comes, says where it wants to go, talks, goes. */
static void use_socket(struct board *board)
{
	struct sockaddr_un address;
	socklen_t length = sizeof(address);
	char line[64];
	int n = snprintf(line, sizeof(line), "CONNECT %u\n", (unsigned)take(&board->input, 1));
	if (board->client >= 0) {
		if (take(&board->input, 1) & 1) {
			close(board->client);
			board->client = -1;
		} else if (send(board->client, line, (size_t)n, MSG_DONTWAIT) < 0) {
			return;
		}
		return;
	}
	must(getsockname(board->listener, (struct sockaddr *)&address, &length));
	board->client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (connect(board->client, (struct sockaddr *)&address, length) < 0 ||
		send(board->client, line, (size_t)n, MSG_DONTWAIT) < 0)
		return;
}

/* What the rest of the monitor asks of a device. */
static void use_device(struct board *board)
{
	static const uint8_t typed[] = "typed by a person";
	struct virtio_device *device = board->device;
	bus_enter(&board->bus);
	if (device->driver->id == VIRTIO_ID_CONSOLE) {
		virtio_console_input(device, typed, sizeof(typed));
		virtio_console_resize(device, (uint16_t)take(&board->input, 1), 25);
	} else if (device->driver->id == VIRTIO_ID_BALLOON) {
		balloon_set(device, take(&board->input, 2) << 12);
		balloon_hints(device, take(&board->input, 1) & 1);
		balloon_ask(device);
		balloon_stats(device);
	} else if (device->driver->id == VIRTIO_ID_MEMORY) {
		memory_want(device, take(&board->input, 2) << 16);
		if (memory_plugged(device) > ROOM_BYTES)
			abort();
	} else if (device->driver->id == VIRTIO_ID_BLOCK) {
		block_resize(device, DISK_BYTES);
	}
	bus_leave(&board->bus);
}

/* Saved, and loaded again: what the guest made of the device must not make that fail. */
static void save_and_load(struct board *board)
{
	struct state state = {};
	struct error e = {};
	bus_enter(&board->bus);
	virtio_pci_pause(board->transport, true);
	virtio_pci_save(board->transport, &state);
	must(virtio_pci_load(board->transport, &state, &e));
	virtio_pci_pause(board->transport, false);
	bus_leave(&board->bus);
	state_done(&state);
}

static void act(struct board *board)
{
	uint64_t op = take(&board->input, 1), offset;
	switch (op % 8) {
	case 0:
		offset = take(&board->input, 2);
		write_register(board, offset, 1u << (op >> 3 & 3), take(&board->input, 8));
		break;
	case 1:
	case 2:
		write_memory(board);
		break;
	case 3:
		bus_write(&board->bus, BUS_MEMORY,
			PCI_ECAM_AT + (SLOT << 15) + (take(&board->input, 1) & 0xfc), 4,
			take(&board->input, 4));
		break;
	case 4:
		start(board, take(&board->input, 8), 1 + op / 8);
		break;
	case 5:
		write_register(board, 0x3000 + op / 8 * 4, 2, 0);
		must(loop_step(board->loop, 0));
		break;
	case 6:
		bus_read(&board->bus, BUS_MEMORY, PCI_WINDOW_AT + (take(&board->input, 2) & 0x7ff8),
			1u << (op >> 3 & 3));
		break;
	default:
		if (op >> 3 == 31)
			save_and_load(board);
		else if (op >> 3 == 30)
			use_device(board);
		else if (op >> 3 == 29 && board->listener >= 0)
			use_socket(board);
		else
			send_packet(board);
		must(loop_step(board->loop, 0));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	signal(SIGPIPE, SIG_IGN); /* as the monitor does */
	struct error e = {};
	struct board board = { .peer = -1, .listener = -1, .client = -1, .input = { data, size } };
	board.wires = (struct wires){ &board, no_line, no_message, no_doorbell, NULL };
	bus_init(&board.bus);
	must(guest_new(&board.guest, &e));
	must(guest_add(board.guest, 0, MEMORY, GUEST_RAM, &e));
	must(loop_new(&board.loop, &e));
	must(pci_init(&board.pci, &board.bus, &board.wires, &e));
	uint64_t which = take(&board.input, 1);
	board.device = new_device(&board, which & 0x7f);
	must(virtio_pci_new(&board.pci, SLOT, board.device, &board.transport, &e));
	must(pci_assign(&board.pci, &e));
	bus_write(&board.bus, BUS_MEMORY, PCI_ECAM_AT + (SLOT << 15) + PCI_COMMAND, 4, 6);
	start(&board, UINT64_MAX ^ (which & 0x80 ? 0 : UINT64_C(1) << VIRTIO_F_PACKED), 16);
	for (int i = 0; i < STEPS_MAX && board.input.size > 0; i++)
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
	if (board.client >= 0)
		close(board.client);
	return 0;
}
