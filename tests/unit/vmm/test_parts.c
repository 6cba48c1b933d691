/* SPDX-License-Identifier: Apache-2.0 */
/* The devices that are not virtio's: flash, SATA, e1000; and the CPU's first steps in their firmware. */
#include <endian.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/loop.h"
#include "disk/disk.h"
#include "test.h"
#include "vmm/ahci/ahci.h"
#include "vmm/e1000/e1000.h"
#include "vmm/pci.h"
#include "vmm/pflash.h"
#include "vmm/soft/pit.h"
#include "vmm/soft/soft.h"

#define MEMORY      (1 * MIB)
#define DISK_BYTES  (1 * MIB)
#define FLASH_BYTES 0x8000u
#define FLASH_AT    (UINT64_C(0x100000000) - FLASH_BYTES)
#define LIST_AT     0x1000u
#define RECEIVED_AT 0x2000u
#define TABLE_AT    0x3000u
#define DATA_AT     0x10000u

struct board {
	struct guest *guest;
	struct loop *loop;
	struct bus bus;
	struct wires wires;
	struct pci pci;
	struct part *part;
	int fd; /* the file of the device, or the other end of a card */
	bool level;
};

static void line(void *data, uint32_t number, bool level)
{
	struct board *board = data;
	(void)number;
	board->level = level;
}

static void message(void *data, uint64_t address, uint32_t value)
{
	(void)data;
	(void)address;
	(void)value;
}

static void begin(struct board *board)
{
	struct error e = {};
	*board = (struct board){ .fd = -1 };
	board->wires = (struct wires){ board, line, message, NULL, NULL };
	bus_init(&board->bus);
	expect(guest_new(&board->guest, &e) == 0);
	expect(guest_add(board->guest, 0, MEMORY, GUEST_RAM, &e) == 0);
	expect(loop_new(&board->loop, &e) == 0);
	expect(pci_init(&board->pci, &board->bus, &board->wires, &e) == 0);
}

static void end(struct board *board)
{
	board->part->driver->free(board->part);
	pci_done(&board->pci);
	loop_free(board->loop);
	bus_done(&board->bus);
	guest_free(board->guest);
	close(board->fd);
}

static uint32_t get(struct board *board, uint64_t offset)
{
	return (uint32_t)bus_read(&board->bus, BUS_MEMORY, PCI_WINDOW_AT + offset, 4);
}

static void put(struct board *board, uint64_t offset, uint32_t value)
{
	bus_write(&board->bus, BUS_MEMORY, PCI_WINDOW_AT + offset, 4, value);
}

static void turn(struct board *board)
{
	for (int i = 0; i < 20; i++)
		expect(loop_step(board->loop, 10) >= 0);
}

static void power_up(struct board *board)
{
	struct error e = {};
	expect(pci_assign(&board->pci, &e) == 0);
	bus_write(&board->bus, BUS_MEMORY, PCI_ECAM_AT + (1 << 15) + PCI_COMMAND, 2, 7);
}

/* Flash. */

static int variables(size_t bytes)
{
	static const uint8_t kind[16] = { 0x8d, 0x2b, 0xf1, 0xff, 0x96, 0x76, 0x8b, 0x4c, 0xa9,
		0x85, 0x27, 0x47, 0x07, 0x5b, 0x4f, 0x50 };
	int fd = memfd_create("vars", MFD_CLOEXEC);
	expect(ftruncate(fd, (off_t)bytes) == 0);
	expect(pwrite(fd, kind, sizeof(kind), 16) == sizeof(kind));
	expect(pwrite(fd, "_FVH", 4, 40) == 4);
	return fd;
}

static void begin_flash(struct board *board)
{
	struct error e = {};
	struct pflash *pflash;
	begin(board);
	board->fd = variables(FLASH_BYTES);
	const struct image file = { dup(board->fd), "vars", FLASH_BYTES };
	expect(pflash_new(&board->bus, &file, FLASH_AT + FLASH_BYTES, &pflash, &e) == 0);
	board->part = &pflash->part;
}

