/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/mman.h>

#include "base/loop.h"
#include "disk/disk.h"
#include "test.h"
#include "vmm/ahci/ahci.h"
#include "vmm/bus.h"
#include "vmm/pci.h"

#define MEMORY      (4 * MIB)
#define BLOCK       2048u
#define BLOCKS      64u
#define LIST_AT     0x1000u
#define RECEIVED_AT 0x2000u
#define TABLE_AT    0x3000u
#define DATA_AT     0x10000u
#define FAILED      0x41u

struct board {
	struct guest *guest;
	struct loop *loop;
	struct bus bus;
	struct wires wires;
	struct pci pci;
	struct part *part;
};

static void line(void *data, uint32_t number, bool level)
{
	(void)data;
	(void)number;
	(void)level;
}

static uint32_t get(struct board *board, uint64_t offset)
{
	return (uint32_t)bus_read(&board->bus, BUS_MEMORY, PCI_WINDOW_AT + offset, 4);
}

static void put(struct board *board, uint64_t offset, uint32_t value)
{
	bus_write(&board->bus, BUS_MEMORY, PCI_WINDOW_AT + offset, 4, value);
}

static void start_port(struct board *board)
{
	put(board, 0x04, 2);
	put(board, 0x100, LIST_AT);
	put(board, 0x108, RECEIVED_AT);
	put(board, 0x114, UINT32_MAX);
	put(board, 0x118, 0x11);
}

static void begin(struct board *board)
{
	struct error e = {};
	struct ahci *ahci;
	struct disk *disk;
	uint32_t port;
	const struct ahci_options options = { .id = "disc", .is_cd = true };
	int fd = memfd_create("disc", MFD_CLOEXEC);
	expect(ftruncate(fd, BLOCKS * BLOCK) == 0);
	for (uint32_t i = 0; i < BLOCKS; i++)
		expect(pwrite(fd, &i, sizeof(i), i * BLOCK) == sizeof(i));
	*board = (struct board){};
	board->wires = (struct wires){ board, line, NULL, NULL, NULL };
	bus_init(&board->bus);
	expect(guest_new(&board->guest, &e) == 0);
	expect(guest_add(board->guest, 0, MEMORY, GUEST_RAM, &e) == 0);
	expect(loop_new(&board->loop, &e) == 0);
	expect(pci_init(&board->pci, &board->bus, &board->wires, &e) == 0);
	expect(raw_open_fd(fd, "disc", true, &disk, &e) == 0);
	expect(ahci_new(&board->pci, 1, 0, board->guest, board->loop, &board->bus, &ahci, &e) == 0);
	expect(ahci_add(ahci, disk, &options, &port, &e) == 0);
	board->part = ahci_part(ahci);
	expect(pci_assign(&board->pci, &e) == 0);
	bus_write(&board->bus, BUS_MEMORY, PCI_ECAM_AT + (1 << 15) + PCI_COMMAND, 2, 7);
	start_port(board);
}

static void end(struct board *board)
{
	board->part->driver->free(board->part);
	pci_done(&board->pci);
	loop_free(board->loop);
	bus_done(&board->bus);
	guest_free(board->guest);
}

/* An ATA command with a packet and room for `bytes`; what the task file says then. */
static uint32_t command(struct board *board, uint8_t code, const uint8_t packet[12], uint32_t bytes)
{
	const uint8_t fis[20] = { 0x27, 0x80, code, 1 };
	const uint32_t header[4] = { 5 | (bytes ? 1u << 16 : 0), 0, TABLE_AT, 0 };
	const uint32_t piece[4] = { DATA_AT, 0, 0, bytes - 1 };
	expect(guest_write(board->guest, LIST_AT, header, sizeof(header)) == 0);
	expect(guest_write(board->guest, TABLE_AT, fis, sizeof(fis)) == 0);
	expect(guest_write(board->guest, TABLE_AT + 0x40, packet, 12) == 0);
	expect(guest_write(board->guest, TABLE_AT + 0x80, piece, sizeof(piece)) == 0);
	put(board, 0x138, 1);
	for (int i = 0; i < 6000 && (get(board, 0x138) & 1) && !(get(board, 0x110) >> 30 & 1); i++)
		expect(loop_step(board->loop, 10 * NS_PER_MS) >= 0);
	uint32_t tfd = get(board, 0x120);
	if (tfd & 1) { /* an error stops the port */
		put(board, 0x118, 0x10);
		put(board, 0x110, UINT32_MAX);
		put(board, 0x118, 0x11);
	}
	return tfd;
}

