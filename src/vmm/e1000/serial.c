/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serial.c - what stands behind serial wires: the EEPROM with the card's address, and the PHY with the
 * state of the link, which is always up at 1 Gbit/s.
 */
#include <string.h>

#include "vmm/e1000/card.h"

#define EECD_CLOCK   1u
#define EECD_SELECT  2u
#define EECD_IN      4u
#define EECD_OUT     8u
#define EECD_REQUEST 0x40u
#define EECD_GRANT   0x80u
#define EECD_PRESENT 0x100u
#define OPCODE_BITS  3
#define ADDRESS_BITS 6
#define OPCODE_READ  6u
#define EERD_START   1u
#define EERD_DONE    0x10u
#define CHECKSUM     0xbaba
#define MDIC_READY   (1u << 28)
#define MDIC_NOTIFY  (1u << 29)
#define MDIC_ERROR   (1u << 30)
#define MDIC_WRITE   1u
#define MDIC_READ    2u
#define PHY_ADDRESS  1u
#define PHY_CONTROL  0
#define PHY_RESET    0x8000u
#define PHY_RESTART  0x0200u

void e1000_serial_init(struct e1000 *card)
{
	static const uint16_t words[E1000_EEPROM_WORDS] = {
		[0x0a] = 0x4408,
		[0x0b] = 0x1100, /* subsystem, its vendor, device, its vendor */
		[0x0c] = 0x1af4,
		[0x0d] = 0x100e,
		[0x0e] = 0x8086,
		[0x0f] = 0x3040,
		[0x21] = 0x7863,
	};
	memcpy(card->eeprom, words, sizeof(words));
	memcpy(card->eeprom, card->mac, sizeof(card->mac));
	uint16_t sum = 0;
	for (int i = 0; i < E1000_EEPROM_WORDS - 1; i++)
		sum = (uint16_t)(sum + card->eeprom[i]);
	card->eeprom[E1000_EEPROM_WORDS - 1] = (uint16_t)(CHECKSUM - sum);
	e1000_phy_reset(card);
}

void e1000_phy_reset(struct e1000 *card)
{
	static const uint16_t registers[E1000_PHY_REGISTERS] = {
		[PHY_CONTROL] = 0x1140, /* negotiates, full duplex, 1 Gbit/s */
		[1] = 0x796d,           /* has negotiated, link */
		[2] = 0x0141,           /* a Marvell 88E1011 */
		[3] = 0x0c20,
		[4] = 0x0de1,
		[5] = 0x45e1,
		[6] = 0x0001,
		[9] = 0x0e00,
		[10] = 0x3c00,
		[15] = 0x3000,
		[16] = 0x0360,
		[17] = 0xac00, /* 1 Gbit/s, full duplex, resolved, link */
		[20] = 0x0d60,
	};
	memcpy(card->phy, registers, sizeof(registers));
}

/* The bit on the wire. A chip that is not read from holds it high: "ready". */
static bool wire_out(const struct e1000 *card)
{
	if (!card->shifts_out)
		return true;
	uint32_t word = card->shift_out_at / 16 % E1000_EEPROM_WORDS, bit = card->shift_out_at % 16;
	return card->eeprom[word] >> (15 - bit) & 1;
}

uint32_t e1000_eecd_read(const struct e1000 *card)
{
	uint32_t value =
		e1000_get(card, E1000_EECD) & (EECD_CLOCK | EECD_SELECT | EECD_IN | EECD_REQUEST);
	value |= value & EECD_REQUEST ? EECD_GRANT : 0;
	return value | EECD_PRESENT | (wire_out(card) ? EECD_OUT : 0);
}

static void clock_rises(struct e1000 *card, bool in)
{
	if (card->shifts_out)
		return;
	/* What comes before the start bit does not count. */
	if (card->shifted_count == 0 && !in)
		return;
	card->shifted_in = card->shifted_in << 1 | in;
	if (++card->shifted_count < OPCODE_BITS + ADDRESS_BITS)
		return;
	if (card->shifted_in >> ADDRESS_BITS == OPCODE_READ) {
		card->shifts_out = true;
		/* The first bit comes with the next fall. */
		card->shift_out_at =
			(card->shifted_in % E1000_EEPROM_WORDS) * 16 + E1000_EEPROM_WORDS * 16 - 1;
	}
	card->shifted_in = card->shifted_count = 0;
}

void e1000_eecd_write(struct e1000 *card, uint32_t value)
{
	uint32_t before = e1000_get(card, E1000_EECD);
	e1000_put(card, E1000_EECD, value);
	if (!(value & EECD_SELECT) || !(before & EECD_SELECT)) {
		card->shifted_in = card->shifted_count = 0;
		card->shifts_out = false;
	}
	if (!(value & EECD_SELECT) || ((value ^ before) & EECD_CLOCK) == 0)
		return;
	if (value & EECD_CLOCK)
		clock_rises(card, value & EECD_IN);
	else if (card->shifts_out)
		card->shift_out_at = (card->shift_out_at + 1) % (2 * E1000_EEPROM_WORDS * 16);
}

void e1000_eerd_write(struct e1000 *card, uint32_t value)
{
	if (value & EERD_START)
		value = (value & 0xff00) | EERD_DONE |
			(uint32_t)card->eeprom[(value >> 8) % E1000_EEPROM_WORDS] << 16;
	e1000_put(card, E1000_EERD, value);
}

static void phy_write(struct e1000 *card, uint32_t which, uint16_t value)
{
	/* What says how things are is read-only. */
	if (which == 1 || which == 2 || which == 3 || which == 5 || which == 6 || which == 10 ||
		which == 15 || which == 17)
		return;
	if (which == PHY_CONTROL && (value & PHY_RESET)) {
		e1000_phy_reset(card);
		return;
	}
	card->phy[which] = which == PHY_CONTROL ? value & (uint16_t)~PHY_RESTART : value;
}

void e1000_mdic_write(struct e1000 *card, uint32_t value)
{
	uint32_t which = value >> 16 & 31, phy = value >> 21 & 31, operation = value >> 26 & 3;
	if (phy != PHY_ADDRESS)
		value |= MDIC_ERROR;
	else if (operation == MDIC_READ)
		value = (value & 0xffff0000) | card->phy[which];
	else if (operation == MDIC_WRITE)
		phy_write(card, which, (uint16_t)value);
	else
		value |= MDIC_ERROR;
	e1000_put(card, E1000_MDIC, value | MDIC_READY);
	if (value & MDIC_NOTIFY)
		e1000_interrupt(card, E1000_CAUSE_MDIO);
}
