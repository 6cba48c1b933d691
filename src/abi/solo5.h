/* SPDX-License-Identifier: Apache-2.0 */
/*
 * solo5.h - what a Solo5 unikernel carries in its ELF notes and finds at its entry (Solo5 ABI version 2).
 *
 * All of it is little-endian; addresses are the guest's.
 */
#pragma once

#include <assert.h>
#include <stdint.h>

#define SOLO5_NOTE_NAME     "Solo5"
#define SOLO5_NOTE_ABI      0x31494241u /* "ABI1" */
#define SOLO5_NOTE_MANIFEST 0x3154464du /* "MFT1" */
#define SOLO5_ABI_VERSION   2

#define SOLO5_TARGET_ANY 0
#define SOLO5_TARGET_HVT 1
#define SOLO5_TARGET_SPT 2

struct solo5_abi {
	uint32_t target;
	uint32_t version;
	uint32_t reserved[2];
};
static_assert(sizeof(struct solo5_abi) == 16, "solo5_abi");

#define SOLO5_DEVICES_MAX      64
#define SOLO5_NAME_SIZE        68
#define SOLO5_MANIFEST_VERSION 1

#define SOLO5_DEVICE_BLOCK    1
#define SOLO5_DEVICE_NET      2
#define SOLO5_DEVICE_RESERVED (1u << 30) /* this and above: no device */

struct solo5_block {
	uint64_t capacity_bytes;
	uint16_t block_bytes;
	uint16_t reserved[3];
};

struct solo5_net {
	uint8_t mac[6];
	uint16_t mtu;
	uint64_t reserved;
};

struct solo5_device {
	char name[SOLO5_NAME_SIZE];
	uint32_t type;
	union {
		struct solo5_block block;
		struct solo5_net net;
	};
	uint64_t host; /* spt: the descriptor */
	uint8_t is_attached;
	uint8_t reserved[7];
};
static_assert(sizeof(struct solo5_device) == 104, "solo5_device");

struct solo5_manifest {
	uint32_t version;
	uint32_t count;
	struct solo5_device devices[SOLO5_DEVICES_MAX];
};
static_assert(sizeof(struct solo5_manifest) == 8 + 64 * 104, "solo5_manifest");

/* The manifest note's descriptor starts with this padding. */
#define SOLO5_MANIFEST_PADDING 4

/* spt: the guest's memory starts at 0, of which the host maps from here. */
#define SOLO5_SPT_LOW_BASE   0x10000u
#define SOLO5_SPT_BOOT_INFO  0x11000u
#define SOLO5_SPT_KERNEL_MIN 0x100000u

struct solo5_spt_boot {
	uint64_t memory_bytes;
	uint64_t kernel_end;
	uint64_t command_line; /* address */
	uint64_t manifest;     /* address */
	int32_t epoll_fd;
	int32_t timer_fd;
};
static_assert(sizeof(struct solo5_spt_boot) == 40, "solo5_spt_boot");

#define SOLO5_SPT_TIMER_EVENT   (~1u) /* data of the timer in the epoll set */
#define SOLO5_COMMAND_LINE_SIZE 8192

/* hvt: what the guest finds in rdi at its entry; from here on its memory is mapped. */
#define SOLO5_HVT_BOOT_INFO  0x10000u
#define SOLO5_HVT_KERNEL_MIN 0x100000u

struct solo5_hvt_boot {
	uint64_t memory_bytes;
	uint64_t kernel_end;
	uint64_t cycles_per_second;
	uint64_t command_line; /* address */
	uint64_t manifest;     /* address */
	uint32_t host_features;
	uint32_t guest_features;
	uint64_t net_ring;
};
static_assert(sizeof(struct solo5_hvt_boot) == 56, "solo5_hvt_boot");

/* hvt: a hypercall is a write of 32 bits, the address of its arguments, to port BASE + number. */
#define SOLO5_HVT_PORT 0x500u

enum solo5_hvt_call {
	SOLO5_HVT_WALLTIME = 1,
	SOLO5_HVT_PUTS,
	SOLO5_HVT_POLL,
	SOLO5_HVT_BLOCK_WRITE,
	SOLO5_HVT_BLOCK_READ,
	SOLO5_HVT_NET_WRITE,
	SOLO5_HVT_NET_READ,
	SOLO5_HVT_HALT,
	SOLO5_HVT_CALLS,
};

#define SOLO5_OK      0
#define SOLO5_AGAIN   1
#define SOLO5_INVALID 2
#define SOLO5_FAILED  3

struct solo5_hvt_puts {
	uint64_t data, bytes;
};

struct solo5_hvt_poll {
	uint64_t timeout_ns;
	uint64_t ready; /* out: a bit a device */
	int32_t result;
	uint32_t reserved;
};

struct solo5_hvt_block {
	uint64_t device, offset, data, bytes;
	int32_t result;
	uint32_t reserved;
};

struct solo5_hvt_net {
	uint64_t device, data, bytes;
	int32_t result;
	uint32_t reserved;
};

struct solo5_hvt_halt {
	uint64_t cookie;
	int32_t status;
	uint32_t reserved;
};
static_assert(sizeof(struct solo5_hvt_puts) == 16 && sizeof(struct solo5_hvt_poll) == 24 &&
		sizeof(struct solo5_hvt_block) == 40 && sizeof(struct solo5_hvt_net) == 32 &&
		sizeof(struct solo5_hvt_halt) == 16,
	"solo5_hvt");
