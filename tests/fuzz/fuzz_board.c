/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_board.c - a hostile guest at the ports and memory of the board itself: PCI configuration by both
 * ways, MSI-X, power, clock, serial, firmware configuration, flash, the ports of tests.
 *
 * The input is a program: reads, writes, memory, and what the host does meanwhile.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/loop.h"
#include "devices.h"
#include "vmm/bus.h"
#include "vmm/chipset.h"
#include "vmm/fw_cfg.h"
#include "vmm/pci.h"
#include "vmm/pflash.h"
#include "vmm/power.h"
#include "vmm/rtc.h"
#include "vmm/serial.h"
#include "vmm/test_device.h"
#include "vmm/virtio/pci.h"
#include "vmm/virtio/rng.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEMORY           (64 * KIB)
#define FLASH_BYTES      (64 * KIB)
#define STEPS_MAX        2048
#define SLOT             1
#define VOLUME_KIND      16
#define VOLUME_SIGNATURE 0x28

struct board {
	struct guest *guest;
	struct loop *loop;
	struct bus bus;
	struct wires wires;
	struct pci pci;
	struct chipset chipset;
	struct power power;
	struct rtc rtc;
	struct serial serial;
	struct fw_cfg fw_cfg;
	struct test_device test_device;
	struct pflash *flash;
	struct virtio_device *device;
	struct virtio_pci *transport;
	struct input input;
};

static void chipset_changed(void *data, uint32_t number, bool level)
{
	struct board *board = data;
	chipset_line(&board->chipset, number, level);
}

static void nothing(void *data)
{
	(void)data;
}

static void output(void *data, const uint8_t *bytes, size_t count)
{
	(void)data;
	(void)bytes;
	(void)count;
}

/* Where something answers; the last is where the guest put a BAR itself. */
static void place(struct board *board, uint64_t which, enum bus_space *ret_space, uint64_t *ret_at)
{
	static const struct {
		enum bus_space space;
		uint64_t at, mask;
	} places[] = {
		{ BUS_PORTS, 0xcf8, 7 },
		{ BUS_MEMORY, PCI_ECAM_AT, 0xffff },
		{ BUS_MEMORY, PCI_WINDOW_AT, 0x7fff },
		{ BUS_PORTS, POWER_PORT, POWER_PORT_BYTES - 1 },
		{ BUS_PORTS, 0x70, 1 },
		{ BUS_PORTS, 0x3f8, 7 },
		{ BUS_PORTS, 0x510, 15 },
		{ BUS_MEMORY, UINT64_C(0x100000000) - FLASH_BYTES, FLASH_BYTES - 1 },
		{ BUS_PORTS, 0x60, 7 },
		{ BUS_PORTS, 0x92, 0 },
		{ BUS_PORTS, 0xe0, 7 },
		{ BUS_PORTS, 0x2000, 31 },
		{ BUS_MEMORY, 0xff000000, 0xffff },
		{ BUS_PORTS, 0, 0xffff },
		{ BUS_MEMORY, 0, UINT64_MAX },
	};
	which %= ARRAY_SIZE(places);
	uint64_t mask = places[which].mask;
	*ret_space = places[which].space;
	*ret_at = places[which].at +
		(take(&board->input,
			 mask < 256             ? 1
				 : mask < 65536 ? 2
						: 8) &
			mask);
}

static void access_bus(struct board *board, uint64_t op, bool is_write)
{
	enum bus_space space;
	uint64_t at;
	uint32_t bytes = 1u << (op & 3);
	place(board, op >> 2, &space, &at);
	if (is_write)
		bus_write(&board->bus, space, at, bytes, take(&board->input, bytes));
	else
		bus_read(&board->bus, space, at, bytes);
}

/* An address and a value at 0xcf8, which the input seldom finds by itself. */
static void configure(struct board *board)
{
	uint64_t place = take(&board->input, 2);
	bus_write(&board->bus, BUS_PORTS, 0xcf8, 4, UINT64_C(0x80000000) | (place & 0xfffc));
	bus_write(&board->bus, BUS_PORTS, 0xcfc, 4, take(&board->input, 4));
	bus_read(&board->bus, BUS_PORTS, 0xcfc, 4);
}

static void write_memory(struct board *board)
{
	uint64_t at = take(&board->input, 2) % MEMORY, bytes = take(&board->input, 1) % 64;
	(void)take_to_guest(&board->input, board->guest, at, bytes);
}

/* A request of the firmware configuration device by DMA: its address is big endian. */
static void firmware_dma(struct board *board)
{
	uint64_t at = take(&board->input, 2) % MEMORY;
	bus_write(&board->bus, BUS_PORTS, 0x510, 2, take(&board->input, 1));
	bus_write(&board->bus, BUS_PORTS, 0x514, 4, 0);
	bus_write(&board->bus, BUS_PORTS, 0x518, 4, __builtin_bswap32((uint32_t)at));
}

