/* SPDX-License-Identifier: Apache-2.0 */
/*
 * firmware.h - SeaBIOS, OVMF and their like: the file checked, and what the machine tells it by fw_cfg.
 */
#pragma once

#include "base/error.h"
#include "vmm/boot/image.h"
#include "vmm/boot/layout.h"
#include "vmm/fw_cfg.h"

#define FIRMWARE_BYTES_MIN  (64 * KIB)
#define FIRMWARE_BYTES_MAX  (16 * MIB)
#define FIRMWARE_SHADOW_AT  UINT64_C(0xe0000)
#define FIRMWARE_SHADOW_MAX (128 * KIB)
/* A page of the machine's own above everything that firmware hands out: the VM generation id. */
#define FIRMWARE_OWN_PAGE UINT64_C(0xfeffb000)

/*
 * Reads a whole firmware image; the caller owns *ret. -EINVAL if its size is none, or nothing stands
 * where the first instruction is.
 */
int firmware_read(
	const struct image *image, uint8_t **ret, uint32_t *ret_bytes, struct error *e) must_use;

/* Whether the contents of a file begin as a volume of UEFI's variables does. */
bool firmware_is_variables(const uint8_t *data, uint64_t bytes);

struct firmware_description {
	uint64_t low_bytes, high_bytes; /* memory from 0 and from 4 GiB */
	uint64_t room_end;              /* of what is kept free for more memory; 0: nothing is */
	uint32_t cpus;
	const char *boot_order; /* devices' paths, one a line; NULL leaves it to the firmware */
};

/* Puts the files that SeaBIOS and OVMF look for: the memory map, the ACPI tables, the console. */
void firmware_describe(struct fw_cfg *fw, const struct firmware_description *description);