static void flash_write(struct board *board, uint64_t at, uint8_t value)
{
	bus_write(&board->bus, BUS_MEMORY, FLASH_AT + at, 1, value);
}

static uint64_t flash_read(struct board *board, uint64_t at, uint32_t bytes)
{
	return bus_read(&board->bus, BUS_MEMORY, FLASH_AT + at, bytes);
}

static uint8_t in_file(const struct board *board, off_t at)
{
	uint8_t byte = 0;
	expect(pread(board->fd, &byte, 1, at) == 1);
	return byte;
}

static void flash_keeps(void)
{
	struct board board;
	begin_flash(&board);
	expect_equal(flash_read(&board, 40, 4), le32toh(0x4856465f)); /* "_FVH" */
	flash_write(&board, 0x1234, 0x10);
	flash_write(&board, 0x1234, 0x5a);
	expect_equal(flash_read(&board, 0, 1), 0x80);
	expect_equal(in_file(&board, 0x1234), 0x5a);
	flash_write(&board, 0x1000, 0x20);
	flash_write(&board, 0x1000, 0xd0);
	flash_write(&board, 0, 0xff);
	expect_equal(flash_read(&board, 0x1234, 1), 0xff);
	expect_equal(in_file(&board, 0x1fff), 0xff);
	expect_equal(in_file(&board, 0x2000), 0);
	/* By this OVMF tells flash from memory: the status is clear, and reads as none of the commands. */
	flash_write(&board, 0, 0x50);
	flash_write(&board, 0, 0x70);
	expect_equal(flash_read(&board, 0, 1), 0);
	end(&board);
}

static void flash_buffers(void)
{
	struct board board;
	cleanup(state_done) struct state state = {};
	struct error e = {};
	begin_flash(&board);
	flash_write(&board, 0x84, 0xe8);
	flash_write(&board, 0x84, 2);
	flash_write(&board, 0x84, 1);
	flash_write(&board, 0x85, 2);
	/* Half of it, and the machine is saved and goes on. */
	board.part->driver->save(board.part, &state);
	board.part->driver->reset(board.part);
	expect_equal(flash_read(&board, 0x84, 1), 0);
	expect(board.part->driver->load(board.part, &state, &e) == 0);
	flash_write(&board, 0x86, 3);
	flash_write(&board, 0x84, 0xd0);
	expect_equal(in_file(&board, 0x84), 1);
	expect_equal(in_file(&board, 0x86), 3);
	/* A count that is too large, and a confirmation that is none, are errors and change nothing. */
	flash_write(&board, 0x100, 0xe8);
	flash_write(&board, 0x100, 0xff);
	expect_equal(flash_read(&board, 0, 1) & 0x30, 0x30);
	flash_write(&board, 0, 0x50);
	flash_write(&board, 0, 0x20);
	flash_write(&board, 0, 0xff);
	expect_equal(flash_read(&board, 0, 1) & 0x30, 0x30);
	expect_equal(in_file(&board, 40), '_');
	end(&board);
}

static void flash_refuses(void)
{
	struct board board;
	struct pflash *pflash;
	begin_flash(&board);
	const uint64_t end_at = UINT64_C(0x80000000);
	struct error e = {};
	struct image file = { memfd_create("x", MFD_CLOEXEC), "zeroes", 8192 };
	expect(ftruncate(file.fd, 8192) == 0);
	expect(pflash_new(&board.bus, &file, end_at, &pflash, &e) == -EINVAL);
	expect(strstr(e.text, "zeroes: no variables of UEFI") != NULL);
	file.bytes = 1000;
	e = (struct error){};
	expect(pflash_new(&board.bus, &file, end_at, &pflash, &e) == -EINVAL);
	expect(strstr(e.text, "1000 bytes are not whole blocks") != NULL);
	close(file.fd);
	end(&board);
}

/* SATA. */

