/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan.h - what one machine is made of: read from plan.json or from a command line (doc/plan.md).
 *
 * A file is a path, or "fd:NAME": a descriptor that the monitor was started with.
 */
#pragma once

#include <jansson.h>

#include "base/base.h"
#include "base/error.h"

#define PLAN_DISKS_MAX 16
#define PLAN_NICS_MAX  8

enum plan_console { PLAN_CONSOLE_NONE, PLAN_CONSOLE_STDIO, PLAN_CONSOLE_RUNNER };

struct plan_disk {
	const char *file;
	const char *id; /* NULL: "disk0", ... */
	bool read_only;
	bool is_sata; /* behind an AHCI controller, not virtio's */
	bool is_cd;   /* a CD drive there, with the file as its disc: read only */
	uint64_t bytes_per_second, operations_per_second; /* 0: no limit */
};

struct plan_nic {
	const char *tap; /* the name of a tap device, or "fd:NAME" */
	const char *mac; /* NULL: made from the tap's name */
	const char *id;  /* what it is unplugged by; NULL: the tap's name */
	uint32_t queues;
	bool is_e1000; /* Intel's 82540EM, not virtio's */
};

struct plan {
	const char *name;
	const char *engine; /* "auto", "kvm", "soft" */
	uint32_t cpus;
	uint64_t memory_bytes;
	uint64_t memory_max_bytes;                       /* while it runs; 0: as at its start */
	const char *kernel, *initrd, *append, *firmware; /* NULL: none */
	const char *
		shared_page; /* a file whose first page the guest sees at LAYOUT_SHARED; NULL: none */
	bool is_initrd_mapped; /* its pages are the file's, shared, and only read */
	const char *firmware_vars, *firmware_log; /* NULL: none */
	const char *restore; /* a file of suspend.h to go on from; NULL: it boots */
	const char *cache;   /* a directory for unpacked kernels; NULL: none */
	struct plan_disk disks[PLAN_DISKS_MAX];
	uint32_t disk_count;
	struct plan_nic nics[PLAN_NICS_MAX];
	uint32_t nic_count;
	uint64_t vsock_cid; /* 0: none */
	const char *vsock_dir;
	bool has_rng, has_balloon;
	enum plan_console console;
	uint32_t exit_port; /* 0: none */
	uint32_t keep_port; /* where the guest stands still for its state: abi/keep.h; 0: none */
	bool is_exit_plain; /* the byte written there is the status, not 2v+1 */
	bool exit_on_reset;
	bool has_test_device;
	bool is_jailed;
	uint32_t uid; /* what the jailed monitor becomes; 0: it stays who it is */
};

/* The texts stay `json`'s, which must outlive the plan. -EINVAL with the member's path. */
int plan_read(const json_t *json, struct plan *ret, struct error *e) must_use;

/* The texts stay argv's. -EINVAL names the option. */
int plan_read_arguments(int argc, char **argv, struct plan *ret, struct error *e) must_use;

/* The options, one a line, for --help. */
void plan_print_usage(void);
