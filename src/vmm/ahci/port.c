/* SPDX-License-Identifier: Apache-2.0 */
/*
 * port.c - a port's registers, its command list, and the frames (FIS) that it leaves in guest memory.
 *
 * A CPU's thread only notes which commands were issued; the I/O thread begins them. What the guest's
 * memory says of a command is copied once, checked, and then used.
 */
#include "vmm/ahci/port.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

enum {
	LIST = 0x00,
	LIST_HIGH = 0x04,
	RECEIVED = 0x08,
	RECEIVED_HIGH = 0x0c,
	INTERRUPT = 0x10,
	INTERRUPT_ENABLE = 0x14,
	COMMAND = 0x18,
	TASK_FILE = 0x20,
	SIGNATURE = 0x24,
	LINK_STATUS = 0x28,
	LINK_CONTROL = 0x2c,
	LINK_ERROR = 0x30,
	ACTIVE = 0x34,
	ISSUE = 0x38,
};

#define CMD_START        (1u << 0)
#define CMD_SPIN_UP      (1u << 1)
#define CMD_POWER        (1u << 2)
#define CMD_OVERRIDE     (1u << 3)
#define CMD_RECEIVE      (1u << 4)
#define CMD_IS_RECEIVING (1u << 14)
#define CMD_IS_RUNNING   (1u << 15)
#define CMD_KEPT         (CMD_START | CMD_SPIN_UP | CMD_POWER | CMD_RECEIVE)
#define IS_REGISTERS     (1u << 0)
#define IS_PIO           (1u << 1)
#define IS_BITS          (1u << 3)
#define IS_CONNECT       (1u << 6)
#define IS_MEMORY_FAULT  (1u << 29)
#define IS_TASK_ERROR    (1u << 30)
#define IS_WRITABLE      0xfdc000afu
#define LINK_UP          0x113u /* a device, generation 1, active */
#define ERROR_CHANGED    (1u << 26)
#define BUSY             0x80u
#define HEADER_BYTES     32
#define TABLE_PACKET     0x40
#define TABLE_PIECES     0x80
#define PIECE_BYTES_MASK 0x3fffffu
#define FIS_COMMAND      0x27
#define FIS_IS_COMMAND   0x80u
#define CONTROL_RESET    4u
#define AT_PIO           0x20 /* in the area of received frames */
#define AT_REGISTERS     0x40
#define AT_BITS          0x58

struct header {
	uint16_t flags, pieces;
	uint32_t bytes_done;
	uint32_t table_low, table_high;
};

struct piece {
	uint32_t at_low, at_high, reserved, bytes;
};

static void free_commands(struct ahci_port *port)
{
	for (uint32_t i = 0; i < AHCI_SLOTS; i++) {
		struct ahci_command *command = &port->commands[i];
		free(command->pieces);
		free(command->places);
		free(command->ranges);
		*command = (struct ahci_command){ .port = port, .slot = (uint8_t)i };
	}
}

/* Nothing of the guest's memory is used after it. */
static void abandon(struct ahci_port *port)
{
	if (port->disk)
		disk_drain(port->disk);
	if (port->held && port->stalled)
		port->stalled(port->data, false);
	port->held = NULL;
	port->begun = port->issue = port->sactive = 0;
	port->is_queue = 0;
	port->is_stopped = false;
	if (port->timer)
		timer_stop(port->timer);
}

static void link_reset(struct ahci_port *port)
{
	abandon(port);
	port->in_reset = false;
	port->failed_tag = 0xff;
	port->sstatus = port->disk ? LINK_UP : 0;
	port->tfd = port->disk ? ATA_READY : 0x7f;
	if (port->disk) {
		port->serror |= ERROR_CHANGED;
		port->is |= IS_CONNECT;
	}
}

void ahci_port_reset(struct ahci_port *port)
{
	abandon(port);
	port->list_at = port->received_at = 0;
	port->is = port->ie = 0;
	port->cmd = CMD_SPIN_UP | CMD_POWER;
	port->scontrol = port->serror = 0;
	port->multiple = 0;
	port->sense = 0;
	port->is_ejected = false;
	link_reset(port);
	port->is = 0;
}

