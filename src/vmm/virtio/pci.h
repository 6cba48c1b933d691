/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pci.h - the virtio 1.x transport over PCI: registers, doorbells, MSI-X.
 */
#pragma once

#include "vmm/pci.h"
#include "vmm/virtio/device.h"

struct virtio_pci;

/*
 * Puts `device` into a PCI slot. On success the transport owns it. A kick reaches the device's
 * front end on the thread of device->loop.
 */
int virtio_pci_new(struct pci *pci, uint8_t slot, struct virtio_device *device,
	struct virtio_pci **ret, struct error *e) must_use;
void virtio_pci_free(struct virtio_pci *transport);
DEFINE_CLEANUP(struct virtio_pci *, virtio_pci_free);

/* The bus lock is held. */
struct virtio_device *virtio_pci_device(struct virtio_pci *transport);
void virtio_pci_reset(struct virtio_pci *transport);
void virtio_pci_save(struct virtio_pci *transport, struct state *state);
/* After pci_load(). */
int virtio_pci_load(
	struct virtio_pci *transport, const struct state *state, struct error *e) must_use;

/* Kicks are held back while the machine is paused, and come after it. */
void virtio_pci_pause(struct virtio_pci *transport, bool is_paused);
