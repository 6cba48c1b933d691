/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ata.c - identify, set a password, prepare, erase, see that the password is gone.
 */
#include "agent/ata.h"

#include <errno.h>
#include <scsi/sg.h>
#include <string.h>
#include <sys/ioctl.h>

#define IDENTIFY         0xec
#define SET_PASSWORD     0xf1
#define PREPARE          0xf3
#define ERASE            0xf4
#define DISABLE_PASSWORD 0xf6

#define PASS_THROUGH 0x85
#define SHORT_MS     (30u * 1000)
#define MINUTE_MS    (60u * 1000)
#define UNKNOWN_MIN  (12u * 60)
#define PASSWORD     "berth erases this disk"

struct security {
	bool is_supported, is_enabled, is_locked, is_frozen, is_expired, has_enhanced;
	uint32_t minutes, enhanced_minutes;
};

void ata_pack(const struct ata_command *command, uint8_t cdb[16])
{
	/* Protocol, and what is moved: one sector, counted in sectors. */
	static const uint8_t protocol[] = {
		[ATA_NONE] = 3 << 1, [ATA_IN] = 4 << 1, [ATA_OUT] = 5 << 1
	};
	static const uint8_t length[] = { [ATA_NONE] = 0, [ATA_IN] = 0x0e, [ATA_OUT] = 0x06 };
	memset(cdb, 0, 16);
	cdb[0] = PASS_THROUGH;
	cdb[1] = protocol[command->direction];
	cdb[2] = length[command->direction];
	cdb[6] = command->direction != ATA_NONE;
	cdb[14] = command->command;
}

int ata_send_sg(void *data, const struct ata_command *command)
{
	static const int directions[] = { [ATA_NONE] = SG_DXFER_NONE,
		[ATA_IN] = SG_DXFER_FROM_DEV,
		[ATA_OUT] = SG_DXFER_TO_DEV };
	const int *disk = data;
	uint8_t cdb[16], sense[32] = {};
	ata_pack(command, cdb);
	struct sg_io_hdr io = { .interface_id = 'S',
		.dxfer_direction = directions[command->direction],
		.cmd_len = sizeof(cdb),
		.mx_sb_len = sizeof(sense),
		.dxfer_len = command->direction == ATA_NONE ? 0 : ATA_SECTOR,
		.dxferp = command->sector,
		.cmdp = cdb,
		.sbp = sense,
		.timeout = command->timeout_ms };
	if (ioctl(*disk, SG_IO, &io) < 0)
		return -errno;
	return (io.info & SG_INFO_OK_MASK) == SG_INFO_OK ? 0 : -EIO;
}

static uint16_t word(const uint8_t *sector, size_t n)
{
	return (uint16_t)(sector[2 * n] | sector[2 * n + 1] << 8);
}

/* In steps of two minutes; in the new form if the highest bit is set. */
static uint32_t minutes_of(uint16_t value)
{
	uint32_t steps = value & 0x8000 ? value & 0x7fffu : value & 0xffu;
	return steps == 0 || value == 0xff ? UNKNOWN_MIN : 2 * steps;
}

static int identify(ata_send *send, void *data, struct security *ret)
{
	uint8_t sector[ATA_SECTOR] = {};
	int r = send(data, &(struct ata_command){ IDENTIFY, ATA_IN, sector, SHORT_MS });
	if (r < 0)
		return r;
	uint16_t state = word(sector, 128);
	*ret = (struct security){ .is_supported = (word(sector, 82) & 2) && (state & 1),
		.is_enabled = state & 2,
		.is_locked = state & 4,
		.is_frozen = state & 8,
		.is_expired = state & 16,
		.has_enhanced = state & 32,
		.minutes = minutes_of(word(sector, 89)),
		.enhanced_minutes = minutes_of(word(sector, 90)) };
	return 0;
}

/* The user's password behind one word of flags. */
static int send_password(
	ata_send *send, void *data, uint8_t command, uint8_t flags, uint32_t timeout_ms)
{
	uint8_t sector[ATA_SECTOR] = { flags };
	memcpy(sector + 2, PASSWORD, sizeof(PASSWORD) - 1);
	return send(data, &(struct ata_command){ command, ATA_OUT, sector, timeout_ms });
}

static int erase(ata_send *send, void *data, const struct security *security, bool is_enhanced)
{
	uint32_t minutes = is_enhanced ? security->enhanced_minutes : security->minutes;
	int r = send(data, &(struct ata_command){ PREPARE, ATA_NONE, NULL, SHORT_MS });
	/* Its own word for how long it takes, and half of that. */
	return r < 0 ? r
		     : send_password(send, data, ERASE, is_enhanced ? 2 : 0,
			       (minutes + minutes / 2) * MINUTE_MS + SHORT_MS);
}

int ata_erase(
	ata_send *send, void *data, bool is_rotational, const char **ret_method, struct error *e)
{
	struct security security;
	int r = identify(send, data, &security);
	if (r < 0)
		return error_code(e, r, "identify the disk");
	if (!security.is_supported)
		return error_set(e, -EOPNOTSUPP, "the disk can't erase itself");
	if (security.is_frozen || security.is_expired)
		return error_set(e, -EBUSY, "the disk's security is %s",
			security.is_frozen ? "frozen by the firmware" : "used up until power goes");
	bool is_enhanced = security.has_enhanced && !is_rotational;
	if (!security.is_enabled)
		r = send_password(send, data, SET_PASSWORD, 0, SHORT_MS);
	if (r < 0)
		return error_code(e, r, "set the disk's password");
	r = erase(send, data, &security, is_enhanced);
	struct security after = { .is_enabled = true };
	int looked = identify(send, data, &after);
	/* What an erasure that worked does by itself. */
	if (looked < 0 || after.is_enabled)
		(void)!send_password(send, data, DISABLE_PASSWORD, 0, SHORT_MS);
	if (r == 0 && looked == 0 && after.is_enabled)
		r = -EIO;
	if (r < 0)
		return error_code(e, r, "the disk's own erasure");
	*ret_method = is_enhanced ? "ata-enhanced" : "ata-erase";
	return 0;
}
