/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device.h - the disks, network cards, device nodes and proxies that an instance asked for, read and checked.
 *
 * Every text is borrowed from the JSON it was read from.
 */
#pragma once

#include <jansson.h>

#include "model/proxy.h"
#include "model/resources.h"

#define DEVICES_MAX 64

struct disk_device {
	const char *device;  /* its name in `devices` */
	const char *path;    /* in the instance; NULL of a block device */
	const char *pool;    /* NULL: `source` is the host's */
	const char *source;  /* volume or host path, NULL for the root and a tmpfs */
	uint64_t size_bytes; /* 0: not limited */
	struct disk_rate read;
	struct disk_rate write;
	bool is_root;
	bool is_tmpfs;
	bool is_sata;  /* of a machine: for a guest without virtio */
	bool is_block; /* bytes for a machine: a block volume, or the host's device or file */
	bool is_readonly;
	bool is_recursive;
	bool is_shifted;
	bool is_optional;
};

struct nic_device {
	const char *device;
	const char *name;    /* in the instance */
	const char *network; /* a managed network, or */
	const char *parent;  /* a bridge of the host */
	const char *hwaddr;  /* NULL: one is made */
	const char *ipv4;    /* NULL: one is taken; "none" */
	const char *ipv6;
	uint64_t ingress_bits; /* a second; 0: not limited */
	uint64_t egress_bits;
	uint32_t mtu;  /* 0: the network's */
	bool is_e1000; /* of a machine: for a guest without virtio */
	bool mac_filtering;
	bool ipv4_filtering;
	bool ipv6_filtering;
	bool port_isolation;
};

/* A device node of the host. */
struct node_device {
	const char *device;
	const char *path;   /* in the instance */
	const char *source; /* on the host */
	uint32_t mode, uid, gid;
	bool is_block;
	bool is_optional;
};

/* Devices of the host that are found by what they are, not by a path. */
enum match_kind { MATCH_GPU, MATCH_USB, MATCH_HOTPLUG };

struct match_device {
	const char *device;
	enum match_kind kind;
	const char *vendor, *product; /* four hex digits, or NULL: any; so all of these */
	const char *serial;
	const char *pci;      /* "0000:01:00.0" */
	const char *card;     /* "0": of /dev/dri/card0 */
	uint32_t bus, number; /* of usb; 0: any */
	uint32_t mode, uid, gid;
	bool is_required; /* else it comes and goes while the instance runs */
};

/* What listens on one side and connects on the other. */
struct proxy_device {
	const char *device;
	struct proxy_address listen, connect;
	bool is_nat;                     /* the host's packet filter does it, without a process */
	bool listens_inside;             /* in the instance, and connects on the host */
	bool has_header;                 /* HAProxy's PROXY header before the first byte */
	uint32_t mode, uid, gid;         /* of a unix socket that it listens at */
	uint32_t run_as_uid, run_as_gid; /* who connects on the host */
};

/* Room for the most there can be is taken at once: disks, nics and nodes stand apart. */
struct devices {
	struct disk_device *disks;
	size_t disk_count;
	struct nic_device *nics;
	size_t nic_count;
	struct node_device *nodes;
	size_t node_count;
	struct match_device *matches;
	size_t match_count;
	struct proxy_device *proxies;
	size_t proxy_count;
};

/* -EINVAL with "devices.NAME.KEY: ..." */
int devices_read(const json_t *map, struct devices *ret, struct error *e) must_use;
void devices_done(struct devices *devices);
static inline void devices_done_cleanup(struct devices *local)
{
	devices_done(local);
}

/* A proxy that is a process, or NULL. */
const struct proxy_device *devices_proxy(const struct devices *devices);

/* The disk at "/", or NULL. */
const struct disk_device *devices_root(const struct devices *devices);
