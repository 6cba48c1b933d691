/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netboot_pass.c - a UEFI program of eleven bytes, and the directory that dnsmasq looks into first for an address.
 */
#include "daemon/server/netboot_pass.h"

#include <errno.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"

#define ALIGNMENT   512
#define AT_PE       64
#define OPTIONAL    0xf0
#define AT_OPTIONAL (AT_PE + 24)
#define AT_SECTION  (AT_OPTIONAL + OPTIONAL)
#define LOADED_AT   0x1000
#define MACHINE     0x8664
#define APPLICATION 10

/* mov rax, EFI_NOT_FOUND; ret */
static const uint8_t code[] = { 0x48, 0xb8, 0x0e, 0, 0, 0, 0, 0, 0, 0x80, 0xc3 };
static uint8_t program[2 * ALIGNMENT];

static void put(size_t at, size_t bytes, uint64_t value)
{
	for (size_t i = 0; i < bytes; i++)
		program[at + i] = (uint8_t)(value >> (8 * i));
}

/* The fields of PE32+ that are not zero. */
static void make(void)
{
	memcpy(program, "MZ", 2);
	put(60, 4, AT_PE);
	memcpy(program + AT_PE, "PE", 2);
	put(AT_PE + 4, 2, MACHINE);
	put(AT_PE + 6, 2, 1); /* section */
	put(AT_PE + 20, 2, OPTIONAL);
	put(AT_PE + 22, 2, 0x22); /* runs, knows large addresses */
	put(AT_OPTIONAL, 2, 0x20b);
	put(AT_OPTIONAL + 4, 4, ALIGNMENT);  /* of code */
	put(AT_OPTIONAL + 16, 4, LOADED_AT); /* its entry */
	put(AT_OPTIONAL + 20, 4, LOADED_AT);
	put(AT_OPTIONAL + 32, 4, LOADED_AT); /* sections begin at multiples of that */
	put(AT_OPTIONAL + 36, 4, ALIGNMENT); /* and in the file */
	put(AT_OPTIONAL + 56, 4, 2 * LOADED_AT);
	put(AT_OPTIONAL + 60, 4, ALIGNMENT); /* of headers */
	put(AT_OPTIONAL + 68, 2, APPLICATION);
	put(AT_OPTIONAL + 108, 4, 16); /* directories, all empty */
	memcpy(program + AT_SECTION, ".text", 5);
	put(AT_SECTION + 8, 4, sizeof(code));
	put(AT_SECTION + 12, 4, LOADED_AT);
	put(AT_SECTION + 16, 4, ALIGNMENT);
	put(AT_SECTION + 20, 4, ALIGNMENT);
	put(AT_SECTION + 36, 4, 0x60000020); /* code, read, run */
	memcpy(program + ALIGNMENT, code, sizeof(code));
}

const uint8_t *netboot_pass_program(size_t *ret_length)
{
	if (!program[0])
		make();
	*ret_length = sizeof(program);
	return program;
}

void netboot_pass_set(const struct service *service, const char *host, bool does_pass)
{
	struct error e = {};
	size_t length;
	if (!host)
		return;
	cleanup(free) char *dir = alloc_printf("metal/tftp/%.*s", (int)strcspn(host, "/"), host);
	cleanup(free) char *path = alloc_printf("%s/ipxe.efi", dir);
	int r = 0;
	if (does_pass) {
		const uint8_t *bytes = netboot_pass_program(&length);
		r = file_make_dirs(service->dir, dir, 0755);
		if (r == 0)
			r = file_replace(service->dir, path, bytes, length, 0644, &e);
	} else {
		r = file_remove_tree(service->dir, dir);
		r = r == -ENOENT ? 0 : r;
	}
	if (r < 0)
		log_warning("what %s boots is not changed code=%d %s", host, r, e.text);
}