static void begin_sata(struct board *board)
{
	struct error e = {};
	struct ahci *ahci;
	struct disk *disk;
	uint32_t port;
	const struct ahci_options options = { .id = "tested" };
	begin(board);
	board->fd = memfd_create("disk", MFD_CLOEXEC);
	expect(ftruncate(board->fd, DISK_BYTES) == 0);
	expect(raw_open_fd(dup(board->fd), "disk", false, &disk, &e) == 0);
	expect(ahci_new(&board->pci, 1, 0, board->guest, board->loop, &board->bus, &ahci, &e) == 0);
	expect(ahci_add(ahci, disk, &options, &port, &e) == 0);
	board->part = ahci_part(ahci);
	power_up(board);
	put(board, 0x04, 2);
	put(board, 0x100, LIST_AT);
	put(board, 0x108, RECEIVED_AT);
	put(board, 0x114, UINT32_MAX);
	put(board, 0x118, 0x11);
}

static void set_up(
	struct board *board, uint32_t slot, const uint8_t fis[20], uint64_t at, uint32_t bytes)
{
	const uint32_t table = TABLE_AT + slot * 0x100;
	const uint32_t header[4] = { 5 | (bytes ? 1u << 16 : 0), 0, table, 0 };
	const uint32_t piece[4] = { (uint32_t)at, (uint32_t)(at >> 32), 0, bytes - 1 };
	expect(guest_write(board->guest, LIST_AT + slot * 32, header, sizeof(header)) == 0);
	expect(guest_write(board->guest, table, fis, 20) == 0);
	expect(guest_write(board->guest, table + 0x80, piece, sizeof(piece)) == 0);
}

static void command(
	struct board *board, uint8_t code, uint32_t sector, uint8_t count, uint32_t bytes)
{
	const uint8_t fis[20] = { 0x27, 0x80, code, 0, (uint8_t)sector, (uint8_t)(sector >> 8),
		(uint8_t)(sector >> 16), 0x40, [12] = count };
	set_up(board, 0, fis, DATA_AT, bytes);
	put(board, 0x138, 1);
	turn(board);
	/* On a busy host the disk takes its time: until the command is over, or has failed. */
	for (int i = 0; i < 60000 && (get(board, 0x138) & 1) && !(get(board, 0x120) & 1); i++)
		expect(loop_step(board->loop, NS_PER_SEC / 1000) >= 0);
}

static void sata_identifies(void)
{
	struct board board;
	uint16_t words[256];
	begin_sata(&board);
	expect_equal(get(&board, 0x124), 0x101);
	expect_equal(get(&board, 0x128) & 15, 3);
	command(&board, 0xec, 0, 0, 512);
	expect_equal(get(&board, 0x138), 0);
	expect_equal(get(&board, 0x120), 0x50);
	expect(board.level);
	expect(guest_read(board.guest, DATA_AT, words, sizeof(words)) == 0);
	expect_equal(words[27], 'B' << 8 | 'E');
	expect_equal(words[10], 't' << 8 | 'e');
	expect_equal(words[60] | (uint32_t)words[61] << 16, DISK_BYTES / 512);
	uint8_t sum = 0;
	for (int i = 0; i < 512; i++)
		sum = (uint8_t)(sum + ((const uint8_t *)words)[i]);
	expect_equal(sum, 0);
	/* The line falls when both causes are taken away. */
	put(&board, 0x110, UINT32_MAX);
	expect(board.level);
	put(&board, 0x08, UINT32_MAX);
	expect(!board.level);
	end(&board);
}

static void sata_reads_and_writes(void)
{
	struct board board;
	uint8_t out[1024], in[1024] = {};
	begin_sata(&board);
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7);
	expect(guest_write(board.guest, DATA_AT, out, sizeof(out)) == 0);
	command(&board, 0x35, 5, 2, sizeof(out));
	expect_equal(get(&board, 0x120), 0x50);
	expect(pread(board.fd, in, sizeof(in), 5L * 512) == sizeof(in));
	expect(memcmp(in, out, sizeof(in)) == 0);
	memset(in, 0, sizeof(in));
	expect(guest_write(board.guest, DATA_AT, in, sizeof(in)) == 0);
	command(&board, 0x25, 5, 2, sizeof(in));
	expect(guest_read(board.guest, DATA_AT, in, sizeof(in)) == 0);
	expect(memcmp(in, out, sizeof(in)) == 0);
	uint32_t done = 0;
	expect(guest_read(board.guest, LIST_AT + 4, &done, sizeof(done)) == 0);
	expect_equal(done, sizeof(in));
	end(&board);
}

