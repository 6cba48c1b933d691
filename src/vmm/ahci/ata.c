/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ata.c - the commands of a SATA disk (ATA8-ACS), carried out on a disk back end.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/ahci/port.h"

#define DEPTH        32
#define MULTIPLE_MAX 16
#define LBA28_LIMIT  UINT64_C(0x0fffffff)
#define LOG_BYTES    512
#define LOG_ERRORS   0x10

enum {
	TRIM = 0x06,
	READ = 0x20,
	READ_EXT = 0x24,
	READ_DMA_EXT = 0x25,
	READ_MAX_EXT = 0x27,
	READ_MULTIPLE_EXT = 0x29,
	READ_LOG = 0x2f,
	WRITE = 0x30,
	WRITE_EXT = 0x34,
	WRITE_DMA_EXT = 0x35,
	WRITE_MULTIPLE_EXT = 0x39,
	WRITE_DMA_DURABLE = 0x3d,
	VERIFY = 0x40,
	VERIFY_EXT = 0x42,
	READ_LOG_DMA = 0x47,
	READ_QUEUED = 0x60,
	WRITE_QUEUED = 0x61,
	SET_GEOMETRY = 0x91,
	READ_MULTIPLE = 0xc4,
	WRITE_MULTIPLE = 0xc5,
	SET_MULTIPLE = 0xc6,
	READ_DMA = 0xc8,
	WRITE_DMA = 0xca,
	STANDBY_NOW = 0xe0,
	IDLE_NOW = 0xe1,
	STANDBY = 0xe2,
	IDLE = 0xe3,
	CHECK_POWER = 0xe5,
	FLUSH = 0xe7,
	FLUSH_EXT = 0xea,
	IDENTIFY = 0xec,
	SET_FEATURES = 0xef,
	READ_MAX = 0xf8,
};

static bool is_queued(const uint8_t *fis)
{
	return fis[2] == READ_QUEUED || fis[2] == WRITE_QUEUED;
}

static uint64_t sectors_of(const struct ahci_port *port)
{
	return port->disk->size_bytes / DISK_SECTOR;
}

static uint64_t sector48(const uint8_t *fis)
{
	return (uint64_t)fis[4] | (uint64_t)fis[5] << 8 | (uint64_t)fis[6] << 16 |
		(uint64_t)fis[8] << 24 | (uint64_t)fis[9] << 32 | (uint64_t)fis[10] << 40;
}

static uint64_t sector28(const uint8_t *fis)
{
	return (uint64_t)fis[4] | (uint64_t)fis[5] << 8 | (uint64_t)fis[6] << 16 |
		(uint64_t)(fis[7] & 15) << 24;
}

static uint32_t count48(uint8_t low, uint8_t high)
{
	uint32_t count = low | (uint32_t)high << 8;
	return count ? count : 65536;
}

static uint32_t count28(const uint8_t *fis)
{
	return fis[12] ? fis[12] : 256;
}

static void describe(const struct ahci_port *port, uint16_t words[256])
{
	uint64_t sectors = sectors_of(port);
	uint64_t small = sectors < LBA28_LIMIT ? sectors : LBA28_LIMIT;
	uint64_t cylinders = sectors / (16 * 63);
	memset(words, 0, 512);
	words[0] = 0x0040;
	words[1] = (uint16_t)(cylinders < 16383 ? cylinders : 16383);
	words[3] = 16;
	words[6] = 63;
	ahci_put_text(words + 10, 10, port->serial);
	ahci_put_text(words + 23, 4, "1");
	ahci_put_text(words + 27, 20, "BERTH DISK");
	words[47] = 0x8000 | MULTIPLE_MAX;
	words[49] = 0x0f00; /* DMA, LBA, IORDY */
	words[50] = 0x4000;
	words[53] = 0x0006; /* words 64 to 70 and 88 count */
	words[59] = (uint16_t)(port->multiple ? 0x0100 | port->multiple : 0);
	words[60] = (uint16_t)small;
	words[61] = (uint16_t)(small >> 16);
	words[63] = 0x0007;
	words[64] = 0x0003;
	for (int i = 65; i <= 68; i++)
		words[i] = 120;
	words[75] = DEPTH - 1;
	words[76] = 0x0106;             /* queued commands; 1.5 and 3 Gbit/s */
	words[80] = 0x01f0;             /* ATA-4 to ATA8-ACS */
	words[82] = words[85] = 0x4020; /* NOP, write cache */
	words[83] = 0x7400;             /* 48-bit addresses, both flushes */
	words[86] = 0x3400;
	words[84] = words[87] = 0x4040; /* durable writes */
	words[88] = 0x203f;             /* UDMA 5 */
	for (int i = 0; i < 4; i++)
		words[100 + i] = (uint16_t)(sectors >> (16 * i));
	words[106] = 0x6003; /* physical sectors of 4096 bytes */
	if (port->disk->can_discard) {
		words[105] = 1;
		words[169] = 1;
	}
	words[217] = 1; /* nothing turns */
	uint8_t sum = 0xa5;
	for (int i = 0; i < 255; i++)
		sum = (uint8_t)(sum + words[i] + (words[i] >> 8));
	words[255] = (uint16_t)(0xa5 | (uint16_t)(uint8_t)-sum << 8);
}

