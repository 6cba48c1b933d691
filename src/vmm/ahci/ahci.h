/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ahci.h - a SATA controller (AHCI 1.3) with disks and CD drives, for guests that have no virtio driver: as an ICH9's.
 */
#pragma once

#include "base/loop.h"
#include "disk/disk.h"
#include "vmm/guest.h"
#include "vmm/part.h"
#include "vmm/pci.h"

#define AHCI_PORTS_MAX 16

struct ahci_options {
	const char *id;            /* at most 20 characters: the disk's serial number */
	bool is_cd;                /* a CD drive with the disk as its disc */
	uint64_t bytes_per_second; /* 0: no limit */
	uint64_t operations_per_second;

	/* As block_options': the disk's volume is full, or no longer. The bus lock is held. */
	void (*stalled)(void *data, bool is_stalled);
	void *data;
};

struct ahci;

/* A controller without disks at the PCI bus's slot and function. */
int ahci_new(struct pci *pci, uint8_t slot, uint8_t function, struct guest *guest,
	struct loop *loop, struct bus *bus, struct ahci **ret, struct error *e) must_use;

struct part *ahci_part(struct ahci *ahci);

/* Before the CPUs run. Takes the disk on success; *ret_port is its port. */
int ahci_add(struct ahci *ahci, struct disk *disk, const struct ahci_options *options,
	uint32_t *ret_port, struct error *e) must_use;
