/* SPDX-License-Identifier: Apache-2.0 */
/*
 * e1000.c - what the card's registers do, and the card as a part of the machine.
 *
 * Most registers only keep what is written. A CPU's thread moves a ring's tail; the I/O thread serves it.
 */
#include "vmm/e1000/e1000.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/e1000/card.h"

#define MEMORY_BYTES  0x20000
#define PORTS_BYTES   64
#define STATUS_VALUE  0x83u /* full duplex, link, 1 Gbit/s */
#define ASSERTED      (1u << 31)
#define PBA_VALUE     0x00100030u
#define VET_VALUE     0x8100u
#define ADDRESS_VALID (1u << 31)
#define TAIL_MASK     0xffffu
#define LENGTH_MASK   0xfff80u

static void reset(struct e1000 *card)
{
	uint32_t words[2] = {};
	memset(card->registers, 0, sizeof(card->registers));
	e1000_put(card, E1000_CTRL, 0x00000201);
	e1000_put(card, E1000_PBA, PBA_VALUE);
	e1000_put(card, E1000_VET, VET_VALUE);
	memcpy(words, card->mac, sizeof(card->mac));
	card->registers[E1000_RAL / 4] = words[0];
	card->registers[E1000_RAL / 4 + 1] = words[1] | ADDRESS_VALID;
	card->shifted_in = card->shifted_count = card->shift_out_at = 0;
	card->shifts_out = false;
	card->frame_bytes = 0;
	card->frame_is_bad = card->frame_wants_segments = card->frame_wants_vlan = false;
	card->frame_sums = 0;
	card->context = (struct e1000_context){};
	e1000_phy_reset(card);
	e1000_update(card);
}

static uint32_t read_register(struct e1000 *card, uint32_t at)
{
	if (at / 4 >= E1000_REGISTERS)
		return 0;
	uint32_t value = card->registers[at / 4];
	switch (at) {
	case E1000_STATUS:
		return STATUS_VALUE;
	case E1000_EECD:
		return e1000_eecd_read(card);
	case E1000_ICR:
		value |= value & e1000_get(card, E1000_IMS) ? ASSERTED : 0;
		e1000_put(card, E1000_ICR, 0);
		e1000_update(card);
		return value;
	case E1000_ICS:
	case E1000_IMC:
		return 0;
	default:
		break;
	}
	/* Counters start anew when they are read. */
	if (at >= E1000_STATISTICS && at < E1000_STATISTICS_END)
		card->registers[at / 4] = 0;
	return value;
}

static void write_control(struct e1000 *card, uint32_t value)
{
	uint32_t before = e1000_get(card, E1000_CTRL);
	if (value & E1000_CTRL_RESET) {
		reset(card);
		return;
	}
	if (value & E1000_CTRL_PHY_RESET)
		e1000_phy_reset(card);
	e1000_put(card, E1000_CTRL, value & ~E1000_CTRL_PHY_RESET);
	if ((value & ~before) & E1000_CTRL_LINK_UP)
		e1000_interrupt(card, E1000_CAUSE_LINK);
}

static void write_register(struct e1000 *card, uint32_t at, uint32_t value)
{
	if (at / 4 >= E1000_REGISTERS)
		return;
	switch (at) {
	case E1000_CTRL:
		write_control(card, value);
		return;
	case E1000_EECD:
		e1000_eecd_write(card, value);
		return;
	case E1000_EERD:
		e1000_eerd_write(card, value);
		return;
	case E1000_MDIC:
		e1000_mdic_write(card, value);
		return;
	case E1000_STATUS:
		return;
	case E1000_ICR:
		e1000_put(card, at, e1000_get(card, E1000_ICR) & ~value);
		e1000_update(card);
		return;
	case E1000_ICS:
		e1000_interrupt(card, value & ~ASSERTED);
		return;
	case E1000_IMS:
		e1000_put(card, E1000_IMS, e1000_get(card, E1000_IMS) | (value & ~ASSERTED));
		e1000_update(card);
		return;
	case E1000_IMC:
		e1000_put(card, E1000_IMS, e1000_get(card, E1000_IMS) & ~value);
		e1000_update(card);
		return;
	case E1000_RDLEN:
	case E1000_TDLEN:
		value &= LENGTH_MASK;
		break;
	case E1000_RDBAL:
	case E1000_TDBAL:
		value &= ~15u;
		break;
	case E1000_RDH:
	case E1000_TDH:
	case E1000_RDT:
	case E1000_TDT:
		value &= TAIL_MASK;
		break;
	default:
		break;
	}
	card->registers[at / 4] = value;
	if (at == E1000_RDT || at == E1000_TDT || at == E1000_RCTL || at == E1000_TCTL)
		loop_wake(card->wake);
}