static void sata_queues(void)
{
	struct board board;
	begin_sata(&board);
	for (uint8_t slot = 0; slot < 32; slot++) {
		const uint8_t fis[20] = { 0x27, 0x80, 0x61, 1, slot, 0, 0,
			0x40, [12] = (uint8_t)(slot << 3) };
		uint8_t block[512];
		memset(block, slot + 1, sizeof(block));
		set_up(&board, slot, fis, DATA_AT + slot * 512u, 512);
		expect(guest_write(board.guest, DATA_AT + slot * 512u, block, sizeof(block)) == 0);
	}
	put(&board, 0x134, UINT32_MAX);
	put(&board, 0x138, UINT32_MAX);
	turn(&board);
	expect_equal(get(&board, 0x134), 0);
	expect_equal(get(&board, 0x138), 0);
	expect(get(&board, 0x110) & 8);
	for (int slot = 0; slot < 32; slot++)
		expect_equal(in_file(&board, slot * 512), slot + 1);
	end(&board);
}

static void sata_fails(void)
{
	struct board board;
	begin_sata(&board);
	/* Behind the end: an error, and the port stops until it is started anew. */
	command(&board, 0x25, DISK_BYTES / 512 - 1, 2, 1024);
	expect_equal(get(&board, 0x120) & 0xff, 0x41);
	expect(get(&board, 0x110) & 1u << 30);
	expect_equal(get(&board, 0x138), 1);
	put(&board, 0x118, 0x10);
	expect_equal(get(&board, 0x138), 0);
	put(&board, 0x118, 0x11);
	/* Memory that is not there; then what no disk knows; then less memory than data. */
	put(&board, 0x110, UINT32_MAX);
	const uint8_t fis[20] = { 0x27, 0x80, 0x25, 0, 0, 0, 0, 0x40, [12] = 1 };
	set_up(&board, 0, fis, UINT64_C(0xfff0000000), 512);
	put(&board, 0x138, 1);
	turn(&board);
	expect(get(&board, 0x110) & 1u << 29);
	for (int i = 0; i < 2; i++) {
		put(&board, 0x118, 0x10);
		put(&board, 0x118, 0x11);
		put(&board, 0x110, UINT32_MAX);
		command(&board, i ? 0x25 : 0xff, 0, 2, 512);
		expect_equal(get(&board, 0x120), 0x441);
	}
	/* A reset of the link makes all good. */
	put(&board, 0x118, 0x10);
	put(&board, 0x12c, 0x301);
	put(&board, 0x12c, 0x300);
	put(&board, 0x118, 0x11);
	command(&board, 0xec, 0, 0, 512);
	expect_equal(get(&board, 0x120), 0x50);
	end(&board);
}

static void sata_is_saved(void)
{
	struct board board;
	cleanup(state_done) struct state state = {};
	struct error e = {};
	begin_sata(&board);
	const uint8_t fis[20] = { 0x27, 0x80, 0xec, 0, 0, 0, 0, 0x40 };
	set_up(&board, 0, fis, DATA_AT, 512);
	/* It was issued, nobody has begun it. */
	put(&board, 0x138, 1);
	board.part->driver->pause(board.part, true);
	turn(&board);
	board.part->driver->save(board.part, &state);
	board.part->driver->reset(board.part);
	expect_equal(get(&board, 0x138), 0);
	expect(board.part->driver->load(board.part, &state, &e) == 0);
	expect_equal(get(&board, 0x138), 1);
	board.part->driver->pause(board.part, false);
	turn(&board);
	expect_equal(get(&board, 0x138), 0);
	expect_equal(get(&board, 0x120), 0x50);
	end(&board);
}

/* The card. */

#define RING_SEND    0x1000u
#define RING_RECEIVE 0x2000u

