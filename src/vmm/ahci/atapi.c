/* SPDX-License-Identifier: Apache-2.0 */
/*
 * atapi.c - the commands of a CD drive (ATA PACKET, and in it MMC's), carried out on a disk back end.
 *
 * One disc with one track of data. The guest may eject it; it is back after the next reset of the machine.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "vmm/ahci/port.h"

#define BLOCK         2048u
#define CD_BLOCKS_MAX 405000u /* of 90 minutes; more is a DVD */
#define FRAMES        75u     /* a second */
#define LEAD_IN       150u    /* frames before block 0 */
#define ANSWER_MAX    64
#define READY_AND_IN  3u /* interrupt reason: the command has ended */

#define PROFILE_CD  0x08u
#define PROFILE_DVD 0x10u

enum {
	DEVICE_RESET = 0x08,
	PACKET = 0xa0,
	IDENTIFY_PACKET = 0xa1,
	CHECK_POWER = 0xe5,
	STANDBY_NOW = 0xe0,
	IDLE_NOW = 0xe1,
	SET_FEATURES = 0xef,
};

enum {
	TEST_READY = 0x00,
	REQUEST_SENSE = 0x03,
	INQUIRY = 0x12,
	MODE_SENSE_6 = 0x1a,
	START_STOP = 0x1b,
	PREVENT_REMOVAL = 0x1e,
	READ_CAPACITY = 0x25,
	READ_10 = 0x28,
	READ_TOC = 0x43,
	GET_CONFIGURATION = 0x46,
	GET_EVENT = 0x4a,
	READ_DISC = 0x51,
	MODE_SENSE_10 = 0x5a,
	READ_12 = 0xa8,
	SET_SPEED = 0xbb,
};

/* Sense key, additional code and its qualifier. */
#define SENSE_NO_DISC    0x023a00u
#define SENSE_BROKEN     0x031100u
#define SENSE_NO_COMMAND 0x052000u
#define SENSE_NO_BLOCK   0x052100u
#define SENSE_BAD_FIELD  0x052400u

static bool is_queued(const uint8_t *fis)
{
	(void)fis;
	return false;
}

static uint32_t blocks_of(const struct ahci_port *port)
{
	uint64_t blocks = port->disk->size_bytes / BLOCK;
	return blocks < UINT32_MAX ? (uint32_t)blocks : UINT32_MAX;
}

static void refuse(struct ahci_command *command, uint32_t sense)
{
	command->port->sense = sense;
	command->fis[12] = READY_AND_IN;
	ahci_command_end(command, (uint8_t)(sense >> 16 << 4 | ATA_ABORT));
}

static void succeed(struct ahci_command *command)
{
	if (command->packet[0] != REQUEST_SENSE)
		command->port->sense = 0;
	command->fis[12] = READY_AND_IN;
	ahci_command_end(command, 0);
}

/* What the guest asked for of the answer, `room` at most. */
static void answer(struct ahci_command *command, const void *data, uint32_t bytes, uint32_t room)
{
	command->request.bytes = ahci_command_give(command, data, bytes < room ? bytes : room);
	put_be16(command->fis + 5, 0);
	command->fis[5] = (uint8_t)command->request.bytes;
	command->fis[6] = (uint8_t)(command->request.bytes >> 8);
	succeed(command);
}

static void request_sense(struct ahci_command *command)
{
	uint32_t sense = command->port->sense;
	const uint8_t data[18] = { 0x70, [2] = (uint8_t)(sense >> 16), [7] = 10,
		[12] = (uint8_t)(sense >> 8), [13] = (uint8_t)sense };
	command->port->sense = 0;
	answer(command, data, sizeof(data), command->packet[4]);
}

static void inquiry(struct ahci_command *command)
{
	uint8_t data[36] = { 0x05, 0x80, 0x05, 0x02, 31 };
	memcpy(data + 8, "BERTH   CD DRIVE        1   ", 28);
	if (command->packet[1] & 1)
		refuse(command, SENSE_BAD_FIELD);
	else
		answer(command, data, sizeof(data), get_be16(command->packet + 3));
}

/* Pages 01 (errors) and 2a (what the drive can). */
static void mode_sense(struct ahci_command *command, bool is_10)
{
	static const uint8_t errors[] = { 0x01, 10, 0, 3 /* retries */ };
	static const uint8_t can[] = { 0x2a, 18, 0x3f, 0, 0x71, 0x60, 0x29, 0, 0x0b, 0, 0, 2, 0, 0,
		0x0b };
	uint8_t data[ANSWER_MAX] = {}, page = command->packet[2] & 0x3f;
	uint32_t at = is_10 ? 8 : 4;
	if (page == 0x01 || page == 0x3f) {
		memcpy(data + at, errors, sizeof(errors));
		at += 12;
	}
	if (page == 0x2a || page == 0x3f) {
		memcpy(data + at, can, sizeof(can));
		at += 20;
	}
	if (at <= 8 || command->packet[2] >> 6 == 3) {
		refuse(command, SENSE_BAD_FIELD);
		return;
	}
	if (is_10)
		put_be16(data, at - 2);
	else
		data[0] = (uint8_t)(at - 1);
	answer(command, data, at, is_10 ? get_be16(command->packet + 7) : command->packet[4]);
}

