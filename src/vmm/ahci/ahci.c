/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ahci.c - the controller: its global registers, its interrupt line, and its ports.
 */
#include "vmm/ahci/ahci.h"

#include <errno.h>
#include <string.h>

#include "vmm/ahci/port.h"

#define BAR               5
#define BAR_BYTES         0x1000
#define PORTS_AT          0x100
#define PORT_BYTES        0x80
#define CAPABILITIES      0x00
#define CONTROL           0x04
#define INTERRUPT         0x08
#define IMPLEMENTED       0x0c
#define VERSION           0x10
#define CAP_SLOTS         (31u << 8)
#define CAP_AHCI          (1u << 18) /* there is no legacy interface */
#define CAP_SPEED         (2u << 20)
#define CAP_OVERRIDE      (1u << 24)
#define CAP_QUEUE         (1u << 30)
#define CAP_64            (1u << 31)
#define CONTROL_RESET     (1u << 0)
#define CONTROL_INTERRUPT (1u << 1)
#define CONTROL_AHCI      (1u << 31)

struct ahci {
	struct part part;
	struct ahci_owner owner;
	struct pci_device pci;
	struct loop *loop;
	struct bus *bus;
	struct source *waker;
	bool is_paused;
	uint32_t control, interrupt;
	uint32_t port_count;
	struct ahci_port ports[AHCI_PORTS_MAX];
};

static void update(struct ahci *ahci)
{
	for (uint32_t i = 0; i < ahci->port_count; i++)
		if (ahci->ports[i].is & ahci->ports[i].ie)
			ahci->interrupt |= 1u << i;
	pci_line(&ahci->pci, (ahci->control & CONTROL_INTERRUPT) && ahci->interrupt);
}

static void wake(struct ahci *ahci)
{
	loop_wake(ahci->waker);
}

static void reset_all(struct ahci *ahci)
{
	for (uint32_t i = 0; i < ahci->port_count; i++)
		ahci_port_reset(&ahci->ports[i]);
	ahci->control = CONTROL_AHCI;
	ahci->interrupt = 0;
	update(ahci);
}

static uint32_t read_global(const struct ahci *ahci, uint32_t offset)
{
	uint32_t count = ahci->port_count ? ahci->port_count : 1;
	switch (offset) {
	case CAPABILITIES:
		return CAP_SLOTS | CAP_AHCI | CAP_SPEED | CAP_OVERRIDE | CAP_QUEUE | CAP_64 |
			(count - 1);
	case CONTROL:
		return ahci->control;
	case INTERRUPT:
		return ahci->interrupt;
	case IMPLEMENTED:
		return (uint32_t)((UINT64_C(1) << count) - 1);
	case VERSION:
		return 0x00010300;
	default:
		return 0;
	}
}

static uint32_t read_register(const struct ahci *ahci, uint32_t offset)
{
	if (offset < PORTS_AT)
		return read_global(ahci, offset);
	uint32_t port = (offset - PORTS_AT) / PORT_BYTES;
	return port < ahci->port_count
		? ahci_port_read(&ahci->ports[port], (offset - PORTS_AT) % PORT_BYTES)
		: 0;
}

static void write_register(struct ahci *ahci, uint32_t offset, uint32_t value)
{
	if (offset >= PORTS_AT) {
		uint32_t port = (offset - PORTS_AT) / PORT_BYTES;
		if (port < ahci->port_count)
			ahci_port_write(
				&ahci->ports[port], (offset - PORTS_AT) % PORT_BYTES, value);
	} else if (offset == CONTROL && (value & CONTROL_RESET)) {
		reset_all(ahci);
	} else if (offset == CONTROL) {
		ahci->control = CONTROL_AHCI | (value & CONTROL_INTERRUPT);
		update(ahci);
	} else if (offset == INTERRUPT) {
		ahci->interrupt &= ~value;
		update(ahci);
	}
}

static uint64_t bar_read(void *data, uint64_t offset, uint32_t bytes)
{
	const struct ahci *ahci = data;
	uint32_t low = (uint32_t)offset & ~3u;
	uint64_t value = read_register(ahci, low);
	if (offset + bytes > low + 4)
		value |= (uint64_t)read_register(ahci, low + 4) << 32;
	return value >> (8 * (offset - low));
}

static void bar_write(void *data, uint64_t offset, uint32_t bytes, uint64_t value)
{
	/* Registers are written whole. */
	if (offset % 4 || bytes < 4)
		return;
	write_register(data, (uint32_t)offset, (uint32_t)value);
	if (bytes == 8)
		write_register(data, (uint32_t)offset + 4, (uint32_t)(value >> 32));
}

static const struct region_calls bar_calls = { bar_read, bar_write };

static void serve(void *data)
{
	struct ahci *ahci = data;
	bus_guard(ahci->bus);
	for (uint32_t i = 0; !ahci->is_paused && i < ahci->port_count; i++)
		ahci_port_serve(&ahci->ports[i]);
}

static void ended(void *data, int fd, uint32_t events)
{
	struct ahci_port *port = data;
	(void)fd;
	(void)events;
	bus_guard(port->ahci->bus);
	disk_complete(port->disk);
	if (!port->ahci->is_paused)
		ahci_port_serve(port);
}

