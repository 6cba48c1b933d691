/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio.h - virtio 1.2 as bytes: rings, the PCI transport's registers, feature bits, status.
 */
#pragma once

#include <stdint.h>

#define VIRTIO_PCI_VENDOR       0x1af4
#define VIRTIO_PCI_PRODUCT_BASE 0x1040

#define VIRTIO_STATUS_ACKNOWLEDGE 1
#define VIRTIO_STATUS_DRIVER      2
#define VIRTIO_STATUS_DRIVER_OK   4
#define VIRTIO_STATUS_FEATURES_OK 8
#define VIRTIO_STATUS_NEEDS_RESET 64
#define VIRTIO_STATUS_FAILED      128

#define VIRTIO_F_INDIRECT    28
#define VIRTIO_F_EVENT_INDEX 29
#define VIRTIO_F_VERSION_1   32
#define VIRTIO_F_PACKED      34

#define VIRTIO_ID_NET     1
#define VIRTIO_ID_BLOCK   2
#define VIRTIO_ID_CONSOLE 3
#define VIRTIO_ID_RNG     4
#define VIRTIO_ID_BALLOON 5
#define VIRTIO_ID_VSOCK   19
#define VIRTIO_ID_MEMORY  24

#define VIRTIO_DESC_NEXT     1
#define VIRTIO_DESC_WRITE    2 /* the device writes it */
#define VIRTIO_DESC_INDIRECT 4
#define VIRTIO_DESC_AVAIL    0x80   /* packed */
#define VIRTIO_DESC_USED     0x8000 /* packed */

struct virtio_desc {
	uint64_t at;
	uint32_t bytes;
	uint16_t flags;
	uint16_t next;
};

struct virtio_packed_desc {
	uint64_t at;
	uint32_t bytes;
	uint16_t id;
	uint16_t flags;
};

struct virtio_avail {
	uint16_t flags; /* 1: no interrupts */
	uint16_t index;
	uint16_t ring[]; /* and after it used_event */
};

struct virtio_used_entry {
	uint32_t id;
	uint32_t bytes;
};

struct virtio_used {
	uint16_t flags; /* 1: no kicks */
	uint16_t index;
	struct virtio_used_entry ring[]; /* and after it avail_event */
};

#define VIRTIO_EVENT_ENABLE  0
#define VIRTIO_EVENT_DISABLE 1
#define VIRTIO_EVENT_DESC    2
struct virtio_packed_event {
	uint16_t offset_wrap;
	uint16_t flags;
};

/* A vendor capability of the PCI transport. */
#define VIRTIO_PCI_COMMON 1
#define VIRTIO_PCI_NOTIFY 2
#define VIRTIO_PCI_ISR    3
#define VIRTIO_PCI_DEVICE 4
#define VIRTIO_PCI_CONFIG 5
struct virtio_pci_capability {
	uint8_t id; /* 9 */
	uint8_t next;
	uint8_t length;
	uint8_t type;
	uint8_t bar;
	uint8_t number;
	uint8_t reserved[2];
	uint32_t offset;
	uint32_t bytes;
};

struct virtio_pci_common {
	uint32_t device_feature_select;
	uint32_t device_feature;
	uint32_t driver_feature_select;
	uint32_t driver_feature;
	uint16_t config_vector;
	uint16_t queue_count;
	uint8_t status;
	uint8_t config_generation;
	uint16_t queue_select;
	uint16_t queue_size;
	uint16_t queue_vector;
	uint16_t queue_enable;
	uint16_t queue_notify_offset;
	uint64_t queue_desc;
	uint64_t queue_driver;
	uint64_t queue_device;
};
_Static_assert(sizeof(struct virtio_pci_common) == 56, "wire");
_Static_assert(sizeof(struct virtio_desc) == 16, "wire");
_Static_assert(sizeof(struct virtio_pci_capability) == 16, "wire");