void ahci_port_init(struct ahci_port *port, struct ahci *ahci, const struct ahci_owner *owner,
	const struct ahci_device_calls *device, uint32_t number)
{
	*port = (struct ahci_port){
		.ahci = ahci, .owner = owner, .device = device, .number = number
	};
	free_commands(port);
	ahci_port_reset(port);
}

void ahci_port_done(struct ahci_port *port)
{
	abandon(port);
	free_commands(port);
	source_free(port->ended);
	source_free(port->timer);
	disk_close(port->disk);
}

uint32_t ahci_port_read(const struct ahci_port *port, uint32_t offset)
{
	switch (offset) {
	case LIST:
		return (uint32_t)port->list_at;
	case LIST_HIGH:
		return (uint32_t)(port->list_at >> 32);
	case RECEIVED:
		return (uint32_t)port->received_at;
	case RECEIVED_HIGH:
		return (uint32_t)(port->received_at >> 32);
	case INTERRUPT:
		return port->is;
	case INTERRUPT_ENABLE:
		return port->ie;
	case COMMAND:
		return port->cmd | (port->cmd & CMD_START ? CMD_IS_RUNNING : 0) |
			(port->cmd & CMD_RECEIVE ? CMD_IS_RECEIVING : 0);
	case TASK_FILE:
		return port->tfd;
	case SIGNATURE:
		return port->disk ? port->device->signature : UINT32_MAX;
	case LINK_STATUS:
		return port->sstatus;
	case LINK_CONTROL:
		return port->scontrol;
	case LINK_ERROR:
		return port->serror;
	case ACTIVE:
		return port->sactive;
	case ISSUE:
		return port->issue;
	default:
		return 0;
	}
}

static void write_command(struct ahci_port *port, uint32_t value)
{
	bool was_started = port->cmd & CMD_START;
	port->cmd = value & CMD_KEPT;
	if (value & CMD_OVERRIDE)
		port->tfd &= ~(BUSY | 8u);
	if (was_started && !(port->cmd & CMD_START))
		abandon(port);
}

static void write_link(struct ahci_port *port, uint32_t value)
{
	bool was_reset = (port->scontrol & 15) == 1, is_reset = (value & 15) == 1;
	port->scontrol = value & 0xfff;
	if (is_reset && !was_reset) {
		abandon(port);
		port->sstatus = 0;
		port->tfd = 0x7f;
	} else if (was_reset && !is_reset) {
		link_reset(port);
	}
}

static void set_low(uint64_t *where, uint32_t value, uint32_t mask)
{
	*where = (*where & ~UINT64_C(0xffffffff)) | (value & mask);
}

static void set_high(uint64_t *where, uint32_t value)
{
	*where = (*where & UINT32_MAX) | (uint64_t)value << 32;
}

void ahci_port_write(struct ahci_port *port, uint32_t offset, uint32_t value)
{
	switch (offset) {
	case LIST:
		set_low(&port->list_at, value, ~1023u);
		break;
	case LIST_HIGH:
		set_high(&port->list_at, value);
		break;
	case RECEIVED:
		set_low(&port->received_at, value, ~255u);
		break;
	case RECEIVED_HIGH:
		set_high(&port->received_at, value);
		break;
	case INTERRUPT:
		port->is &= ~value;
		break;
	case INTERRUPT_ENABLE:
		port->ie = value & IS_WRITABLE;
		break;
	case COMMAND:
		write_command(port, value);
		break;
	case LINK_CONTROL:
		write_link(port, value);
		break;
	case LINK_ERROR:
		port->serror &= ~value;
		break;
	case ACTIVE:
		port->sactive |= port->cmd & CMD_START ? value : 0;
		break;
	case ISSUE:
		if (!(port->cmd & CMD_START))
			break;
		port->issue |= value;
		port->owner->wake(port->ahci);
		break;
	default:
		break;
	}
	port->owner->update(port->ahci);
}

static void leave_frame(struct ahci_port *port, uint32_t at, const void *frame, uint64_t bytes)
{
	if (!(port->cmd & CMD_RECEIVE))
		return;
	if (guest_write(port->owner->guest, port->received_at + at, frame, bytes) < 0)
		port->is |= IS_MEMORY_FAULT;
}