static void identify(struct ahci_command *command)
{
	uint16_t words[256];
	describe(command->port, words);
	command->request.bytes = ahci_command_give(command, words, sizeof(words));
	command->answer = AHCI_ANSWER_PIO;
	ahci_command_end(command, 0);
}

/* The log of the queued command that failed, and the directory that says where it is. */
static void read_log(struct ahci_command *command, bool is_dma)
{
	struct ahci_port *port = command->port;
	uint8_t page[LOG_BYTES] = {};
	if (command->fis[4] == 0) {
		page[0] = 1;
		page[2 * LOG_ERRORS] = 1;
	} else if (command->fis[4] == LOG_ERRORS) {
		page[0] = port->failed_tag == 0xff ? 0x80 : port->failed_tag;
		page[2] = ATA_FAILED;
		page[3] = port->failed_error;
		for (int i = 0; i < 3; i++) {
			page[4 + i] = (uint8_t)(port->failed_sector >> (8 * i));
			page[8 + i] = (uint8_t)(port->failed_sector >> (24 + 8 * i));
		}
		uint8_t sum = 0;
		for (int i = 0; i < LOG_BYTES - 1; i++)
			sum = (uint8_t)(sum + page[i]);
		page[LOG_BYTES - 1] = (uint8_t)-sum;
		port->failed_tag = 0xff;
	} else {
		ahci_command_end(command, ATA_ABORT);
		return;
	}
	command->request.bytes = ahci_command_give(command, page, sizeof(page));
	command->answer = is_dma ? AHCI_ANSWER_REGISTERS : AHCI_ANSWER_PIO;
	ahci_command_end(command, 0);
}

static void submit(struct ahci_command *command);

static void hold(struct ahci_command *command)
{
	struct ahci_port *port = command->port;
	if (!port->held && port->stalled)
		port->stalled(port->data, true);
	command->next = port->held;
	port->held = command;
	timer_set_after(port->timer, NS_PER_SEC);
}

static void next_range(struct ahci_command *command)
{
	while (command->range_next < command->range_count) {
		const struct ahci_range *range = &command->ranges[command->range_next++];
		if (!range->sectors)
			continue;
		command->request.offset = range->sector * DISK_SECTOR;
		command->request.bytes = (uint64_t)range->sectors * DISK_SECTOR;
		submit(command);
		disk_start(command->port->disk);
		return;
	}
	command->request.bytes = 0;
	ahci_command_end(command, 0);
}

static void done(struct disk_request *request, int result)
{
	struct ahci_command *command = container_of(request, struct ahci_command, request);
	struct ahci_port *port = command->port;
	if (!(port->begun & 1u << command->slot))
		return;
	if (result == -ENOSPC || result == -EDQUOT) {
		hold(command);
		return;
	}
	if (result < 0) {
		ahci_command_end(command, ATA_BROKEN);
		return;
	}
	if (request->operation == DISK_READ)
		for (uint32_t i = 0; i < command->piece_count; i++)
			guest_wrote(
				port->owner->guest, command->places[i], command->pieces[i].iov_len);
	if (request->operation == DISK_DISCARD)
		next_range(command);
	else
		ahci_command_end(command, 0);
}

static void submit(struct ahci_command *command)
{
	command->request.done = done;
	if (disk_submit(command->port->disk, &command->request) < 0)
		ahci_command_end(command, ATA_WRONG | ATA_ABORT);
}

static void transfer(struct ahci_command *command, enum disk_operation operation, uint64_t sector,
	uint32_t count)
{
	struct disk_request *request = &command->request;
	uint64_t bytes = (uint64_t)count * DISK_SECTOR;
	command->sector = sector;
	if (sector >= sectors_of(command->port) || count > sectors_of(command->port) - sector) {
		ahci_command_end(command, ATA_WRONG | ATA_ABORT);
		return;
	}
	if (!ahci_command_cut(command, bytes) ||
		(operation == DISK_WRITE && command->port->disk->read_only)) {
		ahci_command_end(command, ATA_ABORT);
		return;
	}
	request->operation = operation;
	request->offset = sector * DISK_SECTOR;
	request->bytes = bytes;
	request->iov = command->pieces;
	request->iov_count = (int)command->piece_count;
	throttle_take(&command->port->bytes, bytes);
	submit(command);
}

