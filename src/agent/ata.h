/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ata.h - a SATA disk that erases itself (ATA Security feature set), through SCSI's pass-through.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

#define ATA_SECTOR 512

enum ata_direction { ATA_NONE, ATA_IN, ATA_OUT };

struct ata_command {
	uint8_t command;
	enum ata_direction direction;
	uint8_t *sector; /* ATA_SECTOR bytes; NULL for none */
	uint32_t timeout_ms;
};

/* Carries it out: 0 or a negative errno. */
typedef int ata_send(void *data, const struct ata_command *command);

/* As the kernel's SG_IO does it; `data` is an int, the disk. */
int ata_send_sg(void *data, const struct ata_command *command);
/* ATA PASS-THROUGH (16). */
void ata_pack(const struct ata_command *command, uint8_t cdb[16]);

/*
 * Erases all of it. `is_rotational`: by the method that leaves zeros, else by the disk's own quickest. *ret_method is
 * "ata-erase" or "ata-enhanced". -EOPNOTSUPP if it can't, -EBUSY if the firmware forbade it; it has no password then.
 * A disk that was interrupted in the midst is locked with a password that is always the same, and erased again.
 */
int ata_erase(ata_send *send, void *data, bool is_rotational, const char **ret_method,
	struct error *e) must_use;
