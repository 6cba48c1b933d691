/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_parts.c - a hostile guest for the devices that are not virtio's: the input is a device's number, then
 * a program of register and memory writes. Command lists, rings, descriptors and flash commands are what the
 * input says. After each program the device is saved and loaded.
 */
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/loop.h"
#include "devices.h"
#include "disk/disk.h"
#include "vmm/ahci/ahci.h"
#include "vmm/e1000/e1000.h"
#include "vmm/fw_cfg.h"
#include "vmm/pci.h"
#include "vmm/pflash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEMORY      (256 * KIB)
#define DISK_BYTES  (64 * KIB)
#define FLASH_BYTES (32 * KIB)
#define STEPS_MAX   512

struct board {
	struct guest *guest;
	struct loop *loop;
	struct bus bus;
	struct wires wires;
	struct pci pci;
	struct part *part;
	struct fw_cfg fw_cfg;
	bool has_fw_cfg;
	int peer;           /* the other end of a network card */
	uint64_t at, bytes; /* the device's registers */
	struct input input;
};

static void write32(struct board *board, uint64_t offset, uint64_t value)
{
	bus_write(&board->bus, BUS_MEMORY, board->at + offset, 4, value);
}

/* What a driver does first, so that the input meets a device that runs. */
static void start_ahci(struct board *board)
{
	write32(board, 0x04, 2);
	write32(board, 0x100, 0x1000);
	write32(board, 0x108, 0x2000);
	write32(board, 0x114, UINT32_MAX);
	write32(board, 0x118, 0x11);
	/* The CD drive's port. */
	write32(board, 0x180, 0x1400);
	write32(board, 0x188, 0x2800);
	write32(board, 0x194, UINT32_MAX);
	write32(board, 0x198, 0x11);
}

static void start_e1000(struct board *board)
{
	write32(board, 0xd0, UINT32_MAX);
	write32(board, 0x2800, 0x1000);
	write32(board, 0x2808, 0x100);
	write32(board, 0x2818, 15);
	write32(board, 0x3800, 0x2000);
	write32(board, 0x3808, 0x100);
	write32(board, 0x100, 0x801a);
	write32(board, 0x400, 2);
}

static void new_ahci(struct board *board)
{
	struct error e = {};
	struct ahci *ahci;
	struct disk *disk;
	uint32_t port;
	int fd = memfd_create("disk", MFD_CLOEXEC);
	const struct ahci_options options = { .id = "fuzz" };
	must(ftruncate(fd, DISK_BYTES));
	must(raw_open_fd(fd, "disk", false, &disk, &e));
	must(ahci_new(&board->pci, 1, 0, board->guest, board->loop, &board->bus, &ahci, &e));
	must(ahci_add(ahci, disk, &options, &port, &e));
	const struct ahci_options cd = { .id = "fuzz", .is_cd = true };
	fd = memfd_create("disc", MFD_CLOEXEC);
	must(ftruncate(fd, DISK_BYTES));
	must(raw_open_fd(fd, "disc", true, &disk, &e));
	must(ahci_add(ahci, disk, &cd, &port, &e));
	board->part = ahci_part(ahci);
	board->bytes = 0x200;
}

static void new_e1000(struct board *board)
{
	struct error e = {};
	int pair[2];
	must(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair));
	const struct e1000_options options = { .tap = pair[0], .mac = { 2 }, .slot = 1 };
	must(e1000_new(
		&board->pci, board->guest, board->loop, &board->bus, &options, &board->part, &e));
	board->peer = pair[1];
	board->bytes = 0x6000;
}

static void new_pflash(struct board *board)
{
	static const uint8_t kind[16] = { 0x8d, 0x2b, 0xf1, 0xff, 0x96, 0x76, 0x8b, 0x4c, 0xa9,
		0x85, 0x27, 0x47, 0x07, 0x5b, 0x4f, 0x50 };
	struct error e = {};
	struct pflash *pflash;
	struct image file = { memfd_create("vars", MFD_CLOEXEC), "vars", FLASH_BYTES };
	must(ftruncate(file.fd, FLASH_BYTES));
	must(pwrite(file.fd, kind, sizeof(kind), 16) == sizeof(kind) ? 0 : -1);
	must(pwrite(file.fd, "_FVH", 4, 40) == 4 ? 0 : -1);
	must(pflash_new(&board->bus, &file, UINT64_C(0x100000000), &pflash, &e));
	board->part = &pflash->part;
	board->at = UINT64_C(0x100000000) - FLASH_BYTES;
	board->bytes = FLASH_BYTES;
}

static void new_fw_cfg(struct board *board)
{
	struct error e = {};
	must(fw_cfg_init(&board->fw_cfg, &board->bus, board->guest, &e));
	fw_cfg_file(&board->fw_cfg, "etc/one", "0123456789", 10);
	fw_cfg_file(&board->fw_cfg, "etc/two", "", 0);
	board->has_fw_cfg = true;
}

static void new_device(struct board *board)
{
	struct error e = {};
	uint64_t which = take(&board->input, 1) % 4;
	if (which == 2)
		new_pflash(board);
	if (which == 3)
		new_fw_cfg(board);
	if (which > 1)
		return;
	if (which == 0)
		new_ahci(board);
	else
		new_e1000(board);
	must(pci_assign(&board->pci, &e));
	bus_write(&board->bus, BUS_MEMORY, PCI_ECAM_AT + (1 << 15) + PCI_COMMAND, 4, 7);
	board->at = PCI_WINDOW_AT;
	if (which == 0)
		start_ahci(board);
	else
		start_e1000(board);
}