static uint32_t packet(struct board *board, const uint8_t bytes[12], uint32_t room)
{
	return command(board, 0xa0, bytes, room);
}

static uint8_t byte_at(const struct board *board, uint32_t offset)
{
	uint8_t byte;
	expect(guest_read(board->guest, DATA_AT + offset, &byte, 1) == 0);
	return byte;
}

static uint32_t got(const struct board *board)
{
	uint32_t done;
	expect(guest_read(board->guest, LIST_AT + 4, &done, sizeof(done)) == 0);
	return done;
}

/* Key, code and qualifier of the error before. */
static uint32_t sense(struct board *board)
{
	expect_equal(packet(board, (const uint8_t[12]){ 0x03, [4] = 18 }, 18) & 1, 0);
	return (uint32_t)byte_at(board, 2) << 16 | (uint32_t)byte_at(board, 12) << 8 |
		byte_at(board, 13);
}

static void says_what_it_is(void)
{
	struct board board;
	uint16_t words[256];
	begin(&board);
	expect_equal(get(&board, 0x124), 0xeb140101);
	expect_equal(command(&board, 0xa1, (const uint8_t[12]){}, 512), 0x50);
	expect(guest_read(board.guest, DATA_AT, words, sizeof(words)) == 0);
	expect_equal(words[0], 0x85c0);
	expect_equal(words[27], 'B' << 8 | 'E');
	/* Who asks for a disk learns that there is none. */
	uint8_t frame[20];
	expect_equal(command(&board, 0xec, (const uint8_t[12]){}, 512), FAILED | 4 << 8);
	expect(guest_read(board.guest, RECEIVED_AT + 0x40, frame, sizeof(frame)) == 0);
	expect_equal(frame[5] | frame[6] << 8, 0xeb14);
	expect_equal(packet(&board, (const uint8_t[12]){ 0x12, [4] = 36 }, 36), 0x50);
	expect_equal(byte_at(&board, 0), 5);
	expect_equal(byte_at(&board, 1), 0x80);
	expect_equal(got(&board), 36);
	/* No more than it was asked for, and no more than there is room. */
	expect_equal(packet(&board, (const uint8_t[12]){ 0x12, [4] = 5 }, 36), 0x50);
	expect_equal(got(&board), 5);
	expect_equal(packet(&board, (const uint8_t[12]){ 0x12, [4] = 36 }, 8), 0x50);
	expect_equal(got(&board), 8);
	end(&board);
}

