/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chipset.c - identities, and the LPC bridge's routing of PCI interrupts to ISA lines.
 */
#include "vmm/chipset.h"

#include <string.h>

#include "base/bytes.h"
#include "vmm/power.h"

#define PIRQ_ROUTE    0x60 /* four bytes: lines A to D */
#define PIRQ_ROUTE_2  0x68 /* lines E to H, which nobody drives */
#define PIRQ_DISABLED 0x80
#define PM_BASE       0x40
#define ACPI_CONTROL  0x44

/* Computes the ISA lines anew: the sum of the PCI lines that are up and go there. */
static void update(struct chipset *chipset)
{
	uint32_t counts[16] = {};
	for (uint32_t i = 0; i < PCI_LINES; i++) {
		uint8_t route = chipset->lpc.config[PIRQ_ROUTE + i];
		if (chipset->line_levels[i] && !(route & PIRQ_DISABLED))
			counts[route & 15]++;
	}
	for (uint32_t i = 3; i < ARRAY_SIZE(counts); i++) {
		bool was = chipset->isa_counts[i], is = counts[i];
		chipset->isa_counts[i] = counts[i];
		if (was != is)
			chipset->wires->line(chipset->wires->data, i, is);
	}
}

void chipset_line(struct chipset *chipset, uint32_t line, bool level)
{
	chipset->line_levels[line] = level;
	update(chipset);
}

static void lpc_written(struct pci_device *device, uint32_t offset, uint32_t bytes)
{
	(void)offset;
	(void)bytes;
	update(container_of(device, struct chipset, lpc));
}

static const struct pci_device_calls lpc_calls = { .config_written = lpc_written };

int chipset_init(struct chipset *chipset, struct pci *pci, struct error *e)
{
	*chipset = (struct chipset){ .wires = pci->wires };
	struct pci_device *host = &chipset->host, *lpc = &chipset->lpc;
	pci_identify(host, 0x8086, 0x29c0, 0x060000, 2, 0x1af4, 0x1100);
	/* PCIEXBAR: ECAM is there and on, whatever firmware writes. */
	put_le32(host->config + 0x60, (uint32_t)PCI_ECAM_AT | 1);
	/* Memory attributes of 0xc0000 to 0xfffff: kept, and always memory. */
	memset(host->writable + 0x90, 0xff, 0x10);
	memset(host->writable + 0xd0, 0xff, 0x20);
	pci_identify(lpc, 0x8086, 0x2918, 0x060100, 2, 0x1af4, 0x1100);
	lpc->calls = &lpc_calls;
	lpc->config[0x0e] = 0x80;
	put_le32(lpc->config + PM_BASE, POWER_PORT | 1);
	lpc->config[ACPI_CONTROL] = 0x80;
	memset(lpc->config + PIRQ_ROUTE, PIRQ_DISABLED, 4);
	memset(lpc->config + PIRQ_ROUTE_2, PIRQ_DISABLED, 4);
	memset(lpc->writable + PIRQ_ROUTE, 0x8f, 4);
	memset(lpc->writable + PIRQ_ROUTE_2, 0x8f, 4);
	memset(lpc->writable + 0xf0, 0xff, 4);
	int r = pci_add(pci, host, 0, 0, e);
	if (r == 0)
		r = pci_add(pci, lpc, CHIPSET_LPC_SLOT, 0, e);
	host->config[PCI_INTERRUPT_PIN] = lpc->config[PCI_INTERRUPT_PIN] = 0;
	return r;
}
