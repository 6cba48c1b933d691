/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acpi.h - the ACPI tables of the machine: as a relocatable blob, for guest memory or for firmware.
 */
#pragma once

#include "base/base.h"

#define ACPI_TABLES_MAX        8
#define ACPI_FIXES_MAX         16
#define ACPI_CHECKSUM_OFFSET   9 /* in each table */
#define ACPI_RSDP_BYTES        36
#define ACPI_RSDP_V1_BYTES     20
#define ACPI_RSDP_CHECKSUM     8
#define ACPI_RSDP_XSDT         24
#define ACPI_RSDP_CHECKSUM_2   32
#define ACPI_GENERATION_OFFSET 40 /* of the VM generation id in its page */

struct acpi_options {
	uint32_t cpus;
	uint64_t generation_at; /* guest address of the page with the VM generation id; 0: none */
	bool has_vga;
};

/* A table's place in the blob. */
struct acpi_table {
	uint32_t offset, length;
};

/* An address in the blob that points into the blob. */
struct acpi_fix {
	uint32_t offset;
	uint32_t bytes; /* 4 or 8 */
};

struct acpi {
	uint8_t *data;
	size_t length;
	struct acpi_table tables[ACPI_TABLES_MAX]; /* those with a checksum */
	size_t table_count;
	struct acpi_fix fixes[ACPI_FIXES_MAX];
	size_t fix_count;
	uint32_t xsdt_offset;
};

void acpi_done(struct acpi *acpi);
static inline void acpi_done_cleanup(struct acpi *local)
{
	acpi_done(local);
}

/* Builds the tables; addresses in them are offsets from the blob's start. */
void acpi_build(const struct acpi_options *options, struct acpi *ret);

/* Moves the addresses to a blob at guest address `at`, and sets the checksums. */
void acpi_place(struct acpi *acpi, uint64_t at);

/* The root pointer to the XSDT at `xsdt_at`; without a checksum if `is_for_firmware`. */
void acpi_rsdp(uint8_t rsdp[ACPI_RSDP_BYTES], uint64_t xsdt_at, bool is_for_firmware);
