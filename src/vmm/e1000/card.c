/* SPDX-License-Identifier: Apache-2.0 */
/*
 * card.c - what rings and wires do to the card's registers: counters and interrupt causes.
 */
#include "vmm/e1000/card.h"

void e1000_count(struct e1000 *card, enum e1000_register at, uint32_t more)
{
	uint32_t value = e1000_get(card, at);
	e1000_put(card, at, value > UINT32_MAX - more ? UINT32_MAX : value + more);
}

void e1000_count_octets(struct e1000 *card, enum e1000_register at, uint32_t more)
{
	uint32_t *low = &card->registers[at / 4];
	uint64_t value = (low[0] | (uint64_t)low[1] << 32) + more;
	low[0] = (uint32_t)value;
	low[1] = (uint32_t)(value >> 32);
}

void e1000_update(struct e1000 *card)
{
	pci_line(&card->pci, e1000_get(card, E1000_ICR) & e1000_get(card, E1000_IMS));
}

void e1000_interrupt(struct e1000 *card, uint32_t causes)
{
	e1000_put(card, E1000_ICR, e1000_get(card, E1000_ICR) | causes);
	e1000_update(card);
}