static void trim(struct ahci_command *command)
{
	const struct ahci_port *port = command->port;
	uint64_t raw[AHCI_RANGES_MAX];
	uint32_t blocks = count48(command->fis[12], command->fis[13]);
	if (!(command->fis[3] & 1) || blocks != 1 || !port->disk->can_discard ||
		ahci_command_take(command, raw, sizeof(raw)) != sizeof(raw)) {
		ahci_command_end(command, ATA_ABORT);
		return;
	}
	if (!command->ranges)
		command->ranges = alloc_array(AHCI_RANGES_MAX, struct ahci_range);
	command->range_count = AHCI_RANGES_MAX;
	command->range_next = 0;
	for (uint32_t i = 0; i < AHCI_RANGES_MAX; i++) {
		struct ahci_range range = { raw[i] & ((UINT64_C(1) << 48) - 1),
			(uint32_t)(raw[i] >> 48) };
		if (range.sectors &&
			(range.sector >= sectors_of(port) ||
				range.sectors > sectors_of(port) - range.sector)) {
			ahci_command_end(command, ATA_WRONG | ATA_ABORT);
			return;
		}
		command->ranges[i] = range;
	}
	command->request.operation = DISK_DISCARD;
	next_range(command);
}

/* READ NATIVE MAX ADDRESS: the answer stands in the frame. */
static void read_max(struct ahci_command *command, bool is_48)
{
	uint64_t last = sectors_of(command->port) - 1;
	if (!is_48 && last > LBA28_LIMIT)
		last = LBA28_LIMIT;
	for (int i = 0; i < 3; i++) {
		command->fis[4 + i] = (uint8_t)(last >> (8 * i));
		command->fis[8 + i] = (uint8_t)(is_48 ? last >> (24 + 8 * i) : 0);
	}
	if (!is_48)
		command->fis[7] = (uint8_t)((command->fis[7] & 0xf0) | (last >> 24 & 15));
	ahci_command_end(command, 0);
}

static void set_features(struct ahci_command *command)
{
	switch (command->fis[3]) {
	case 0x02: /* write cache on, off, the transfer mode, read-ahead on, off */
	case 0x82:
	case 0x03:
	case 0xaa:
	case 0x55:
	case 0x10:
	case 0x90:
		ahci_command_end(command, 0);
		break;
	default:
		ahci_command_end(command, ATA_ABORT);
	}
}

static void set_multiple(struct ahci_command *command)
{
	uint8_t count = command->fis[12];
	bool is_good = count && count <= MULTIPLE_MAX && (count & (count - 1)) == 0;
	if (is_good)
		command->port->multiple = count;
	ahci_command_end(command, is_good ? 0 : ATA_ABORT);
}

static bool begin_transfer(struct ahci_command *command)
{
	const uint8_t *fis = command->fis;
	switch (fis[2]) {
	case READ_QUEUED:
	case WRITE_QUEUED:
		command->request.is_durable = fis[2] == WRITE_QUEUED && (fis[7] & 0x80);
		transfer(command, fis[2] == READ_QUEUED ? DISK_READ : DISK_WRITE, sector48(fis),
			count48(fis[3], fis[11]));
		return true;
	case READ:
	case READ_MULTIPLE:
		command->answer = AHCI_ANSWER_PIO;
		__attribute__((__fallthrough__));
	case READ_DMA:
		transfer(command, DISK_READ, sector28(fis), count28(fis));
		return true;
	case READ_EXT:
	case READ_MULTIPLE_EXT:
		command->answer = AHCI_ANSWER_PIO;
		__attribute__((__fallthrough__));
	case READ_DMA_EXT:
		transfer(command, DISK_READ, sector48(fis), count48(fis[12], fis[13]));
		return true;
	case WRITE:
	case WRITE_MULTIPLE:
	case WRITE_DMA:
		transfer(command, DISK_WRITE, sector28(fis), count28(fis));
		return true;
	case WRITE_DMA_DURABLE:
		command->request.is_durable = true;
		__attribute__((__fallthrough__));
	case WRITE_EXT:
	case WRITE_MULTIPLE_EXT:
	case WRITE_DMA_EXT:
		transfer(command, DISK_WRITE, sector48(fis), count48(fis[12], fis[13]));
		return true;
	default:
		return false;
	}
}

static void begin(struct ahci_command *command)
{
	if (begin_transfer(command))
		return;
	switch (command->fis[2]) {
	case FLUSH:
	case FLUSH_EXT:
		command->request.operation = DISK_FLUSH;
		submit(command);
		break;
	case TRIM:
		trim(command);
		break;
	case IDENTIFY:
		identify(command);
		break;
	case READ_LOG:
	case READ_LOG_DMA:
		read_log(command, command->fis[2] == READ_LOG_DMA);
		break;
	case READ_MAX:
	case READ_MAX_EXT:
		read_max(command, command->fis[2] == READ_MAX_EXT);
		break;
	case SET_FEATURES:
		set_features(command);
		break;
	case SET_MULTIPLE:
		set_multiple(command);
		break;
	case CHECK_POWER:
		command->fis[12] = 0xff; /* active */
		__attribute__((__fallthrough__));
	case VERIFY:
	case VERIFY_EXT:
	case SET_GEOMETRY:
	case STANDBY_NOW:
	case IDLE_NOW:
	case STANDBY:
	case IDLE:
		ahci_command_end(command, 0);
		break;
	default:
		ahci_command_end(command, ATA_ABORT);
	}
}

const struct ahci_device_calls ata_calls = { 0x00000101, is_queued, begin };
