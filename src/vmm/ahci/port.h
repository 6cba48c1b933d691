/* SPDX-License-Identifier: Apache-2.0 */
/*
 * port.h - one port of the SATA controller, between its registers (port.c) and its device's commands (ata.c,
 * atapi.c).
 */
#pragma once

#include "base/loop.h"
#include "disk/disk.h"
#include "vmm/guest.h"
#include "vmm/state.h"
#include "vmm/throttle.h"

#define AHCI_SLOTS        32
#define AHCI_FIS_BYTES    20
#define AHCI_PACKET_BYTES 16
#define AHCI_PIECES_MAX   2048 /* of guest memory in one command */
#define AHCI_RANGES_MAX   64   /* of one TRIM */

#define ATA_READY  0x50u /* status: ready, seek done */
#define ATA_FAILED 0x41u /* ready, error */
#define ATA_ABORT  0x04u /* errors */
#define ATA_WRONG  0x10u /* no such sector */
#define ATA_BROKEN 0x40u /* the medium does not give it back */

/* What the device says at the end. */
enum ahci_answer { AHCI_ANSWER_REGISTERS, AHCI_ANSWER_PIO, AHCI_ANSWER_QUEUED };

struct ahci_range {
	uint64_t sector;
	uint32_t sectors;
};

struct ahci; /* the controller */

struct ahci_command {
	struct ahci_port *port;
	struct ahci_command *next; /* of those that wait for room */
	uint8_t slot, tag;
	enum ahci_answer answer;
	uint8_t fis[AHCI_FIS_BYTES];
	uint8_t packet[AHCI_PACKET_BYTES]; /* a CD drive's command */
	guest_addr header_at;
	struct iovec *pieces; /* the guest's memory */
	guest_addr *places;   /* where they are */
	uint32_t piece_count;
	uint64_t piece_bytes;
	uint64_t sector;
	struct disk_request request;
	struct ahci_range *ranges; /* of a TRIM */
	uint32_t range_count, range_next;
};

/* What the port's device does: a disk's commands, in ata.c, or a CD drive's, in atapi.c. */
struct ahci_device_calls {
	uint32_t signature; /* by which guests know what it is */
	/* Whether the frame is of a command that may run beside others. */
	bool (*is_queued)(const uint8_t *fis);
	/* Carries a command out; it ends with ahci_command_end(), now or later. */
	void (*begin)(struct ahci_command *command);
};

/* What a port is part of. */
struct ahci_owner {
	struct guest *guest;
	/* The port's interrupt causes have changed. */
	void (*update)(struct ahci *ahci);
	/* Commands were issued: the I/O thread calls ahci_port_serve(). */
	void (*wake)(struct ahci *ahci);
};

struct ahci_port {
	struct ahci *ahci;
	const struct ahci_owner *owner;
	const struct ahci_device_calls *device;
	uint32_t number;
	struct disk *disk;
	struct source *ended, *timer;
	struct throttle bytes, operations;
	char serial[21];
	void (*stalled)(void *data, bool is_stalled);
	void *data;

	/* Registers. */
	uint64_t list_at, received_at;
	uint32_t is, ie, cmd, tfd, sstatus, scontrol, serror, sactive, issue;

	uint32_t begun;    /* bits of `issue` (queued ones: of `sactive`) that are under way */
	uint32_t is_queue; /* what is under way is queued commands */
	bool is_stopped;   /* after an error, until the guest starts it anew */
	bool in_reset;     /* by a control FIS */
	uint8_t multiple;
	uint8_t failed_tag, failed_error; /* what the log of queued errors says; 0xff: none */
	uint64_t failed_sector;
	uint32_t sense;            /* of a CD drive: key, code and qualifier of the last error */
	bool is_ejected;           /* its disc */
	struct ahci_command *held; /* writes that wait for room */
	struct ahci_command commands[AHCI_SLOTS];
};

void ahci_port_init(struct ahci_port *port, struct ahci *ahci, const struct ahci_owner *owner,
	const struct ahci_device_calls *device, uint32_t number);
void ahci_port_done(struct ahci_port *port);
/* As after a reset of the link. */
void ahci_port_reset(struct ahci_port *port);
uint32_t ahci_port_read(const struct ahci_port *port, uint32_t offset);
void ahci_port_write(struct ahci_port *port, uint32_t offset, uint32_t value);
/* Begins what the guest has issued, on the I/O thread. */
void ahci_port_serve(struct ahci_port *port);
/* Lets what is under way end. */
void ahci_port_settle(struct ahci_port *port);
void ahci_port_save(const struct ahci_port *port, struct state *state);
int ahci_port_load(struct ahci_port *port, const struct state *state, struct error *e) must_use;

/* ata.c, atapi.c */
extern const struct ahci_device_calls ata_calls, atapi_calls;

/* For these. `error` is 0 or ATA_*, or the error register of a CD drive. */
void ahci_command_end(struct ahci_command *command, uint8_t error);
/* Copies into / out of the guest's memory; the bytes that found room, or were there. */
uint64_t ahci_command_give(struct ahci_command *command, const void *data, uint64_t bytes);
uint64_t ahci_command_take(const struct ahci_command *command, void *data, uint64_t bytes);
/* Cuts the guest's memory to `bytes`; false if there is less. */
bool ahci_command_cut(struct ahci_command *command, uint64_t bytes);
/* Text in words, first character high, padded with spaces. */
void ahci_put_text(uint16_t *words, uint32_t count, const char *text);
