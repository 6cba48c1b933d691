/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acpi.c - tables of ACPI. Of their byte code nothing is run: a virtio device's name is looked for, and behind it the
 * two descriptors of what it has.
 */
#include "unikernel/machine/acpi.h"

#include "unikernel/machine/pages.h"

#define ROM          0xe0000u
#define ROM_END      0x100000u
#define ROOT_BYTES   20u
#define ROOT_LONG    36u
#define HEAD_BYTES   36u
#define TABLE_MOST   (1u << 20)
#define TABLES_MOST  64u
#define NAME         "LNRO0005"
#define NAME_BYTES   8u
#define DEVICE_MOST  256u /* bytes of code that belong to a name */
#define MADT_ENTRIES 44u
#define FADT_CODE    40u
#define FADT_CODE_64 140u
#define FADT_LINE    46u
#define FADT_COMMAND 48u
#define FADT_ENABLE  52u
#define FADT_EVENT   56u
#define FADT_CONTROL 64u
#define FADT_LENGTH  88u
#define FADT_FLAGS   112u
#define FADT_SLEEP   244u
#define IS_REDUCED   (1u << 20)             /* no fixed registers are there */
#define NO_BUTTON    (1u << 4 | IS_REDUCED) /* it is no register, or none of these are there */
#define IN_MEMORY    0
#define SLEEPS       0x20u /* of the sleep control register; the kind of sleep stands beside */
#define OFF_NAME     "_S5_"
#define PACKAGE      0x12
#define ONE_BYTE     0x0a
#define IO_APIC      1
#define SPACE        0x86 /* a window of memory, 32 bits */
#define INTERRUPT    0x89

static uint64_t seen;

static uint32_t word_at(const uint8_t *bytes)
{
	uint32_t value;
	memcpy(&value, bytes, sizeof(value));
	return value;
}

static uint64_t long_at(const uint8_t *bytes)
{
	uint64_t value;
	memcpy(&value, bytes, sizeof(value));
	return value;
}

static const uint8_t *see(uint64_t physical, uint64_t bytes)
{
	if (physical < seen && bytes <= seen - physical)
		return pages_see(physical);
	return (const void *)(uintptr_t)pages_map_device(physical, bytes);
}

static bool has_sum(const uint8_t *bytes, uint32_t count)
{
	uint8_t sum = 0;
	for (uint32_t i = 0; i < count; i++)
		sum = (uint8_t)(sum + bytes[i]);
	return sum == 0;
}

/* The whole table, of `*ret` bytes; NULL if it is none. */
static const uint8_t *table_at(uint64_t physical, uint32_t *ret)
{
	const uint8_t *head = physical ? see(physical, HEAD_BYTES) : NULL;
	if (!head)
		return NULL;
	*ret = word_at(head + 4);
	if (*ret < HEAD_BYTES || *ret > TABLE_MOST)
		return NULL;
	return see(physical, *ret);
}

static void read_controllers(const uint8_t *table, uint32_t bytes, const struct acpi_takers *takers)
{
	for (uint32_t place = MADT_ENTRIES; place + 2 <= bytes && table[place + 1] >= 2;
		place += table[place + 1])
		if (table[place] == IO_APIC && table[place + 1] >= 12 && place + 12 <= bytes)
			takers->controller(word_at(table + place + 4), word_at(table + place + 8));
}

/* The code of one device: what it has stands behind its name. */
static void read_device(const uint8_t *code, uint32_t bytes, const struct acpi_takers *takers)
{
	uint32_t place = 0;
	for (; place + 12 <= bytes; place++)
		if (code[place] == SPACE && code[place + 1] == 9 && code[place + 2] == 0)
			break;
	if (place + 12 > bytes)
		return;
	uint64_t physical = word_at(code + place + 4);
	for (place += 12; place + 9 <= bytes; place++)
		if (code[place] == INTERRUPT && code[place + 1] == 6 && code[place + 2] == 0) {
			takers->window(physical, word_at(code + place + 5));
			return;
		}
}

static void read_code(uint64_t physical, const struct acpi_takers *takers)
{
	uint32_t bytes;
	const uint8_t *code = table_at(physical, &bytes);
	for (uint32_t place = 0; code && place + NAME_BYTES <= bytes; place++) {
		if (memcmp(code + place, NAME, NAME_BYTES) != 0)
			continue;
		place += NAME_BYTES;
		uint32_t end = place;
		while (end < bytes && end - place < DEVICE_MOST &&
			(end + NAME_BYTES > bytes || memcmp(code + end, NAME, NAME_BYTES) != 0))
			end++;
		read_device(code + place, end - place, takers);
		place = end - 1;
	}
}