static void leave_registers(struct ahci_port *port, const uint8_t *fis)
{
	uint8_t frame[AHCI_FIS_BYTES] = { 0x34, 0x40, (uint8_t)port->tfd,
		(uint8_t)(port->tfd >> 8) };
	memcpy(frame + 4, fis + 4, 4); /* the sector and device that the command named */
	memcpy(frame + 8, fis + 8, 3);
	memcpy(frame + 12, fis + 12, 2);
	leave_frame(port, AT_REGISTERS, frame, sizeof(frame));
	port->is |= IS_REGISTERS;
}

static void leave_pio(struct ahci_port *port, const struct ahci_command *command)
{
	uint8_t frame[AHCI_FIS_BYTES] = { 0x5f, 0x60, 0x58, 0, [15] = ATA_READY };
	uint16_t bytes = (uint16_t)(command->piece_bytes < 512 ? command->piece_bytes : 512);
	memcpy(frame + 4, command->fis + 4, 4);
	memcpy(frame + 16, &bytes, sizeof(bytes));
	leave_frame(port, AT_PIO, frame, sizeof(frame));
	port->is |= IS_PIO;
}

static void leave_bits(struct ahci_port *port, uint32_t done)
{
	uint8_t frame[8] = { 0xa1, 0x40, (uint8_t)(port->tfd & 0x77), (uint8_t)(port->tfd >> 8) };
	memcpy(frame + 4, &done, sizeof(done));
	leave_frame(port, AT_BITS, frame, sizeof(frame));
	port->is |= IS_BITS;
}

static void fail(struct ahci_command *command, uint8_t error)
{
	struct ahci_port *port = command->port;
	port->tfd = ATA_FAILED | (uint32_t)error << 8;
	port->is_stopped = true;
	if (command->answer == AHCI_ANSWER_QUEUED) {
		port->failed_tag = command->tag;
		port->failed_error = error;
		port->failed_sector = command->sector;
		leave_bits(port, 0);
	} else {
		leave_registers(port, command->fis);
	}
	port->is |= IS_TASK_ERROR;
}

static void succeed(struct ahci_command *command)
{
	struct ahci_port *port = command->port;
	uint32_t bit = 1u << command->slot, done = (uint32_t)command->request.bytes;
	port->tfd = ATA_READY;
	if (guest_write(port->owner->guest, command->header_at + 4, &done, sizeof(done)) < 0)
		port->is |= IS_MEMORY_FAULT;
	switch (command->answer) {
	case AHCI_ANSWER_QUEUED:
		port->sactive &= ~(1u << command->tag);
		leave_bits(port, 1u << command->tag);
		break;
	case AHCI_ANSWER_PIO:
		leave_pio(port, command);
		port->issue &= ~bit;
		break;
	case AHCI_ANSWER_REGISTERS:
		leave_registers(port, command->fis);
		port->issue &= ~bit;
		break;
	}
}

void ahci_command_end(struct ahci_command *command, uint8_t error)
{
	struct ahci_port *port = command->port;
	if (!(port->begun & 1u << command->slot))
		return;
	port->begun &= ~(1u << command->slot);
	if (error)
		fail(command, error);
	else
		succeed(command);
	port->owner->update(port->ahci);
}

uint64_t ahci_command_give(struct ahci_command *command, const void *data, uint64_t bytes)
{
	const uint8_t *from = data;
	uint64_t done = 0;
	for (uint32_t i = 0; i < command->piece_count && done < bytes; i++) {
		uint64_t part = command->pieces[i].iov_len;
		if (part > bytes - done)
			part = bytes - done;
		memcpy(command->pieces[i].iov_base, from + done, part);
		guest_wrote(command->port->owner->guest, command->places[i], part);
		done += part;
	}
	return done;
}

uint64_t ahci_command_take(const struct ahci_command *command, void *data, uint64_t bytes)
{
	uint8_t *to = data;
	uint64_t done = 0;
	for (uint32_t i = 0; i < command->piece_count && done < bytes; i++) {
		uint64_t part = command->pieces[i].iov_len;
		if (part > bytes - done)
			part = bytes - done;
		memcpy(to + done, command->pieces[i].iov_base, part);
		done += part;
	}
	return done;
}

bool ahci_command_cut(struct ahci_command *command, uint64_t bytes)
{
	if (command->piece_bytes < bytes)
		return false;
	uint64_t left = bytes;
	uint32_t i = 0;
	for (; left > 0; i++) {
		if (command->pieces[i].iov_len > left)
			command->pieces[i].iov_len = left;
		left -= command->pieces[i].iov_len;
	}
	command->piece_count = i;
	command->piece_bytes = bytes;
	return true;
}