static void write_memory(struct board *board)
{
	uint64_t at = take(&board->input, 3) % MEMORY, bytes = take(&board->input, 1) % 128;
	(void)take_to_guest(&board->input, board->guest, at, bytes);
}

static void send_packet(struct board *board)
{
	uint8_t packet[2048] = {};
	size_t bytes = take(&board->input, 2) % sizeof(packet);
	uint64_t first = take(&board->input, 8);
	memcpy(packet + 12, &first, sizeof(first));
	if (board->peer >= 0 && send(board->peer, packet, bytes, MSG_DONTWAIT) < 0)
		return;
}

/* A command of one slot: the table, one piece of memory, and go. */
static void issue(struct board *board, uint32_t slot)
{
	uint8_t packet[12] = {};
	const uint32_t header[4] = { 5 | 1u << 16, 0, 0x3000 + slot * 0x100, 0 };
	uint8_t fis[20] = {
		0x27, 0x80, (uint8_t)take(&board->input, 1), (uint8_t)take(&board->input, 1),
		(uint8_t)take(&board->input, 1), [7] = 0x40, [12] = (uint8_t)take(&board->input, 1)
	};
	const uint32_t piece[4] = { (uint32_t)(take(&board->input, 2) << 4), 0, 0,
		(uint32_t)take(&board->input, 2) };
	/* A packet is for the CD drive. */
	bool is_packet = fis[2] == 0xa0;
	for (size_t i = 0; is_packet && i < sizeof(packet); i++)
		packet[i] = (uint8_t)take(&board->input, 1);
	must(guest_write(board->guest, 0x3040 + slot * 0x100, packet, sizeof(packet)));
	must(guest_write(
		board->guest, (is_packet ? 0x1400 : 0x1000) + slot * 32, header, sizeof(header)));
	must(guest_write(board->guest, 0x3000 + slot * 0x100, fis, sizeof(fis)));
	must(guest_write(board->guest, 0x3080 + slot * 0x100, piece, sizeof(piece)));
	write32(board, is_packet ? 0x1b8 : 0x138, UINT64_C(1) << slot);
}

static void act(struct board *board)
{
	uint64_t op = take(&board->input, 1);
	uint32_t bytes = 1u << (op >> 3 & 3);
	switch (op % 8) {
	case 0:
	case 1:
		if (board->has_fw_cfg)
			bus_write(&board->bus, BUS_PORTS, 0x510 + take(&board->input, 1) % 12,
				bytes, take(&board->input, 8));
		else
			bus_write(&board->bus, BUS_MEMORY,
				board->at +
					(take(&board->input, 2) % board->bytes & ~(bytes - 1ull)),
				bytes, take(&board->input, bytes));
		break;
	case 2:
	case 3:
		write_memory(board);
		break;
	case 4:
		if (board->has_fw_cfg)
			bus_read(
				&board->bus, BUS_PORTS, 0x510 + take(&board->input, 1) % 12, bytes);
		else
			bus_read(&board->bus, BUS_MEMORY,
				board->at +
					(take(&board->input, 2) % board->bytes & ~(bytes - 1ull)),
				bytes);
		break;
	case 5:
		if (board->bytes == 0x200)
			issue(board, (uint32_t)op >> 3);
		break;
	case 6:
		send_packet(board);
		__attribute__((__fallthrough__));
	default:
		must(loop_step(board->loop, 0));
	}
}

static void save_and_load(struct board *board)
{
	cleanup(state_done) struct state state = {};
	struct error e = {};
	if (board->has_fw_cfg) {
		fw_cfg_save(&board->fw_cfg, &state);
		must(fw_cfg_load(&board->fw_cfg, &state, &e));
		return;
	}
	board->part->driver->pause(board->part, true);
	board->part->driver->save(board->part, &state);
	board->part->driver->reset(board->part);
	must(board->part->driver->load(board->part, &state, &e));
	board->part->driver->pause(board->part, false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error e = {};
	struct board board = { .peer = -1, .input = { data, size } };
	board.wires = (struct wires){ &board, no_line, no_message, no_doorbell, NULL };
	bus_init(&board.bus);
	must(guest_new(&board.guest, &e));
	must(guest_add(board.guest, 0, MEMORY, GUEST_RAM, &e));
	must(loop_new(&board.loop, &e));
	must(pci_init(&board.pci, &board.bus, &board.wires, &e));
	new_device(&board);
	for (int i = 0; i < STEPS_MAX && board.input.size > 0; i++)
		act(&board);
	save_and_load(&board);
	for (int i = 0; i < 3; i++)
		must(loop_step(board.loop, 0));
	if (board.part)
		board.part->driver->free(board.part);
	if (board.has_fw_cfg)
		fw_cfg_done(&board.fw_cfg);
	pci_done(&board.pci);
	loop_free(board.loop);
	bus_done(&board.bus);
	guest_free(board.guest);
	if (board.peer >= 0)
		close(board.peer);
	return 0;
}