static void put_address(uint8_t *bytes, uint32_t block, bool is_time)
{
	uint32_t frame = block + LEAD_IN;
	if (!is_time) {
		put_be32(bytes, block);
		return;
	}
	bytes[0] = 0;
	bytes[1] = (uint8_t)(frame / FRAMES / 60);
	bytes[2] = (uint8_t)(frame / FRAMES % 60);
	bytes[3] = (uint8_t)(frame % FRAMES);
}

/* Track 1 from block 0, and the lead-out behind it; or the session that begins with track 1. */
static void read_toc(struct ahci_command *command)
{
	const uint8_t *packet = command->packet;
	bool is_time = packet[1] & 2;
	uint8_t format = packet[2] & 15, first = packet[6];
	uint8_t data[20] = { 0, 0, 1, 1 };
	uint32_t at = 4;
	if (format > 1 || (format == 0 && first > 1 && first != 0xaa)) {
		refuse(command, SENSE_BAD_FIELD);
		return;
	}
	if (first <= 1 || format == 1) {
		data[at + 1] = 0x14; /* data */
		data[at + 2] = 1;
		put_address(data + at + 4, 0, is_time);
		at += 8;
	}
	if (format == 0) {
		data[at + 1] = 0x14;
		data[at + 2] = 0xaa;
		put_address(data + at + 4, blocks_of(command->port), is_time);
		at += 8;
	}
	put_be16(data, at - 2);
	answer(command, data, at, get_be16(packet + 7));
}

/* The profile that the disc has, the list of both, and that the disc can be taken out. */
static void get_configuration(struct ahci_command *command)
{
	bool is_dvd = blocks_of(command->port) > CD_BLOCKS_MAX;
	uint8_t data[] = {
		0, 0, 0, 0, 0, 0, 0, 0, /* how much, and the current profile */
		0, 0, 3, 8, 0, PROFILE_DVD, is_dvd, 0, 0, PROFILE_CD, !is_dvd, 0, 0, 1, 3, 4, 0, 0,
		0, 2,                      /* the core: ATAPI */
		0, 3, 3, 4, 0x29, 0, 0, 0, /* a tray, which can be locked and ejects */
	};
	put_be32(data, sizeof(data) - 4);
	data[7] = command->port->is_ejected ? 0 : is_dvd ? PROFILE_DVD : PROFILE_CD;
	answer(command, data, sizeof(data), get_be16(command->packet + 7));
}

/* Of events only the medium's are there; they are polled. */
static void get_event(struct ahci_command *command)
{
	bool wants_medium = command->packet[4] & 0x10;
	const uint8_t data[8] = { 0, wants_medium ? 6 : 2, wants_medium ? 4 : 0x80, 0x10, 0,
		command->port->is_ejected ? 0 : 2 };
	if (!(command->packet[1] & 1))
		refuse(command, SENSE_BAD_FIELD);
	else
		answer(command, data, wants_medium ? 8 : 4, get_be16(command->packet + 7));
}

static void read_disc(struct ahci_command *command)
{
	const uint8_t data[34] = { 0, 32, 0x0e /* complete */, 1, 1, 1, 1 };
	answer(command, data, sizeof(data), get_be16(command->packet + 7));
}

static void read_capacity(struct ahci_command *command)
{
	uint8_t data[8];
	put_be32(data, blocks_of(command->port) - 1);
	put_be32(data + 4, BLOCK);
	answer(command, data, sizeof(data), sizeof(data));
}

static void done(struct disk_request *request, int result)
{
	struct ahci_command *command = container_of(request, struct ahci_command, request);
	const struct ahci_port *port = command->port;
	if (!(port->begun & 1u << command->slot))
		return;
	if (result < 0) {
		refuse(command, SENSE_BROKEN);
		return;
	}
	for (uint32_t i = 0; i < command->piece_count; i++)
		guest_wrote(port->owner->guest, command->places[i], command->pieces[i].iov_len);
	succeed(command);
}