static uint64_t memory_read(void *data, uint64_t offset, uint32_t bytes)
{
	struct e1000 *card = data;
	uint32_t low = (uint32_t)offset & ~3u;
	uint64_t value = read_register(card, low);
	if (offset + bytes > low + 4)
		value |= (uint64_t)read_register(card, low + 4) << 32;
	return value >> (8 * (offset - low));
}

static void memory_write(void *data, uint64_t offset, uint32_t bytes, uint64_t value)
{
	/* Registers are written whole. */
	if (offset % 4 || bytes < 4)
		return;
	write_register(data, (uint32_t)offset, (uint32_t)value);
	if (bytes == 8)
		write_register(data, (uint32_t)offset + 4, (uint32_t)(value >> 32));
}

/* Two ports: which register, and it. */
static uint64_t ports_read(void *data, uint64_t offset, uint32_t bytes)
{
	struct e1000 *card = data;
	if (bytes != 4)
		return UINT64_MAX;
	return offset == 0    ? card->io_address
		: offset == 4 ? read_register(card, card->io_address & ~3u)
			      : 0;
}

static void ports_write(void *data, uint64_t offset, uint32_t bytes, uint64_t value)
{
	struct e1000 *card = data;
	if (bytes != 4)
		return;
	if (offset == 0)
		card->io_address = (uint32_t)value & (MEMORY_BYTES - 1);
	else if (offset == 4)
		write_register(card, card->io_address & ~3u, (uint32_t)value);
}

static const struct region_calls memory_calls = { memory_read, memory_write };
static const struct region_calls port_calls = { ports_read, ports_write };

static void watch(struct e1000 *card)
{
	bool wanted = !card->is_paused && e1000_can_receive(card);
	if (wanted != card->is_watched &&
		source_set_events(card->source, wanted ? EPOLLIN : 0) == 0)
		card->is_watched = wanted;
}

static void serve(void *data)
{
	struct e1000 *card = data;
	bus_guard(card->bus);
	if (card->is_paused)
		return;
	if (e1000_send_all(card))
		loop_wake(card->wake);
	watch(card);
}

static void readable(void *data, int fd, uint32_t events)
{
	struct e1000 *card = data;
	(void)fd;
	(void)events;
	bus_guard(card->bus);
	if (!card->is_paused)
		e1000_receive_all(card);
	watch(card);
}

static struct e1000 *card_of(struct part *part)
{
	return container_of(part, struct e1000, part);
}

static void part_reset(struct part *part)
{
	struct e1000 *card = card_of(part);
	reset(card);
	watch(card);
}

static void part_pause(struct part *part, bool is_paused)
{
	struct e1000 *card = card_of(part);
	card->is_paused = is_paused;
	watch(card);
	if (!is_paused)
		loop_wake(card->wake);
}

struct card_saved {
	uint32_t io_address, shifted_in, shifted_count, shift_out_at;
	uint32_t frame_bytes;
	uint16_t frame_vlan;
	uint8_t shifts_out, frame_is_bad, frame_wants_segments, frame_wants_vlan, frame_sums,
		reserved;
	struct e1000_context context;
	uint16_t phy[E1000_PHY_REGISTERS];
	uint32_t registers[E1000_REGISTERS]; /* by their offsets */
};
static_assert(sizeof(struct card_saved) == 28 + 16 + 64 + 0x5a00, "layout");

static const char *name_of(const struct e1000 *card, char name[STATE_NAME_SIZE])
{
	return state_name(name, "e1000", card->pci.slot * 8u + card->pci.function);
}

static void part_save(const struct part *part, struct state *state)
{
	const struct e1000 *card = (const void *)part;
	static_assert(offsetof(struct e1000, part) == 0, "layout");
	char name[STATE_NAME_SIZE];
	struct card_saved *saved = alloc(struct card_saved);
	*saved = (struct card_saved){
		.io_address = card->io_address,
		.shifted_in = card->shifted_in,
		.shifted_count = card->shifted_count,
		.shift_out_at = card->shift_out_at,
		.frame_bytes = card->frame_bytes,
		.frame_vlan = card->frame_vlan,
		.shifts_out = card->shifts_out,
		.frame_is_bad = card->frame_is_bad,
		.frame_wants_segments = card->frame_wants_segments,
		.frame_wants_vlan = card->frame_wants_vlan,
		.frame_sums = card->frame_sums,
		.context = card->context,
	};
	memcpy(saved->phy, card->phy, sizeof(saved->phy));
	memcpy(saved->registers, card->registers, sizeof(saved->registers));
	state_put(state, name_of(card, name), 1, saved, sizeof(*saved));
	free(saved);
	state_name(name, "e1000-frame", card->pci.slot * 8u + card->pci.function);
	state_put(state, name, 1, card->frame + E1000_HEADER_BYTES + 4, card->frame_bytes);
}

