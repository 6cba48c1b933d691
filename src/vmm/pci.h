/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pci.h - PCI bus 0: configuration space by 0xcf8 and ECAM, BARs, interrupt lines, MSI-X.
 *
 * A device embeds struct pci_device, fills its configuration with pci_*() before pci_add(), and is
 * called when its BARs are read or written. All calls hold the bus lock or run before the CPUs do.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"
#include "vmm/bus.h"
#include "vmm/state.h"
#include "vmm/wires.h"

#define PCI_CONFIG_SIZE     256
#define PCI_BARS            6
#define PCI_PLUG_FIRST      1 /* slots of devices that come and go */
#define PCI_PLUG_LAST       28
#define PCI_FIXED_NICS      29 /* the slot of up to eight cards that do not */
#define PCI_SLOTS           32
#define PCI_FUNCTIONS       8
#define PCI_MSIX_MAX        128
#define PCI_ECAM_AT         UINT64_C(0xb0000000)
#define PCI_ECAM_BYTES      UINT64_C(0x100000) /* bus 0 */
#define PCI_WINDOW_AT       UINT64_C(0xc0000000)
#define PCI_WINDOW_END      UINT64_C(0xfec00000)
#define PCI_PORT_WINDOW     0xc000u
#define PCI_LINE_GSI        16 /* the GSI of the first of the four interrupt lines */
#define PCI_LINES           4
#define PCI_VENDOR          0x00
#define PCI_COMMAND         0x04
#define PCI_COMMAND_PORTS   0x01u
#define PCI_COMMAND_MEM     0x02u
#define PCI_COMMAND_BUS     0x04u
#define PCI_COMMAND_NO_LINE 0x400u
#define PCI_STATUS          0x06
#define PCI_INTERRUPT_LINE  0x3c
#define PCI_INTERRUPT_PIN   0x3d

struct pci;
struct pci_device;

struct pci_device_calls {
	/* After a write to the configuration space outside BARs, command and MSI-X. */
	void (*config_written)(struct pci_device *device, uint32_t offset, uint32_t bytes);
	/* Before a read of it. */
	void (*config_reading)(struct pci_device *device, uint32_t offset, uint32_t bytes);
	/* After a BAR appeared at, moved to, or left (is_mapped is false) bars[index].region.at. */
	void (*bar_moved)(struct pci_device *device, int index);
};

struct pci_bar {
	struct region region;
	bool is_ports;
	bool is_mapped;
};

struct msix_entry {
	uint32_t address_low, address_high, value, control;
};
static_assert(sizeof(struct msix_entry) == 16, "layout");

struct pci_device {
	struct pci *pci;
	const struct pci_device_calls *calls; /* NULL if it needs none */
	uint8_t slot, function;
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t writable[PCI_CONFIG_SIZE]; /* bits the guest may set */
	struct pci_bar bars[PCI_BARS];
	uint8_t capability_end; /* where the next capability goes */
	uint8_t last_capability;
	bool line_level;  /* what the device wants */
	bool line_raised; /* what it counts for on its line */

	uint16_t msix_count; /* 0: none */
	uint8_t msix_capability;
	struct msix_entry *msix;
	uint64_t msix_pending[PCI_MSIX_MAX / 64];
};

struct pci {
	struct bus *bus;
	const struct wires *wires;
	struct pci_device *devices[PCI_SLOTS][PCI_FUNCTIONS];
	uint32_t line_counts[PCI_LINES];
	uint32_t address; /* 0xcf8 */
	struct region ports, ecam;
	void (*line_changed)(void *data, uint32_t line, bool level); /* line 0..3; may be NULL */
	void (*reset)(void *data);                                   /* a guest wrote 6 to 0xcf9 */
	void *data;
};

int pci_init(struct pci *pci, struct bus *bus, const struct wires *wires, struct error *e) must_use;
void pci_done(struct pci *pci);

/* Fills the identity. `class_code` is class << 16 | subclass << 8 | interface. */
void pci_identify(struct pci_device *device, uint16_t vendor, uint16_t product, uint32_t class_code,
	uint8_t revision, uint16_t sub_vendor, uint16_t sub_product);
/* A BAR of `bytes`, a power of two of at least 16. */
void pci_bar(struct pci_device *device, int index, bool is_ports, uint64_t bytes,
	const struct region_calls *calls, void *data);
/* Room for a capability of `length` bytes; returns its offset. */
uint8_t pci_capability(struct pci_device *device, uint8_t id, uint8_t length);
/* An MSI-X capability; the device passes accesses of the table and pending bits on, see below. */
void pci_msix_init(struct pci_device *device, uint16_t count, int bar, uint32_t table_offset,
	uint32_t pending_offset);
uint64_t pci_msix_table_read(struct pci_device *device, uint64_t offset, uint32_t bytes);
void pci_msix_table_write(
	struct pci_device *device, uint64_t offset, uint32_t bytes, uint64_t value);
uint64_t pci_msix_pending_read(struct pci_device *device, uint64_t offset, uint32_t bytes);

bool pci_msix_is_enabled(const struct pci_device *device);
void pci_msix_send(struct pci_device *device, uint16_t vector);
/* The level of the device's interrupt line. */
void pci_line(struct pci_device *device, bool level);

/* Puts it on the bus. -EEXIST if the place is taken. */
int pci_add(struct pci *pci, struct pci_device *device, uint8_t slot, uint8_t function,
	struct error *e) must_use;
/* Takes it off and releases what pci_*() made of it. */
void pci_remove(struct pci_device *device);
/* Gives every BAR an address, as firmware does. -ENOSPC if they do not fit. */
int pci_assign(struct pci *pci, struct error *e) must_use;
/* The line (0..3) of INTA# of a slot. */
uint32_t pci_slot_line(uint32_t slot);

void pci_reset(struct pci *pci);
void pci_save(struct pci *pci, struct state *state);
int pci_load(struct pci *pci, const struct state *state, struct error *e) must_use;