void ahci_put_text(uint16_t *words, uint32_t count, const char *text)
{
	size_t length = strlen(text);
	for (uint32_t i = 0; i < count; i++) {
		uint8_t a = 2 * i < length ? (uint8_t)text[2 * i] : ' ';
		uint8_t b = 2 * i + 1 < length ? (uint8_t)text[2 * i + 1] : ' ';
		words[i] = (uint16_t)(a << 8 | b);
	}
}

/* The guest's list of pieces of memory, checked. */
static int read_pieces(struct ahci_command *command, guest_addr table, uint32_t count)
{
	const struct guest *guest = command->port->owner->guest;
	if (count > AHCI_PIECES_MAX)
		return -E2BIG;
	struct piece *pieces = alloc_array(count + 1, struct piece);
	int r = guest_read(guest, table + TABLE_PIECES, pieces, count * sizeof(struct piece));
	command->pieces = alloc_resize(command->pieces, count + 1, sizeof(struct iovec));
	command->places = alloc_resize(command->places, count + 1, sizeof(guest_addr));
	command->piece_count = 0;
	command->piece_bytes = 0;
	for (uint32_t i = 0; r == 0 && i < count; i++) {
		guest_addr at = (guest_addr)pieces[i].at_high << 32 | pieces[i].at_low;
		uint64_t bytes = (pieces[i].bytes & PIECE_BYTES_MASK) + UINT64_C(1);
		void *there = guest_slice(guest, at, bytes);
		if (!there) {
			r = -EFAULT;
			break;
		}
		command->pieces[i] = (struct iovec){ there, bytes };
		command->places[i] = at;
		command->piece_count++;
		command->piece_bytes += bytes;
	}
	free(pieces);
	return r;
}

static int read_command(struct ahci_command *command)
{
	const struct ahci_port *port = command->port;
	const struct guest *guest = port->owner->guest;
	struct header header;
	command->header_at = port->list_at + (uint64_t)command->slot * HEADER_BYTES;
	if (guest_read(guest, command->header_at, &header, sizeof(header)) < 0)
		return -EFAULT;
	guest_addr table = (guest_addr)header.table_high << 32 | (header.table_low & ~127u);
	if (guest_read(guest, table, command->fis, sizeof(command->fis)) < 0 ||
		guest_read(guest, table + TABLE_PACKET, command->packet, sizeof(command->packet)) <
			0)
		return -EFAULT;
	return read_pieces(command, table, header.pieces);
}

/* A frame that is no command sets the device's control register: two of them reset it. */
static void control(struct ahci_command *command)
{
	struct ahci_port *port = command->port;
	bool is_reset = command->fis[15] & CONTROL_RESET;
	port->begun &= ~(1u << command->slot);
	port->issue &= ~(1u << command->slot);
	if (port->in_reset && !is_reset) {
		uint32_t what = port->device->signature;
		const uint8_t signature[AHCI_FIS_BYTES] = { [4] = (uint8_t)(what >> 8),
			[5] = (uint8_t)(what >> 16),
			[6] = (uint8_t)(what >> 24),
			[12] = (uint8_t)what };
		port->tfd = ATA_READY | 1u << 8;
		leave_registers(port, signature);
	}
	port->in_reset = is_reset;
	port->owner->update(port->ahci);
}

static void memory_fault(struct ahci_command *command)
{
	struct ahci_port *port = command->port;
	port->begun &= ~(1u << command->slot);
	port->is_stopped = true;
	port->tfd = ATA_FAILED | ATA_ABORT << 8;
	port->is |= IS_MEMORY_FAULT;
	port->owner->update(port->ahci);
}

static uint64_t wait_for_tokens(struct ahci_port *port)
{
	uint64_t now = port->bytes.rate || port->operations.rate ? loop_now() : 0;
	uint64_t a = throttle_wait(&port->bytes, now), b = throttle_wait(&port->operations, now);
	return a > b ? a : b;
}

