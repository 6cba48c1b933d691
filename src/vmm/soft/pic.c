/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pic.c - the master at 0x20 with the slave of 0xa0 on its line 2, and their ELCR at 0x4d0.
 */
#include "vmm/soft/pic.h"

void pic_reset(struct soft *soft)
{
	soft->pic[0] = (struct pic_state){ .priority = 0 };
	soft->pic[1] = (struct pic_state){ .priority = 0 };
}

/* The line that the chip would ask for, or -1. */
static int wanted(const struct pic_state *pic)
{
	uint8_t waiting = pic->irr & (uint8_t)~pic->imr;
	uint8_t blocking = pic->special_mask ? pic->isr & (uint8_t)~pic->imr : pic->isr;
	for (int i = 0; i < 8; i++) {
		int line = (i + pic->priority) & 7;
		if (waiting >> line & 1)
			return line;
		if (blocking >> line & 1)
			return -1;
	}
	return -1;
}

static void set_line(struct pic_state *pic, uint32_t line, bool level)
{
	uint8_t bit = (uint8_t)(1u << line);
	bool is_edge = !(pic->elcr & bit);
	if (level) {
		if (!is_edge || !(pic->lines & bit))
			pic->irr |= bit;
		pic->lines |= bit;
	} else {
		pic->lines &= (uint8_t)~bit;
		if (!is_edge)
			pic->irr &= (uint8_t)~bit;
	}
}

static void update(struct soft *soft)
{
	set_line(&soft->pic[0], 2, wanted(&soft->pic[1]) >= 0);
	if (wanted(&soft->pic[0]) >= 0)
		for (uint32_t i = 0; i < soft->cpus.count; i++)
			cpu_wake(soft->cpu[i], ATTENTION_IRQ);
}

void pic_line(struct soft *soft, uint32_t line, bool level)
{
	if (line == 2)
		return;
	set_line(&soft->pic[line >> 3 & 1], line & 7, level);
	update(soft);
}

bool pic_output(const struct soft *soft)
{
	return wanted(&soft->pic[0]) >= 0;
}

static void accept(struct pic_state *pic, int line)
{
	uint8_t bit = (uint8_t)(1u << line);
	if (pic->auto_eoi) {
		if (pic->rotate)
			pic->priority = (uint8_t)((line + 1) & 7);
	} else {
		pic->isr |= bit;
	}
	if (!(pic->elcr & bit))
		pic->irr &= (uint8_t)~bit;
}

uint8_t pic_accept(struct soft *soft)
{
	int line = wanted(&soft->pic[0]);
	if (line < 0) /* it went away: spurious */
		return soft->pic[0].vector_base | 7;
	uint8_t vector = (uint8_t)(soft->pic[0].vector_base | line);
	if (line == 2) {
		int second = wanted(&soft->pic[1]);
		vector = (uint8_t)(soft->pic[1].vector_base | (second < 0 ? 7 : second));
		if (second >= 0)
			accept(&soft->pic[1], second);
	}
	accept(&soft->pic[0], line);
	update(soft);
	return vector;
}

static int highest_in_service(const struct pic_state *pic)
{
	for (int i = 0; i < 8; i++)
		if (pic->isr >> ((i + pic->priority) & 7) & 1)
			return (i + pic->priority) & 7;
	return -1;
}

/* OCW2: end of interrupt, rotation. */
static void command(struct pic_state *pic, uint8_t value)
{
	int line = value & 7;
	switch (value >> 5) {
	case 0:
	case 4:
		pic->rotate = value >> 7;
		break;
	case 1:
	case 5:
		line = highest_in_service(pic);
		if (line < 0)
			break;
		pic->isr &= (uint8_t) ~(1u << line);
		if (value & 0x80)
			pic->priority = (uint8_t)((line + 1) & 7);
		break;
	case 3:
	case 7:
		pic->isr &= (uint8_t) ~(1u << line);
		if (value & 0x80)
			pic->priority = (uint8_t)((line + 1) & 7);
		break;
	case 6:
		pic->priority = (uint8_t)((line + 1) & 7);
		break;
	default:
		break;
	}
}

static void write_command(struct pic_state *pic, uint8_t value)
{
	if (value & 0x10) {
		uint8_t elcr = pic->elcr, lines = pic->lines;
		*pic = (struct pic_state){
			.elcr = elcr, .lines = lines, .init_step = 1, .has_icw4 = value & 1
		};
		return;
	}
	if (!(value & 0x08)) {
		command(pic, value);
		return;
	}
	if (value & 0x04)
		pic->poll = 1;
	if (value & 0x02)
		pic->read_isr = value & 1;
	if (value & 0x40)
		pic->special_mask = value >> 5 & 1;
}

static void write_data(struct pic_state *pic, uint8_t value)
{
	switch (pic->init_step) {
	case 1:
		pic->vector_base = value & 0xf8;
		pic->init_step = 2;
		break;
	case 2:
		pic->init_step = pic->has_icw4 ? 3 : 0;
		break;
	case 3:
		pic->auto_eoi = value >> 1 & 1;
		pic->fully_nested = value >> 4 & 1;
		pic->init_step = 0;
		break;
	default:
		pic->imr = value;
		break;
	}
}

void pic_write(struct soft *soft, uint32_t port, uint8_t value)
{
	struct pic_state *pic = &soft->pic[port >> 7 & 1];
	if (port >= 0x4d0)
		soft->pic[port & 1].elcr = value & (port & 1 ? 0xde : 0xf8);
	else if (port & 1)
		write_data(pic, value);
	else
		write_command(pic, value);
	update(soft);
}

static uint8_t read_poll(struct pic_state *pic)
{
	int line = wanted(pic);
	pic->poll = 0;
	if (line < 0)
		return 0;
	accept(pic, line);
	return (uint8_t)(0x80 | line);
}

uint8_t pic_read(struct soft *soft, uint32_t port)
{
	if (port >= 0x4d0)
		return soft->pic[port & 1].elcr;
	struct pic_state *pic = &soft->pic[port >> 7 & 1];
	if (pic->poll) {
		uint8_t value = read_poll(pic);
		update(soft);
		return value;
	}
	if (port & 1)
		return pic->imr;
	return pic->read_isr ? pic->isr : pic->irr;
}