static void save_and_load(struct board *board)
{
	struct state state = {};
	struct error e = {};
	bus_enter(&board->bus);
	power_save(&board->power, &state);
	rtc_save(&board->rtc, &state);
	serial_save(&board->serial, &state);
	fw_cfg_save(&board->fw_cfg, &state);
	board->flash->part.driver->save(&board->flash->part, &state);
	pci_save(&board->pci, &state);
	virtio_pci_save(board->transport, &state);
	must(power_load(&board->power, &state, &e));
	must(rtc_load(&board->rtc, &state, &e));
	must(serial_load(&board->serial, &state, &e));
	must(fw_cfg_load(&board->fw_cfg, &state, &e));
	must(board->flash->part.driver->load(&board->flash->part, &state, &e));
	must(pci_load(&board->pci, &state, &e));
	must(virtio_pci_load(board->transport, &state, &e));
	bus_leave(&board->bus);
	state_done(&state);
}

/* What comes from outside of the guest. */
static void host(struct board *board)
{
	uint64_t what = take(&board->input, 1);
	bus_enter(&board->bus);
	switch (what % 6) {
	case 0:
		power_button(&board->power);
		break;
	case 1:
		power_event(&board->power, what >> 3 & 7);
		break;
	case 2:
		serial_input(&board->serial, (const uint8_t *)"typed by somebody", what >> 3);
		break;
	case 3:
		board->device->config_interrupt(board->device->transport);
		break;
	case 4:
		board->device->interrupt(board->device->transport, (uint16_t)(what >> 3));
		break;
	default:
		pci_reset(&board->pci);
		power_reset(&board->power);
		serial_reset(&board->serial);
		board->flash->part.driver->reset(&board->flash->part);
		virtio_pci_reset(board->transport);
	}
	bus_leave(&board->bus);
}

static void act(struct board *board)
{
	uint64_t op = take(&board->input, 1), kind = take(&board->input, 1);
	switch (kind % 8) {
	case 0:
	case 1:
		access_bus(board, op, true);
		break;
	case 2:
		access_bus(board, op, false);
		break;
	case 3:
		configure(board);
		break;
	case 4:
		write_memory(board);
		break;
	case 5:
		firmware_dma(board);
		break;
	case 6:
		host(board);
		break;
	default:
		if (op & 1)
			save_and_load(board);
		else
			must(loop_step(board->loop, 0));
	}
}

static void add_flash(struct board *board, struct error *e)
{
	/* As much of a volume of UEFI's variables as is asked for. */
	static const uint8_t kind[] = { 0x8d, 0x2b, 0xf1, 0xff, 0x96, 0x76, 0x8b, 0x4c, 0xa9, 0x85,
		0x27, 0x47, 0x07, 0x5b, 0x4f, 0x50 };
	int fd = memfd_create("flash", MFD_CLOEXEC);
	const struct image file = { .fd = fd, .bytes = FLASH_BYTES, .name = "flash" };
	must(ftruncate(fd, FLASH_BYTES));
	if (pwrite(fd, kind, sizeof(kind), VOLUME_KIND) < 0 ||
		pwrite(fd, "_FVH", 4, VOLUME_SIGNATURE) < 0)
		abort();
	must(pflash_new(&board->bus, &file, UINT64_C(0x100000000), &board->flash, e));
}

static void build(struct board *board)
{
	struct error e = {};
	board->wires = (struct wires){ board, no_line, no_message, no_doorbell, NULL };
	bus_init(&board->bus);
	must(guest_new(&board->guest, &e));
	must(guest_add(board->guest, 0, MEMORY, GUEST_RAM, &e));
	must(loop_new(&board->loop, &e));
	must(pci_init(&board->pci, &board->bus, &board->wires, &e));
	must(chipset_init(&board->chipset, &board->pci, &e));
	must(power_init(&board->power, &board->bus, &board->wires, &e));
	must(rtc_init(&board->rtc, &board->bus, &board->wires, board->loop, &e));
	must(serial_init(&board->serial, &board->bus, &board->wires, 0x3f8, 4, &e));
	must(fw_cfg_init(&board->fw_cfg, &board->bus, board->guest, &e));
	must(test_device_init(&board->test_device, &board->bus, no_line, board));
	add_flash(board, &e);
	fw_cfg_file(&board->fw_cfg, "etc/something", "some bytes", 10);
	board->pci.line_changed = chipset_changed;
	board->pci.reset = board->power.reset = board->power.off = nothing;
	board->pci.data = board->power.data = board;
	board->serial.output = output;
	board->device = rng_new(board->guest, board->loop, &board->bus);
	must(virtio_pci_new(&board->pci, SLOT, board->device, &board->transport, &e));
	must(pci_assign(&board->pci, &e));
	bus_write(&board->bus, BUS_MEMORY, PCI_ECAM_AT + (SLOT << 15) + PCI_COMMAND, 4, 6);
}

static void take_apart(struct board *board)
{
	virtio_pci_free(board->transport);
	board->flash->part.driver->free(&board->flash->part);
	fw_cfg_done(&board->fw_cfg);
	serial_done(&board->serial);
	rtc_done(&board->rtc);
	power_done(&board->power);
	pci_done(&board->pci);
	loop_free(board->loop);
	bus_done(&board->bus);
	guest_free(board->guest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct board *board = alloc(struct board);
	board->input = (struct input){ data, size };
	build(board);
	for (int i = 0; i < STEPS_MAX && board->input.size > 0; i++)
		act(board);
	must(loop_step(board->loop, 0));
	take_apart(board);
	free(board);
	return 0;
}