/* Begins the command of a slot; false if it must wait for those that are under way. */
static bool begin(struct ahci_port *port, uint32_t slot)
{
	struct ahci_command *command = &port->commands[slot];
	int r = read_command(command);
	bool is_command = command->fis[0] == FIS_COMMAND && (command->fis[1] & FIS_IS_COMMAND);
	bool is_queued = r == 0 && is_command && port->device->is_queued(command->fis);
	if (port->begun && (!is_queued || !port->is_queue))
		return false;
	port->begun |= 1u << slot;
	port->is_queue = is_queued;
	command->answer = is_queued ? AHCI_ANSWER_QUEUED : AHCI_ANSWER_REGISTERS;
	command->tag = command->fis[12] >> 3;
	command->request = (struct disk_request){};
	if (r < 0 || command->fis[0] != FIS_COMMAND) {
		memory_fault(command);
		return true;
	}
	if (!is_command) {
		control(command);
		return true;
	}
	if (is_queued) /* the device has taken it; it ends by its bit of `sactive` */
		port->issue &= ~(1u << slot);
	throttle_take(&port->operations, 1);
	port->device->begin(command);
	return true;
}

void ahci_port_serve(struct ahci_port *port)
{
	if (!port->disk || !(port->cmd & CMD_START))
		return;
	for (;;) {
		uint32_t waiting = port->issue & ~port->begun;
		if (!waiting || port->held || port->is_stopped)
			break;
		uint64_t wait = wait_for_tokens(port);
		if (wait) {
			timer_set_after(port->timer, wait);
			break;
		}
		if (!begin(port, (uint32_t)__builtin_ctz(waiting)))
			break;
	}
	disk_start(port->disk);
}

void ahci_port_settle(struct ahci_port *port)
{
	if (port->disk)
		disk_drain(port->disk);
}

struct port_saved {
	uint64_t list_at, received_at, failed_sector;
	uint32_t is, ie, cmd, tfd, sstatus, scontrol, serror, sactive, issue;
	uint8_t is_stopped, in_reset, multiple, failed_tag, failed_error, is_ejected, sense[3],
		reserved[3];
};
static_assert(sizeof(struct port_saved) == 72, "layout");

void ahci_port_save(const struct ahci_port *port, struct state *state)
{
	const struct port_saved saved = {
		.list_at = port->list_at,
		.received_at = port->received_at,
		.failed_sector = port->failed_sector,
		.is = port->is,
		.ie = port->ie,
		.cmd = port->cmd,
		.tfd = port->tfd,
		.sstatus = port->sstatus,
		.scontrol = port->scontrol,
		.serror = port->serror,
		.sactive = port->sactive,
		.issue = port->issue,
		.is_stopped = port->is_stopped,
		.in_reset = port->in_reset,
		.multiple = port->multiple,
		.failed_tag = port->failed_tag,
		.failed_error = port->failed_error,
		.is_ejected = port->is_ejected,
		.sense = { (uint8_t)(port->sense >> 16), (uint8_t)(port->sense >> 8),
			(uint8_t)port->sense },
	};
	char name[STATE_NAME_SIZE];
	state_put(state, state_name(name, "ahci.port", port->number), 1, &saved, sizeof(saved));
}

int ahci_port_load(struct ahci_port *port, const struct state *state, struct error *e)
{
	struct port_saved saved;
	char name[STATE_NAME_SIZE];
	int r = state_get(
		state, state_name(name, "ahci.port", port->number), 1, &saved, sizeof(saved), e);
	if (r < 0)
		return r;
	if (saved.multiple > 16 || (saved.cmd & ~CMD_KEPT))
		return error_set(e, -EINVAL, "saved state: %s is in no state it can be in", name);
	port->list_at = saved.list_at;
	port->received_at = saved.received_at;
	port->failed_sector = saved.failed_sector;
	port->is = saved.is;
	port->ie = saved.ie;
	port->cmd = saved.cmd;
	port->tfd = saved.tfd;
	port->sstatus = port->disk ? saved.sstatus : 0;
	port->scontrol = saved.scontrol;
	port->serror = saved.serror;
	port->sactive = saved.sactive;
	port->issue = saved.issue;
	port->is_stopped = saved.is_stopped;
	port->in_reset = saved.in_reset;
	port->multiple = saved.multiple;
	port->failed_tag = saved.failed_tag;
	port->failed_error = saved.failed_error;
	port->is_ejected = saved.is_ejected;
	port->sense =
		(uint32_t)saved.sense[0] << 16 | (uint32_t)saved.sense[1] << 8 | saved.sense[2];
	return 0;
}
