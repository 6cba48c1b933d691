/* SPDX-License-Identifier: Apache-2.0 */
/*
 * e1000.h - an Intel 82540EM network card, for guests that have no virtio driver.
 */
#pragma once

#include "base/loop.h"
#include "vmm/guest.h"
#include "vmm/part.h"
#include "vmm/pci.h"

struct e1000_options {
	/* A tap with packet headers of 12 bytes, or a datagram socket whose messages begin with them. */
	int tap;
	uint8_t mac[6];
	uint8_t slot, function;
};

/* Takes the descriptor on success. */
int e1000_new(struct pci *pci, struct guest *guest, struct loop *loop, struct bus *bus,
	const struct e1000_options *options, struct part **ret, struct error *e) must_use;