static void begin_card(struct board *board)
{
	struct error e = {};
	int pair[2];
	begin(board);
	expect(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	const struct e1000_options options = {
		.tap = pair[0], .mac = { 2, 0, 0, 0, 0, 9 }, .slot = 1
	};
	expect(e1000_new(&board->pci, board->guest, board->loop, &board->bus, &options,
		       &board->part, &e) == 0);
	board->fd = pair[1];
	power_up(board);
	put(board, 0xd0, UINT32_MAX);
	put(board, 0x2800, RING_RECEIVE);
	put(board, 0x2808, 256);
	put(board, 0x3800, RING_SEND);
	put(board, 0x3808, 256);
	put(board, 0x100, 0x04008002); /* on, broadcasts, without CRC */
	put(board, 0x400, 2);
}

static uint16_t eeprom_word(struct board *board, uint32_t address)
{
	uint32_t bits = 6u << 6 | address, value = 0;
	put(board, 0x10, 0x40);
	expect(get(board, 0x10) & 0x80);
	put(board, 0x10, 0x42);
	for (int i = 8; i >= 0; i--) {
		uint32_t in = bits >> i & 1 ? 4 : 0;
		put(board, 0x10, 0x42 | in);
		put(board, 0x10, 0x43 | in);
		put(board, 0x10, 0x42 | in);
	}
	for (int i = 0; i < 16; i++) {
		put(board, 0x10, 0x43);
		value = value << 1 | (get(board, 0x10) >> 3 & 1);
		put(board, 0x10, 0x42);
	}
	put(board, 0x10, 0);
	return (uint16_t)value;
}

static void card_has_an_eeprom(void)
{
	struct board board;
	uint16_t sum = 0;
	begin_card(&board);
	expect_equal(eeprom_word(&board, 0), 0x0002);
	expect_equal(eeprom_word(&board, 2), 0x0900);
	for (uint32_t i = 0; i < 64; i++)
		sum = (uint16_t)(sum + eeprom_word(&board, i));
	expect_equal(sum, 0xbaba);
	put(&board, 0x14, 0x201);
	expect_equal(get(&board, 0x14), 0x09000210);
	put(&board, 0x20, 2u << 26 | 1u << 21 | 2u << 16);
	expect_equal(get(&board, 0x20) & 0xffff, 0x0141);
	expect(get(&board, 0x08) & 2);
	end(&board);
}

static void card_sends(void)
{
	struct board board;
	cleanup(state_done) struct state state = {};
	struct error e = {};
	uint8_t packet[100], got[256];
	struct {
		uint64_t at;
		uint32_t low, high;
	} ring[2] = { { DATA_AT, 40 | 0x08000000, 0 }, { DATA_AT + 40, 60 | 0x09000000, 0 } };
	begin_card(&board);
	for (size_t i = 0; i < sizeof(packet); i++)
		packet[i] = (uint8_t)i;
	expect(guest_write(board.guest, DATA_AT, packet, sizeof(packet)) == 0);
	expect(guest_write(board.guest, RING_SEND, ring, sizeof(ring)) == 0);
	put(&board, 0x3818, 1);
	turn(&board);
	/* Half of a packet is taken: it is part of what is saved. */
	expect(recv(board.fd, got, sizeof(got), 0) < 0);
	board.part->driver->pause(board.part, true);
	board.part->driver->save(board.part, &state);
	board.part->driver->reset(board.part);
	expect(board.part->driver->load(board.part, &state, &e) == 0);
	board.part->driver->pause(board.part, false);
	put(&board, 0x3818, 2);
	turn(&board);
	expect_equal(recv(board.fd, got, sizeof(got), 0), 112);
	expect(memcmp(got + 12, packet, sizeof(packet)) == 0);
	expect_equal(get(&board, 0x3810), 2);
	expect(board.level);
	expect(get(&board, 0xc0) & 1);
	expect(!board.level);
	expect(guest_read(board.guest, RING_SEND, ring, sizeof(ring)) == 0);
	expect_equal(ring[1].high & 1, 1);
	end(&board);
}

static void card_leaves_sums_to_the_host(void)
{
	struct board board;
	uint8_t packet[100] = { [12] = 8 }, got[256];
	struct {
		uint64_t at;
		uint32_t low, high;
	} ring[2] = {
		/* IP header from 14, its sum at 24, to 33; TCP from 34, its sum at 50; segments of 20. */
		{ 14 | 24 << 8 | 33 << 16 | UINT64_C(34) << 32 | UINT64_C(50) << 40,
			0x27000000 | 46, 54 << 8 | 20 << 16 },
		{ DATA_AT, 100 | 0x2d100000, 3 << 8 },
	};
	begin_card(&board);
	packet[14] = 0x45;
	expect(guest_write(board.guest, DATA_AT, packet, sizeof(packet)) == 0);
	expect(guest_write(board.guest, RING_SEND, ring, sizeof(ring)) == 0);
	put(&board, 0x3818, 2);
	turn(&board);
	expect_equal(recv(board.fd, got, sizeof(got), 0), 112);
	const uint8_t header[10] = { 1, 1, 54, 0, 20, 0, 34, 0, 16, 0 };
	expect(memcmp(got, header, sizeof(header)) == 0);
	expect_equal(got[12 + 16] << 8 | got[12 + 17], 86); /* the IP packet's length */
	expect_equal(got[12 + 50] << 8 | got[12 + 51], 66); /* TCP's, into its pseudo header */
	uint32_t sum = 0;
	for (int i = 14; i < 34; i += 2)
		sum += (uint32_t)(got[12 + i] << 8 | got[12 + i + 1]);
	expect_equal((sum & 0xffff) + (sum >> 16), 0xffff);
	/* A context that points out of the packet sends nothing. */
	ring[0].at = 14 | 24 << 8 | 33 << 16 | UINT64_C(250) << 32 | UINT64_C(255) << 40;
	expect(guest_write(board.guest, RING_SEND + 32, ring, sizeof(ring)) == 0);
	put(&board, 0x3818, 4);
	turn(&board);
	expect(recv(board.fd, got, sizeof(got), 0) < 0);
	expect_equal(get(&board, 0x3810), 4);
	end(&board);
}

static void card_receives(void)
{
	struct board board;
	uint8_t packet[12 + 100] = { [12] = 2, [17] = 9 };
	struct {
		uint64_t at;
		uint16_t bytes, sum;
		uint8_t status, errors;
		uint16_t vlan;
	} descriptor = { .at = DATA_AT };
	begin_card(&board);
	for (uint32_t i = 0; i < 16; i++)
		expect(guest_write(board.guest, RING_RECEIVE + i * 16, &descriptor, 16) == 0);
	/* Without a descriptor it waits; then it comes; one for somebody else does not. */
	expect(send(board.fd, packet, sizeof(packet), 0) > 0);
	turn(&board);
	expect_equal(get(&board, 0x2810), 0);
	put(&board, 0x2818, 15);
	turn(&board);
	expect_equal(get(&board, 0x2810), 1);
	expect(guest_read(board.guest, RING_RECEIVE, &descriptor, 16) == 0);
	expect_equal(descriptor.bytes, 100);
	expect_equal(descriptor.status, 7);
	expect(get(&board, 0xc0) & 0x80);
	packet[17] = 8;
	expect(send(board.fd, packet, sizeof(packet), 0) > 0);
	turn(&board);
	expect_equal(get(&board, 0x2810), 1);
	/* A short one is filled up; a VLAN's tag is taken out. */
	put(&board, 0, 1u << 30);
	memset(packet + 12, 0xff, 6);
	memcpy(packet + 24, "\x81\x00\x00\x07", 4);
	expect(send(board.fd, packet, 40, 0) > 0);
	turn(&board);
	expect(guest_read(board.guest, RING_RECEIVE + 16, &descriptor, 16) == 0);
	expect_equal(descriptor.bytes, 56);
	expect_equal(descriptor.status, 15);
	expect_equal(descriptor.vlan, 7);
	end(&board);
}

/* The timer. */

static uint64_t next_tick(struct soft *soft)
{
	uint64_t next = 0;
	expect(!pit_tick(soft, 0, &next));
	return next;
}

static void timer_waits_to_be_programmed(void)
{
	struct soft *soft = alloc(struct soft);
	struct chips_state *state = alloc(struct chips_state);
	pit_reset(soft);
	expect_equal(next_tick(soft), UINT64_MAX);
	pit_save(soft, state);
	pit_load(soft, state);
	expect_equal(next_tick(soft), UINT64_MAX);
	pit_write(soft, 0x43, 0x34); /* channel 0, both bytes, mode 2 */
	pit_write(soft, 0x40, 0);
	expect_equal(next_tick(soft), UINT64_MAX);
	pit_write(soft, 0x40, 16);
	expect(next_tick(soft) < UINT64_MAX);
	pit_save(soft, state);
	pit_reset(soft);
	pit_load(soft, state);
	expect(next_tick(soft) < UINT64_MAX);
	free(state);
	free(soft);
}

/* The CPU. */

static void real_mode_pushes_segments(void)
{
	static const uint8_t code[] = {
		0xbc, 0x00, 0x80,       /* mov sp, 0x8000 */
		0x06, 0x0e, 0x16, 0x1e, /* push es, cs, ss, ds */
		0x0f, 0xa0, 0x0f, 0xa8, /* push fs, gs */
		0x66, 0x06,             /* push es, 32 bits */
		0x07, 0x07,             /* pop es, twice */
		0x89, 0xe0,             /* mov ax, sp */
		0xba, 0xf4, 0x00, 0xef, /* out 0xf4, ax */
	};
	static const uint8_t jump[] = { 0xe9, 0x0d, 0xf0 }; /* from fff0 to f000 */
	struct error e = {};
	struct guest *guest;
	struct cpus *cpus;
	struct cpu_exit exit = { .why = CPU_KICKED };
	if (soft_engine.probe(&e) < 0)
		test_skip("%.200s", e.text);
	expect(guest_new(&guest, &e) == 0);
	expect(guest_add(guest, 0, 65536, GUEST_RAM, &e) == 0);
	expect(guest_add(guest, 0xffff0000, 65536, GUEST_ROM, &e) == 0);
	expect(guest_load(guest, 0xfffff000, code, sizeof(code)) == 0);
	expect(guest_load(guest, 0xfffffff0, jump, sizeof(jump)) == 0);
	expect(soft_engine.open(guest, 1, &cpus, &e) == 0);
	expect(soft_engine.run(cpus, 0, &exit) == 0);
	expect_equal(exit.why, CPU_PORT);
	expect_equal(exit.at, 0xf4);
	expect_equal(exit.value, 0x8000 - 6 * 2);
	soft_engine.close(cpus);
	guest_free(guest);
}

static const struct test tests[] = {
	{ "what flash is told to keep is in its file at once", flash_keeps },
	{ "flash takes bytes in a buffer, also across a save; wrong commands change nothing",
		flash_buffers },
	{ "flash refuses a file that holds no variables", flash_refuses },
	{ "a SATA disk says what it is, and interrupts", sata_identifies },
	{ "a SATA disk reads and writes", sata_reads_and_writes },
	{ "32 queued writes all arrive", sata_queues },
	{ "what a SATA disk cannot do is an error of its own kind, and a reset ends it",
		sata_fails },
	{ "a SATA command that was issued is carried out after a load", sata_is_saved },
	{ "an e1000's EEPROM and PHY read through their wires", card_has_an_eeprom },
	{ "an e1000 sends a packet of two descriptors, with a save between them", card_sends },
	{ "an e1000's checksums and segments are the host's to do", card_leaves_sums_to_the_host },
	{ "an e1000 receives what is for it", card_receives },
	{ "the timer interrupts nobody before it is programmed", timer_waits_to_be_programmed },
	{ "in real mode each segment is pushed whole", real_mode_pushes_segments },
};
TEST_MAIN(tests)