static void read_blocks(struct ahci_command *command, uint32_t first, uint32_t count)
{
	struct ahci_port *port = command->port;
	struct disk_request *request = &command->request;
	uint64_t bytes = (uint64_t)count * BLOCK;
	if (first > blocks_of(port) || count > blocks_of(port) - first) {
		refuse(command, SENSE_NO_BLOCK);
		return;
	}
	if (!ahci_command_cut(command, bytes)) {
		refuse(command, SENSE_BAD_FIELD);
		return;
	}
	if (count == 0) {
		succeed(command);
		return;
	}
	request->operation = DISK_READ;
	request->offset = (uint64_t)first * BLOCK;
	request->bytes = bytes;
	request->iov = command->pieces;
	request->iov_count = (int)command->piece_count;
	request->done = done;
	throttle_take(&port->bytes, bytes);
	if (disk_submit(port->disk, request) < 0)
		refuse(command, SENSE_BROKEN);
}

static void start_stop(struct ahci_command *command)
{
	uint8_t what = command->packet[4];
	if (what & 2) /* the tray: out, or in again */
		command->port->is_ejected = !(what & 1);
	succeed(command);
}

/* What needs no disc; false if the command is another. */
static bool begin_without_disc(struct ahci_command *command)
{
	switch (command->packet[0]) {
	case REQUEST_SENSE:
		request_sense(command);
		return true;
	case INQUIRY:
		inquiry(command);
		return true;
	case MODE_SENSE_6:
	case MODE_SENSE_10:
		mode_sense(command, command->packet[0] == MODE_SENSE_10);
		return true;
	case GET_CONFIGURATION:
		get_configuration(command);
		return true;
	case GET_EVENT:
		get_event(command);
		return true;
	case START_STOP:
		start_stop(command);
		return true;
	case PREVENT_REMOVAL:
	case SET_SPEED:
		succeed(command);
		return true;
	default:
		return false;
	}
}

static void begin_packet(struct ahci_command *command)
{
	const uint8_t *packet = command->packet;
	command->request.bytes = 0;
	if (begin_without_disc(command))
		return;
	if (command->port->is_ejected) {
		refuse(command, SENSE_NO_DISC);
		return;
	}
	switch (packet[0]) {
	case TEST_READY:
		succeed(command);
		break;
	case READ_10:
		read_blocks(command, get_be32(packet + 2), get_be16(packet + 7));
		break;
	case READ_12:
		read_blocks(command, get_be32(packet + 2), get_be32(packet + 6));
		break;
	case READ_CAPACITY:
		read_capacity(command);
		break;
	case READ_TOC:
		read_toc(command);
		break;
	case READ_DISC:
		read_disc(command);
		break;
	default:
		refuse(command, SENSE_NO_COMMAND);
	}
}

static void identify(struct ahci_command *command)
{
	uint16_t words[256] = {
		[0] = 0x85c0,  /* ATAPI, a CD drive, removable, packets of 12 bytes */
		[49] = 0x0b00, /* DMA, LBA, IORDY */
		[53] = 0x0006,
		[63] = 0x0007,
		[64] = 0x0003,
		[65] = 120,
		[66] = 120,
		[67] = 120,
		[68] = 120,
		[76] = 0x0006,
		[80] = 0x01f0,
		[82] = 0x4010, /* NOP, PACKET */
		[83] = 0x4000,
		[84] = 0x4000,
		[85] = 0x4010,
		[87] = 0x4000,
		[88] = 0x203f,
	};
	ahci_put_text(words + 10, 10, command->port->serial);
	ahci_put_text(words + 23, 4, "1");
	ahci_put_text(words + 27, 20, "BERTH CD DRIVE");
	command->request.bytes = ahci_command_give(command, words, sizeof(words));
	command->answer = AHCI_ANSWER_PIO;
	ahci_command_end(command, 0);
}

/* The commands of disks are no error of the guest's: the frame says what is here. */
static void say_what_it_is(struct ahci_command *command, uint8_t error)
{
	command->fis[12] = 1;
	command->fis[4] = 1;
	command->fis[5] = 0x14;
	command->fis[6] = 0xeb;
	ahci_command_end(command, error);
}

static void begin(struct ahci_command *command)
{
	switch (command->fis[2]) {
	case PACKET:
		begin_packet(command);
		break;
	case IDENTIFY_PACKET:
		identify(command);
		break;
	case DEVICE_RESET:
		say_what_it_is(command, 0);
		break;
	case CHECK_POWER:
		command->fis[12] = 0xff; /* active */
		__attribute__((__fallthrough__));
	case STANDBY_NOW:
	case IDLE_NOW:
		ahci_command_end(command, 0);
		break;
	case SET_FEATURES: /* the transfer mode: all are as good */
		ahci_command_end(command, command->fis[3] == 3 ? 0 : ATA_ABORT);
		break;
	default:
		say_what_it_is(command, ATA_ABORT);
	}
}

const struct ahci_device_calls atapi_calls = { 0xeb140101, is_queued, begin };