static void reads_the_disc(void)
{
	struct board board;
	uint32_t word;
	begin(&board);
	expect_equal(packet(&board, (const uint8_t[12]){ 0x00 }, 0), 0x50);
	expect_equal(packet(&board, (const uint8_t[12]){ 0x25 }, 8), 0x50);
	expect_equal(byte_at(&board, 3), BLOCKS - 1);
	expect_equal(byte_at(&board, 6), BLOCK >> 8);
	expect_equal(
		packet(&board, (const uint8_t[12]){ 0x28, [5] = 5, [8] = 3 }, 3 * BLOCK), 0x50);
	expect_equal(got(&board), 3 * BLOCK);
	for (uint32_t i = 0; i < 3; i++) {
		expect(guest_read(board.guest, DATA_AT + i * BLOCK, &word, sizeof(word)) == 0);
		expect_equal(word, 5 + i);
	}
	expect_equal(packet(&board, (const uint8_t[12]){ 0xa8, [5] = 63, [9] = 1 }, BLOCK), 0x50);
	expect(guest_read(board.guest, DATA_AT, &word, sizeof(word)) == 0);
	expect_equal(word, 63);
	expect_equal(packet(&board, (const uint8_t[12]){ 0x28, [5] = 5 }, 0), 0x50);
	expect_equal(packet(&board, (const uint8_t[12]){ 0x43, [8] = 20 }, 20), 0x50);
	expect_equal(byte_at(&board, 1), 18);
	expect_equal(byte_at(&board, 14), 0xaa);
	expect_equal(byte_at(&board, 19), BLOCKS);
	expect_equal(packet(&board, (const uint8_t[12]){ 0x5a, [2] = 0x2a, [8] = 64 }, 64), 0x50);
	expect_equal(byte_at(&board, 8), 0x2a);
	expect_equal(packet(&board, (const uint8_t[12]){ 0x46, [8] = 64 }, 64), 0x50);
	expect_equal(byte_at(&board, 7), 8);
	end(&board);
}

static void refuses_in_its_own_words(void)
{
	struct board board;
	begin(&board);
	expect_equal(
		packet(&board, (const uint8_t[12]){ 0x2a, [8] = 1 }, BLOCK), FAILED | 0x54 << 8);
	expect_equal(sense(&board), 0x052000);
	expect_equal(sense(&board), 0);
	expect(packet(&board, (const uint8_t[12]){ 0x28, [5] = 63, [8] = 2 }, 2 * BLOCK) & 1);
	expect_equal(sense(&board), 0x052100);
	expect(packet(&board, (const uint8_t[12]){ 0xa8, [2] = 0xff, [6] = 0xff }, BLOCK) & 1);
	expect_equal(sense(&board), 0x052100);
	/* Less room than was asked for. */
	expect(packet(&board, (const uint8_t[12]){ 0x28, [8] = 2 }, BLOCK) & 1);
	expect_equal(sense(&board), 0x052400);
	expect(packet(&board, (const uint8_t[12]){ 0x5a, [2] = 0x3e, [8] = 64 }, 64) & 1);
	end(&board);
}

static void ejects(void)
{
	struct board board;
	struct state state = {};
	struct error e = {};
	begin(&board);
	expect_equal(packet(&board, (const uint8_t[12]){ 0x1b, [4] = 2 }, 0), 0x50);
	expect(packet(&board, (const uint8_t[12]){ 0x28, [8] = 1 }, BLOCK) & 1);
	/* What went wrong, and that the tray is out, outlive a save. */
	board.part->driver->save(board.part, &state);
	board.part->driver->reset(board.part);
	expect(board.part->driver->load(board.part, &state, &e) == 0);
	state_done(&state);
	expect_equal(sense(&board), 0x023a00);
	expect_equal(packet(&board, (const uint8_t[12]){ 0x4a, 1, [4] = 0x10, [8] = 8 }, 8), 0x50);
	expect_equal(byte_at(&board, 5), 0);
	expect(packet(&board, (const uint8_t[12]){ 0x00 }, 0) & 1);
	board.part->driver->reset(board.part);
	start_port(&board);
	expect_equal(packet(&board, (const uint8_t[12]){ 0x00 }, 0), 0x50);
	end(&board);
}

static const struct test tests[] = {
	{ "a CD drive says what it is, and never more than it was asked for", says_what_it_is },
	{ "a CD drive reads its disc", reads_the_disc },
	{ "what a CD drive cannot do it refuses with a reason that can be asked for",
		refuses_in_its_own_words },
	{ "a disc that was ejected is out, also after a load, until the machine is reset", ejects },
};
TEST_MAIN(tests)
