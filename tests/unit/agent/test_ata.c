/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ata.h"

#include <errno.h>
#include <string.h>

#include "test.h"

/* A disk with the security feature set, as the standard has its states. */
struct disk {
	uint16_t security;      /* word 128 */
	uint16_t time, quicker; /* words 89 and 90 */
	uint8_t password[32];
	bool is_prepared, is_erased, is_enhanced;
	uint8_t fails; /* this command */
	uint32_t timeout_ms;
	char log[64];
};

static void put(uint8_t *sector, size_t n, uint16_t value)
{
	sector[2 * n] = (uint8_t)value;
	sector[2 * n + 1] = (uint8_t)(value >> 8);
}

static bool is_right(const struct disk *disk, const uint8_t *sector)
{
	return memcmp(sector + 2, disk->password, 32) == 0;
}

static int send(void *data, const struct ata_command *command)
{
	struct disk *disk = data;
	size_t length = strlen(disk->log);
	snprintf(disk->log + length, sizeof(disk->log) - length, "%s%02x", length ? " " : "",
		command->command);
	if (command->command == disk->fails)
		return -EIO;
	switch (command->command) {
	case 0xec:
		put(command->sector, 82, 2);
		put(command->sector, 89, disk->time);
		put(command->sector, 90, disk->quicker);
		put(command->sector, 128, disk->security);
		return 0;
	case 0xf1:
		expect_equal(command->sector[0] & 1, 0);
		memcpy(disk->password, command->sector + 2, 32);
		disk->security |= 2;
		return 0;
	case 0xf3:
		expect_equal(command->direction, ATA_NONE);
		disk->is_prepared = true;
		return 0;
	case 0xf4:
		if (!disk->is_prepared || !is_right(disk, command->sector))
			return -EIO;
		disk->is_erased = true;
		disk->is_enhanced = command->sector[0] & 2;
		disk->timeout_ms = command->timeout_ms;
		disk->security &= (uint16_t)~6;
		return 0;
	case 0xf6:
		if (!is_right(disk, command->sector))
			return -EIO;
		disk->security &= (uint16_t)~2;
		return 0;
	default:
		return -EINVAL;
	}
}

static void erases_by_the_order_of_the_standard(void)
{
	struct disk disk = { .security = 0x21, .time = 60, .quicker = 1 };
	struct error e = {};
	const char *method = NULL;
	expect_equal(ata_erase(send, &disk, false, &method, &e), 0);
	expect_text(disk.log, "ec f1 f3 f4 ec");
	expect_text(method, "ata-enhanced");
	expect(disk.is_erased && disk.is_enhanced);
	/* Two minutes, one more, and what a command has. */
	expect_equal(disk.timeout_ms, 3 * 60000 + 30000);
	expect_equal(disk.security, 0x21);
}

static void leaves_zeros_on_a_disk_that_turns(void)
{
	struct disk disk = { .security = 0x21, .time = 0x8000 | 300, .quicker = 1 };
	struct error e = {};
	const char *method = NULL;
	expect_equal(ata_erase(send, &disk, true, &method, &e), 0);
	expect_text(method, "ata-erase");
	expect(disk.is_erased && !disk.is_enhanced);
	expect_equal(disk.timeout_ms, 900 * 60000 + 30000);
}

static void leaves_no_password_when_it_fails(void)
{
	struct disk disk = { .security = 0x01, .time = 1, .fails = 0xf4 };
	struct error e = {};
	const char *method = NULL;
	expect_equal(ata_erase(send, &disk, false, &method, &e), -EIO);
	expect_text(disk.log, "ec f1 f3 f4 ec f6");
	expect_equal(disk.security, 0x01);
	expect(!method);
}

static void goes_on_with_one_that_was_interrupted(void)
{
	struct disk disk = { .security = 0x01, .time = 1, .fails = 0xf6 };
	struct error e = {};
	const char *method = NULL;
	/* The power went while it had the password: the disk is locked with it. */
	disk.fails = 0xf4;
	(void)!ata_erase(send, &disk, false, &method, &e);
	disk.fails = 0;
	disk.security |= 2 | 4;
	disk.log[0] = '\0';
	disk.is_prepared = false;
	expect_equal(ata_erase(send, &disk, false, &method, &e), 0);
	expect_text(disk.log, "ec f3 f4 ec");
	expect_equal(disk.security, 0x01);
}

static void touches_nothing_that_is_frozen_or_can_not(void)
{
	struct disk frozen = { .security = 0x09 }, plain = { .security = 0 },
		    expired = { .security = 0x11 };
	struct error e = {};
	const char *method = NULL;
	expect_equal(ata_erase(send, &frozen, false, &method, &e), -EBUSY);
	expect_text(frozen.log, "ec");
	expect_equal(ata_erase(send, &plain, false, &method, &e), -EOPNOTSUPP);
	expect_text(plain.log, "ec");
	expect_equal(ata_erase(send, &expired, false, &method, &e), -EBUSY);
}

static void packs_the_bytes_of_the_pass_through(void)
{
	uint8_t sector[ATA_SECTOR], cdb[16];
	static const uint8_t in[16] = { 0x85, 0x08, 0x0e, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xec },
			     out[16] = { 0x85, 0x0a, 0x06, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xf4 },
			     none[16] = { 0x85, 0x06, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xf3 };
	ata_pack(&(struct ata_command){ 0xec, ATA_IN, sector, 0 }, cdb);
	expect(memcmp(cdb, in, 16) == 0);
	ata_pack(&(struct ata_command){ 0xf4, ATA_OUT, sector, 0 }, cdb);
	expect(memcmp(cdb, out, 16) == 0);
	ata_pack(&(struct ata_command){ 0xf3, ATA_NONE, NULL, 0 }, cdb);
	expect(memcmp(cdb, none, 16) == 0);
}

static const struct test tests[] = {
	{ "erases by the order of the standard", erases_by_the_order_of_the_standard },
	{ "leaves zeros on a disk that turns", leaves_zeros_on_a_disk_that_turns },
	{ "leaves no password when it fails", leaves_no_password_when_it_fails },
	{ "goes on with one that was interrupted", goes_on_with_one_that_was_interrupted },
	{ "touches nothing that is frozen or can't", touches_nothing_that_is_frozen_or_can_not },
	{ "packs the bytes of the pass-through", packs_the_bytes_of_the_pass_through },
};

TEST_MAIN(tests)
