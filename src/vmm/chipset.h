/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chipset.h - the two PCI devices by which firmware and old kernels know the board: a Q35's host bridge
 * and an ICH9's LPC bridge, with as much of them as anybody looks at.
 */
#pragma once

#include "vmm/pci.h"

#define CHIPSET_LPC_SLOT      31u
#define CHIPSET_SATA_FUNCTION 2u /* of that slot, if there are SATA disks */

struct chipset {
	struct pci_device host, lpc;
	const struct wires *wires;
	uint32_t isa_counts[16]; /* PCI lines that raise an ISA line */
	bool line_levels[PCI_LINES];
};

int chipset_init(struct chipset *chipset, struct pci *pci, struct error *e) must_use;

/* A PCI line changed: it goes to the ISA line that the LPC bridge routes it to, if any. */
void chipset_line(struct chipset *chipset, uint32_t line, bool level);
