/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot.h - what the library OS finds at its start, written by whoever loads it.
 */
#pragma once

#include <assert.h>
#include <stdint.h>

#define BOOT_VERSION 5

/*
 * Where every rewritten program and library finds the addresses of the library OS's entries (PT_BERTH_SLOT), one for each
 * call whose number was known when it was rewritten. The first serves any call, whatever its number.
 */
#define BOOT_SLOT  0x20000u
#define BOOT_SLOTS 512u

/* Among the signals from outside it is none: so much has the program computed, others may want to (SIGVTALRM). */
#define BOOT_TICK    26
#define BOOT_TICK_US 10000

#define BOOT_IN_TERMINAL  1u  /* console input is a terminal */
#define BOOT_OUT_TERMINAL 2u  /* so is its output */
#define BOOT_FSGSBASE     4u  /* a program can set the base of FS itself */
#define BOOT_VERBOSE      8u  /* say at the end what the program missed */
#define BOOT_NET          16u /* there is a network card: see boot_net */
#define BOOT_NET_OFFLOAD \
	32u /* its other side takes over checksums and cuts TCP segments, and lets us do so */

#define BOOT_NAMED \
	128u /* the first argument names the program, as a shell's would, not /.berth/program */

/* How a platform ends whose named program is not there, or is none. */
#define BOOT_NOT_FOUND     127
#define BOOT_NOT_A_PROGRAM 126

#define BOOT_DNS       2
#define BOOT_HOST_NAME 64

#define BOOT_NET_NO_IP4 1u
#define BOOT_NET_NO_IP6 2u

/* The network card and its addresses; bytes in the order of the wire. */
struct boot_net {
	uint8_t mac[6];
	uint16_t mtu;
	uint32_t flags;  /* BOOT_NET_NO_ */
	uint8_t prefix4; /* 0: the address, gateway and servers come by DHCP */
	uint8_t prefix6; /* 0: by router advertisements */
	uint8_t reserved[2];
	uint8_t address4[4], gateway4[4];
	uint8_t address6[16], gateway6[16];
	uint8_t dns[BOOT_DNS][16]; /* name servers, IPv4 as mapped addresses; zero: none */
	char host_name[BOOT_HOST_NAME];
};
static_assert(sizeof(struct boot_net) == 152, "boot_net");

struct boot {
	uint32_t version;        /* BOOT_VERSION */
	uint32_t size;           /* of this struct */
	uint64_t memory_address; /* for brk, mmap and stacks; page-aligned, mapped, zero */
	uint64_t memory_bytes;
	uint64_t program_address; /* the ELF file of the program; 0: /.berth/program of the root */
	uint64_t program_bytes;
	uint64_t words_address; /* arguments, each with its NUL, then the environment likewise */
	uint32_t words_bytes;
	uint32_t argument_count; /* 0: words and counts are those of /.berth/words */
	uint32_t environment_count;
	uint32_t flags;
	uint64_t root_address; /* the erofs image of the root, or 0 */
	uint64_t root_bytes;
	uint64_t vdso_address;      /* an ELF image for AT_SYSINFO_EHDR, or 0 */
	uint64_t volume_bytes;      /* of the block device, or 0 */
	uint64_t directory_address; /* text: where the program begins; 0: the root */
	uint8_t random[32];
	struct boot_net net;
};
static_assert(sizeof(struct boot) == 288, "boot");

/* The head of /.berth/words in an image; the words follow as in struct boot. */
struct boot_words {
	uint32_t argument_count, environment_count;
	uint32_t words_bytes;
	uint32_t reserved;
};
static_assert(sizeof(struct boot_words) == 16, "boot_words");