static void timer_fired(void *data)
{
	struct ahci_port *port = data;
	bus_guard(port->ahci->bus);
	struct ahci_command *held = TAKE_PTR(port->held);
	if (held && port->stalled)
		port->stalled(port->data, false);
	while (held) {
		struct ahci_command *command = held;
		held = command->next;
		if (disk_submit(port->disk, &command->request) < 0)
			ahci_command_end(command, ATA_BROKEN);
	}
	disk_start(port->disk);
	if (!port->ahci->is_paused)
		ahci_port_serve(port);
}

static struct ahci *ahci_of(struct part *part)
{
	return container_of(part, struct ahci, part);
}

static void part_reset(struct part *part)
{
	reset_all(ahci_of(part));
}

static void part_pause(struct part *part, bool is_paused)
{
	struct ahci *ahci = ahci_of(part);
	ahci->is_paused = is_paused;
	for (uint32_t i = 0; is_paused && i < ahci->port_count; i++)
		ahci_port_settle(&ahci->ports[i]);
	if (!is_paused)
		loop_wake(ahci->waker);
}

struct ahci_saved {
	uint32_t control, interrupt, ports, reserved;
};

static void part_save(const struct part *part, struct state *state)
{
	const struct ahci *ahci = (const void *)part;
	static_assert(offsetof(struct ahci, part) == 0, "layout");
	const struct ahci_saved saved = { ahci->control, ahci->interrupt, ahci->port_count, 0 };
	state_put(state, "ahci", 1, &saved, sizeof(saved));
	for (uint32_t i = 0; i < ahci->port_count; i++)
		ahci_port_save(&ahci->ports[i], state);
}

static int part_load(struct part *part, const struct state *state, struct error *e)
{
	struct ahci *ahci = ahci_of(part);
	struct ahci_saved saved;
	int r = state_get(state, "ahci", 1, &saved, sizeof(saved), e);
	if (r == 0 && saved.ports != ahci->port_count)
		r = error_set(e, -EINVAL, "saved state: ahci had %u disks, this one has %u",
			saved.ports, ahci->port_count);
	if (r < 0)
		return r;
	for (uint32_t i = 0; r == 0 && i < ahci->port_count; i++)
		r = ahci_port_load(&ahci->ports[i], state, e);
	ahci->control = CONTROL_AHCI | (saved.control & CONTROL_INTERRUPT);
	ahci->interrupt = saved.interrupt;
	update(ahci);
	return r;
}

static void part_free(struct part *part)
{
	struct ahci *ahci = ahci_of(part);
	for (uint32_t i = 0; i < ahci->port_count; i++)
		ahci_port_done(&ahci->ports[i]);
	pci_remove(&ahci->pci);
	source_free(ahci->waker);
	free(ahci);
}

static const struct part_driver driver = { part_reset, part_pause, part_save, part_load,
	part_free };

int ahci_new(struct pci *pci, uint8_t slot, uint8_t function, struct guest *guest,
	struct loop *loop, struct bus *bus, struct ahci **ret, struct error *e)
{
	struct ahci *ahci = alloc(struct ahci);
	ahci->part.driver = &driver;
	ahci->owner = (struct ahci_owner){ guest, update, wake };
	ahci->loop = loop;
	ahci->bus = bus;
	ahci->control = CONTROL_AHCI;
	pci_identify(&ahci->pci, 0x8086, 0x2922, 0x010601, 2, 0x1af4, 0x1100);
	pci_bar(&ahci->pci, BAR, false, BAR_BYTES, &bar_calls, ahci);
	int r = loop_add_wake(loop, serve, ahci, &ahci->waker);
	if (r < 0)
		error_code(e, r, "watch the SATA controller");
	if (r == 0)
		r = pci_add(pci, &ahci->pci, slot, function, e);
	if (r < 0) {
		source_free(ahci->waker);
		free(ahci);
		return r;
	}
	ahci->pci.config[PCI_INTERRUPT_PIN] = 1;
	*ret = ahci;
	return 0;
}

struct part *ahci_part(struct ahci *ahci)
{
	return &ahci->part;
}

int ahci_add(struct ahci *ahci, struct disk *disk, const struct ahci_options *options,
	uint32_t *ret_port, struct error *e)
{
	if (ahci->port_count == AHCI_PORTS_MAX)
		return error_set(e, -ENOSPC, "more than %d SATA disks", AHCI_PORTS_MAX);
	struct ahci_port *port = &ahci->ports[ahci->port_count];
	ahci_port_init(port, ahci, &ahci->owner, options->is_cd ? &atapi_calls : &ata_calls,
		ahci->port_count);
	int r = loop_add_fd(ahci->loop, disk->event_fd, EPOLLIN, ended, port, &port->ended);
	if (r < 0)
		return error_code(e, r, "watch a disk");
	port->timer = loop_add_timer(ahci->loop, timer_fired, port);
	port->disk = disk;
	port->stalled = options->stalled;
	port->data = options->data;
	if (options->id)
		memcpy(port->serial, options->id, strnlen(options->id, sizeof(port->serial) - 1));
	throttle_init(&port->bytes, options->bytes_per_second, loop_now());
	throttle_init(&port->operations, options->operations_per_second, loop_now());
	*ret_port = ahci->port_count++;
	ahci_port_reset(port);
	return 0;
}
