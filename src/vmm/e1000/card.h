/* SPDX-License-Identifier: Apache-2.0 */
/*
 * card.h - the card's registers, between e1000.c (what a register does), serial.c (EEPROM and PHY),
 * transmit.c and receive.c (rings).
 */
#pragma once

#include "base/loop.h"
#include "vmm/guest.h"
#include "vmm/part.h"
#include "vmm/pci.h"

#define E1000_REGISTERS     (0x5a00u / 4)
#define E1000_FRAME_MAX     (65536 + 256)
#define E1000_HEADER_BYTES  12 /* before each packet of the tap */
#define E1000_EEPROM_WORDS  64
#define E1000_PHY_REGISTERS 32
#define E1000_BUDGET        512 /* descriptors served at once */

enum e1000_register {
	E1000_CTRL = 0x0000,
	E1000_STATUS = 0x0008,
	E1000_EECD = 0x0010,
	E1000_EERD = 0x0014,
	E1000_MDIC = 0x0020,
	E1000_VET = 0x0038,
	E1000_ICR = 0x00c0,
	E1000_ICS = 0x00c8,
	E1000_IMS = 0x00d0,
	E1000_IMC = 0x00d8,
	E1000_RCTL = 0x0100,
	E1000_TCTL = 0x0400,
	E1000_PBA = 0x1000,
	E1000_RDBAL = 0x2800,
	E1000_RDBAH = 0x2804,
	E1000_RDLEN = 0x2808,
	E1000_RDH = 0x2810,
	E1000_RDT = 0x2818,
	E1000_TDBAL = 0x3800,
	E1000_TDBAH = 0x3804,
	E1000_TDLEN = 0x3808,
	E1000_TDH = 0x3810,
	E1000_TDT = 0x3818,
	E1000_STATISTICS = 0x4000,
	E1000_STATISTICS_END = 0x4100,
	E1000_GPRC = 0x4074, /* good packets, octets: received, sent */
	E1000_GPTC = 0x4080,
	E1000_GORCL = 0x4088,
	E1000_GOTCL = 0x4090,
	E1000_MTA = 0x5200,
	E1000_RAL = 0x5400,
	E1000_VFTA = 0x5600,
};

#define E1000_CTRL_LINK_UP   (1u << 6)
#define E1000_CTRL_RESET     (1u << 26)
#define E1000_CTRL_VLAN      (1u << 30)
#define E1000_CTRL_PHY_RESET (1u << 31)
#define E1000_RCTL_ON        (1u << 1)
#define E1000_TCTL_ON        (1u << 1)

enum e1000_cause {
	E1000_CAUSE_SENT = 1u << 0,
	E1000_CAUSE_SEND_EMPTY = 1u << 1,
	E1000_CAUSE_LINK = 1u << 2,
	E1000_CAUSE_RECEIVE_LOW = 1u << 4,
	E1000_CAUSE_RECEIVED = 1u << 7,
	E1000_CAUSE_MDIO = 1u << 9,
};

/* What the last context descriptor said of checksums and segments. */
struct e1000_context {
	uint8_t ip_start, ip_offset, sum_start, sum_offset;
	uint16_t ip_end, sum_end;
	uint32_t payload;
	uint16_t mss;
	uint8_t header, command;
};
static_assert(sizeof(struct e1000_context) == 16, "layout");

struct e1000 {
	struct part part;
	struct pci_device pci;
	struct guest *guest;
	struct bus *bus;
	struct source *wake, *source;
	int tap;
	bool is_paused, is_watched;
	uint8_t mac[6];
	uint32_t io_address;
	uint32_t registers[E1000_REGISTERS];
	uint16_t eeprom[E1000_EEPROM_WORDS];
	uint16_t phy[E1000_PHY_REGISTERS];

	/* The EEPROM's wire. */
	uint32_t shifted_in, shifted_count, shift_out_at;
	bool shifts_out;

	/* A packet that is put together from descriptors. */
	struct e1000_context context;
	uint32_t frame_bytes;
	bool frame_is_bad; /* it is too long: it goes nowhere */
	bool frame_wants_segments, frame_wants_vlan;
	uint8_t frame_sums; /* what the first data descriptor asked for */
	uint16_t frame_vlan;
	uint8_t frame[E1000_HEADER_BYTES + 4 + E1000_FRAME_MAX];
	uint8_t received[E1000_HEADER_BYTES + E1000_FRAME_MAX];
};

static inline uint32_t e1000_get(const struct e1000 *card, enum e1000_register at)
{
	return card->registers[at / 4];
}

static inline void e1000_put(struct e1000 *card, enum e1000_register at, uint32_t value)
{
	card->registers[at / 4] = value;
}

/* Adds to a counter that stops at its end (32 bits), or to a pair of registers. */
void e1000_count(struct e1000 *card, enum e1000_register at, uint32_t more);
void e1000_count_octets(struct e1000 *card, enum e1000_register at, uint32_t more);
/* Adds causes. / The line, as causes and their mask say. */
void e1000_interrupt(struct e1000 *card, uint32_t causes);
void e1000_update(struct e1000 *card);

/* serial.c */
void e1000_serial_init(struct e1000 *card);
void e1000_phy_reset(struct e1000 *card);
uint32_t e1000_eecd_read(const struct e1000 *card);
void e1000_eecd_write(struct e1000 *card, uint32_t value);
void e1000_eerd_write(struct e1000 *card, uint32_t value);
void e1000_mdic_write(struct e1000 *card, uint32_t value);

/* On the I/O thread: true if there is more than was served at once. */
bool e1000_send_all(struct e1000 *card);
/* True while packets may be taken from the tap. */
bool e1000_can_receive(const struct e1000 *card);
void e1000_receive_all(struct e1000 *card);