static void read_button(const uint8_t *table, uint32_t bytes, const struct acpi_takers *takers)
{
	if (bytes < FADT_FLAGS + 4 || (word_at(table + FADT_FLAGS) & NO_BUTTON))
		return;
	const struct acpi_button button = { .line = word_at(table + FADT_LINE) & 0xffff,
		.event = (uint16_t)word_at(table + FADT_EVENT),
		.event_bytes = table[FADT_LENGTH],
		.control = (uint16_t)word_at(table + FADT_CONTROL),
		.command = (uint16_t)word_at(table + FADT_COMMAND),
		.enable = table[FADT_ENABLE] };
	if (button.event && button.event_bytes >= 4)
		takers->button(&button);
}

/* The first number of the package "_S5_": the kind of sleep that is off. False if there is none. */
static bool read_kind(uint64_t physical, uint8_t *ret)
{
	uint32_t bytes;
	const uint8_t *code = table_at(physical, &bytes);
	for (uint32_t place = HEAD_BYTES; code && place + 12 <= bytes; place++) {
		if (memcmp(code + place, OFF_NAME, 4) != 0 || code[place + 4] != PACKAGE)
			continue;
		const uint8_t *first =
			code + place + 7 + (code[place + 5] >> 6); /* its length, its count */
		if (*first > 1 && *first != ONE_BYTE)
			continue;
		*ret = *first == ONE_BYTE ? first[1] : *first;
		return *ret < 8;
	}
	return false;
}

static void read_off(
	const uint8_t *table, uint32_t bytes, uint64_t code, const struct acpi_takers *takers)
{
	uint8_t kind;
	if (bytes < FADT_SLEEP + 12 || !(word_at(table + FADT_FLAGS) & IS_REDUCED))
		return;
	if (table[FADT_SLEEP] == IN_MEMORY && long_at(table + FADT_SLEEP + 4) &&
		read_kind(code, &kind))
		takers->off(long_at(table + FADT_SLEEP + 4), (uint8_t)(SLEEPS | kind << 2));
}

static void read_fixed(const uint8_t *table, uint32_t bytes, const struct acpi_takers *takers)
{
	bool is_long = bytes >= FADT_CODE_64 + 8 && long_at(table + FADT_CODE_64);
	uint64_t code = is_long ? long_at(table + FADT_CODE_64) : word_at(table + FADT_CODE);
	read_button(table, bytes, takers);
	read_off(table, bytes, code, takers);
	read_code(code, takers);
}

static void read_table(uint64_t physical, const struct acpi_takers *takers)
{
	uint32_t bytes;
	const uint8_t *table = table_at(physical, &bytes);
	if (!table)
		return;
	if (memcmp(table, "APIC", 4) == 0)
		read_controllers(table, bytes, takers);
	else if (memcmp(table, "SSDT", 4) == 0)
		read_code(physical, takers);
	else if (memcmp(table, "FACP", 4) == 0 && bytes >= FADT_CODE + 4)
		read_fixed(table, bytes, takers);
}

static const uint8_t *root_at(uint64_t physical)
{
	const uint8_t *root = see(physical, ROOT_LONG);
	bool is_root = root && memcmp(root, "RSD PTR ", 8) == 0 && has_sum(root, ROOT_BYTES);
	return is_root ? root : NULL;
}

void acpi_read(uint64_t rsdp, uint64_t seen_end, const struct acpi_takers *takers)
{
	seen = seen_end;
	const uint8_t *root = rsdp ? root_at(rsdp) : NULL;
	for (uint64_t place = ROM; !root && place < ROM_END - ROOT_LONG; place += 16)
		root = root_at(place);
	if (!root)
		return;
	bool is_long = root[15] >= 2 && long_at(root + 24);
	uint32_t bytes, step = is_long ? 8 : 4;
	const uint8_t *list = table_at(is_long ? long_at(root + 24) : word_at(root + 16), &bytes);
	for (uint32_t i = 0, place = HEAD_BYTES; list && i < TABLES_MOST && place + step <= bytes;
		i++, place += step)
		read_table(is_long ? long_at(list + place) : word_at(list + place), takers);
}