static int load_frame(
	struct e1000 *card, uint32_t bytes, const struct state *state, struct error *e)
{
	const uint8_t *frame;
	size_t length;
	char name[STATE_NAME_SIZE];
	state_name(name, "e1000-frame", card->pci.slot * 8u + card->pci.function);
	int r = state_find(state, name, 1, &frame, &length, e);
	if (r == 0 && (length != bytes || length > E1000_FRAME_MAX))
		r = error_set(e, -EINVAL, "saved state: %s has %zu bytes", name, length);
	if (r == 0 && length)
		memcpy(card->frame + E1000_HEADER_BYTES + 4, frame, length);
	return r;
}

static int part_load(struct part *part, const struct state *state, struct error *e)
{
	struct e1000 *card = card_of(part);
	char name[STATE_NAME_SIZE];
	cleanup(free) struct card_saved *saved = alloc(struct card_saved);
	int r = state_get(state, name_of(card, name), 1, saved, sizeof(*saved), e);
	if (r == 0)
		r = load_frame(card, saved->frame_bytes, state, e);
	if (r < 0)
		return r;
	card->io_address = saved->io_address & (MEMORY_BYTES - 1);
	card->shifted_in = saved->shifted_in & 0x1ff;
	card->shifted_count = saved->shifted_count < 9 ? saved->shifted_count : 0;
	card->shift_out_at = saved->shift_out_at % (2 * E1000_EEPROM_WORDS * 16);
	card->shifts_out = saved->shifts_out;
	card->frame_bytes = saved->frame_bytes;
	card->frame_vlan = saved->frame_vlan;
	card->frame_is_bad = saved->frame_is_bad;
	card->frame_wants_segments = saved->frame_wants_segments;
	card->frame_wants_vlan = saved->frame_wants_vlan;
	card->frame_sums = saved->frame_sums;
	card->context = saved->context;
	memcpy(card->phy, saved->phy, sizeof(card->phy));
	memcpy(card->registers, saved->registers, sizeof(card->registers));
	e1000_update(card);
	return 0;
}

static void part_free(struct part *part)
{
	struct e1000 *card = card_of(part);
	pci_remove(&card->pci);
	source_free(card->source);
	source_free(card->wake);
	if (card->tap >= 0)
		close(card->tap);
	free(card);
}

static const struct part_driver driver = { part_reset, part_pause, part_save, part_load,
	part_free };

/* Packets come without anything left to do: the card has no word for it. */
static int set_up_tap(int tap, struct error *e)
{
	int bytes = E1000_HEADER_BYTES, flags = fcntl(tap, F_GETFL);
	struct stat status;
	if (flags < 0 || fcntl(tap, F_SETFL, flags | O_NONBLOCK) < 0 || fstat(tap, &status) < 0)
		return error_errno(e, "tap");
	if (!S_ISCHR(status.st_mode))
		return 0;
	if (ioctl(tap, TUNSETVNETHDRSZ, &bytes) < 0 || ioctl(tap, TUNSETOFFLOAD, 0) < 0)
		return error_errno(e, "tap: set the size of packet headers");
	return 0;
}

int e1000_new(struct pci *pci, struct guest *guest, struct loop *loop, struct bus *bus,
	const struct e1000_options *options, struct part **ret, struct error *e)
{
	struct e1000 *card = alloc(struct e1000);
	card->part.driver = &driver;
	card->guest = guest;
	card->bus = bus;
	card->tap = -1;
	memcpy(card->mac, options->mac, sizeof(card->mac));
	e1000_serial_init(card);
	pci_identify(&card->pci, 0x8086, 0x100e, 0x020000, 3, 0x1af4, 0x1100);
	pci_bar(&card->pci, 0, false, MEMORY_BYTES, &memory_calls, card);
	pci_bar(&card->pci, 1, true, PORTS_BYTES, &port_calls, card);
	int r = loop_add_wake(loop, serve, card, &card->wake);
	if (r == 0)
		r = loop_add_fd(loop, options->tap, 0, readable, card, &card->source);
	if (r < 0)
		error_code(e, r, "watch a tap");
	if (r == 0)
		r = set_up_tap(options->tap, e);
	if (r == 0)
		r = pci_add(pci, &card->pci, options->slot, options->function, e);
	if (r < 0) {
		part_free(&card->part);
		return r;
	}
	card->pci.config[PCI_INTERRUPT_PIN] = 1;
	card->tap = options->tap;
	reset(card);
	*ret = &card->part;
	return 0;
}
