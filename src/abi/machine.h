/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine.h - how the library OS in a machine of its own asks its tender for what a process asks Linux for.
 *
 * It writes the physical address of a struct machine_call to MACHINE_PORT, 32 bits; when the instruction is over the answer
 * stands there. Addresses in it are physical, and what they name is in one piece.
 */
#pragma once

#include <assert.h>
#include <stdint.h>

#include "abi/boot.h"

#define MACHINE_PORT 0x510

/* Its whole command line then is "berth.tender=ADDRESS": where its struct machine_start is, a hexadecimal number. */
#define MACHINE_WORD "berth.tender="

enum machine_operation {
	MACHINE_START,         /* first: the 8 bytes where signals are set */
	MACHINE_BEGIN,         /* the program is about to run */
	MACHINE_CONSOLE_WRITE, /* stream, address, bytes */
	MACHINE_CONSOLE_READ,  /* address, bytes */
	MACHINE_CONSOLE_READY, /* 1: there is input or its end */
	MACHINE_WAIT,          /* ns at most, 1 if the console is waited for: bits of PLATFORM_ */
	MACHINE_NET_SEND,      /* address of struct machine_part, how many */
	MACHINE_NET_RECEIVE,   /* address, bytes */
	MACHINE_VOLUME_READ,   /* offset, address, bytes */
	MACHINE_VOLUME_WRITE,  /* the same */
	MACHINE_VOLUME_FLUSH,  /* nothing */
	MACHINE_RELEASE,       /* address, bytes: whole pages become zero */
	MACHINE_EXIT,          /* status */
	MACHINE_KEEP, /* 0, or the errno why not: the machine is kept; 1 in one that goes on from there */
};

struct machine_call {
	uint32_t operation;
	uint32_t reserved;
	int64_t result; /* or a negative errno of Linux */
	uint64_t arguments[3];
};
static_assert(sizeof(struct machine_call) == 40, "machine_call");

struct machine_part {
	uint64_t at, bytes;
};
#define MACHINE_PARTS_MOST 64

/* What only who starts the machine knows; `boot` is completed by the machine, and addresses in it are physical. */
struct machine_start {
	struct boot boot;
	uint64_t cycles_per_second; /* 0: nobody knows */
	uint64_t realtime_ns;       /* at the start */
	uint64_t memory_bytes;      /* what the program shall have */
	uint64_t report_at;         /* of struct report, or 0 */
	uint64_t keep_signal; /* which asks for MACHINE_KEEP, or 0; the program does not see it */
};
