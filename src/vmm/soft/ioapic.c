/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ioapic.c - 24 redirection entries behind an index and a data register.
 */
#include "vmm/soft/ioapic.h"

#include "vmm/soft/apic.h"

#define REDIRECT_MASKED  (UINT64_C(1) << 16)
#define REDIRECT_LEVEL   (UINT64_C(1) << 15)
#define REDIRECT_IRR     (UINT64_C(1) << 14)
#define REDIRECT_STATUS  (UINT64_C(1) << 12)
#define REDIRECT_LOGICAL (UINT64_C(1) << 11)

void ioapic_reset(struct soft *soft)
{
	soft->ioapic = (struct ioapic_state){};
	for (int i = 0; i < IRQ_LINES; i++)
		soft->ioapic.redirect[i] = REDIRECT_MASKED;
}

static void send(struct soft *soft, uint32_t line)
{
	uint64_t *entry = &soft->ioapic.redirect[line];
	if (*entry & REDIRECT_MASKED)
		return;
	if (*entry & REDIRECT_LEVEL) {
		if (*entry & REDIRECT_IRR)
			return;
		*entry |= REDIRECT_IRR;
	}
	apic_send(soft,
		&(struct apic_message){
			.destination = (uint32_t)(*entry >> 56),
			.is_logical = *entry & REDIRECT_LOGICAL,
			.is_level = *entry & REDIRECT_LEVEL,
			.vector = (uint8_t)*entry,
			.mode = *entry >> 8 & 7,
		});
}

void ioapic_line(struct soft *soft, uint32_t line, bool level)
{
	uint32_t bit = 1u << line;
	bool was = soft->ioapic.lines & bit;
	soft->ioapic.lines = level ? soft->ioapic.lines | bit : soft->ioapic.lines & ~bit;
	bool is_level = soft->ioapic.redirect[line] & REDIRECT_LEVEL;
	if (level && (is_level || !was))
		send(soft, line);
}

void ioapic_ended(struct soft *soft, uint32_t vector)
{
	pthread_mutex_lock(&soft->lock);
	for (uint32_t i = 0; i < IRQ_LINES; i++) {
		uint64_t *entry = &soft->ioapic.redirect[i];
		if ((*entry & 0xff) != vector || !(*entry & REDIRECT_LEVEL))
			continue;
		*entry &= ~REDIRECT_IRR;
		if (soft->ioapic.lines >> i & 1)
			send(soft, i);
	}
	pthread_mutex_unlock(&soft->lock);
}

uint32_t ioapic_read(struct soft *soft, uint32_t offset)
{
	uint32_t value = 0;
	pthread_mutex_lock(&soft->lock);
	uint32_t select = soft->ioapic.select;
	if (offset == 0)
		value = select;
	else if (offset != 0x10)
		value = 0;
	else if (select == 0 || select == 2)
		value = soft->ioapic.id << 24;
	else if (select == 1)
		value = (IRQ_LINES - 1) << 16 | 0x20;
	else if (select >= 0x10 && select < 0x10 + 2 * IRQ_LINES)
		value = (uint32_t)(soft->ioapic.redirect[(select - 0x10) / 2] >>
			(select & 1 ? 32 : 0));
	pthread_mutex_unlock(&soft->lock);
	return value;
}

static void write_redirect(struct soft *soft, uint32_t line, bool is_high, uint32_t value)
{
	uint64_t *entry = &soft->ioapic.redirect[line];
	uint64_t kept = REDIRECT_IRR | REDIRECT_STATUS;
	if (is_high)
		*entry = (*entry & 0xffffffff) | (uint64_t)value << 32;
	else
		*entry = (*entry & (UINT64_C(0xffffffff) << 32 | kept)) |
			(value & ~kept & UINT64_C(0x1ffff));
	if (!(*entry & REDIRECT_LEVEL))
		*entry &= ~REDIRECT_IRR;
	else if (soft->ioapic.lines >> line & 1)
		send(soft, line);
}

void ioapic_write(struct soft *soft, uint32_t offset, uint32_t value)
{
	if (offset == 0x40) {
		ioapic_ended(soft, value & 0xff);
		return;
	}
	pthread_mutex_lock(&soft->lock);
	uint32_t select = soft->ioapic.select;
	if (offset == 0)
		soft->ioapic.select = value & 0xff;
	else if (offset == 0x10 && select == 0)
		soft->ioapic.id = value >> 24 & 15;
	else if (offset == 0x10 && select >= 0x10 && select < 0x10 + 2 * IRQ_LINES)
		write_redirect(soft, (select - 0x10) / 2, select & 1, value);
	pthread_mutex_unlock(&soft->lock);
}
