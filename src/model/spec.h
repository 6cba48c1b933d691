/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spec.h - what was asked for: the expanded `config` and `devices` of an instance, read and checked.
 *
 * Both are maps of strings with LXD's keys. Whatever is unknown, wrong or not to be had is refused with
 * -EINVAL and the path of the field ("config.limits.cpu: ..."). A spec borrows every text from the JSON it
 * was read from.
 */
#pragma once

#include <jansson.h>

#include "model/device.h"
#include "model/resources.h"

#define SPEC_ENVIRONMENT_MAX 512
#define SPEC_RLIMITS_MAX     16
#define SPEC_SYSCTLS_MAX     64

struct spec_pair {
	const char *name;
	const char *value;
};

struct spec_rlimit {
	const char *name; /* "nofile" */
	uint64_t soft;    /* UINT64_MAX: unlimited */
	uint64_t hard;
};

struct spec {
	struct cpu_limit cpu;
	struct cpu_allowance cpu_allowance;
	uint32_t cpu_priority;  /* 0 to 10 */
	uint32_t disk_priority; /* 0 to 10 */
	uint64_t memory_bytes;
	bool is_memory_soft;
	bool is_swap_off;
	uint64_t processes;

	bool is_privileged;
	bool is_nesting;
	bool is_protected;     /* from deletion */
	bool is_guest_api_off; /* no /dev/lxd/sock */
	uint64_t idmap_base;   /* 0: one is taken */
	uint64_t idmap_size;

	bool autostart;
	bool is_autostart_set;
	bool autorestart;
	bool is_agent_wanted; /* of a server, where it says anything: without a word it is */
	int64_t autostart_priority;
	uint64_t autostart_delay_ns;
	uint64_t shutdown_timeout_ns;

	const char *entrypoint; /* an application's command line; NULL: a system's init */
	const char *cwd;
	const char *user; /* "uid:gid" or names; NULL: `uid` and `gid` */
	uint32_t uid, gid;
	const char *stop_signal;

	const char *cloud_user_data, *cloud_vendor_data, *cloud_network;
	const char *user_meta_data; /* `user.meta-data`: more lines of cloud-init's meta-data */
	const char *boot_mode;      /* NULL: as the host can */
	bool is_secureboot, is_csm;
	bool is_stateful; /* asked of LXD's machines before their state is kept; ours need no leave */
	const char *engine; /* what runs it: auto, kvm, soft, process; NULL: as the server says */
	const char *snapshots_pattern, *snapshots_expiry;

	struct spec_pair *environment;
	size_t environment_count;
	struct spec_pair sysctls[SPEC_SYSCTLS_MAX];
	size_t sysctl_count;
	struct spec_rlimit rlimits[SPEC_RLIMITS_MAX];
	size_t rlimit_count;

	struct devices devices;
};

void spec_done(struct spec *spec);
static inline void spec_done_cleanup(struct spec *local)
{
	spec_done(local);
}

/* `config` and `devices` may be NULL. `host_memory_bytes` is what percentages are of. */
int spec_read(const json_t *config, const json_t *devices, uint64_t host_memory_bytes,
	struct spec *ret, struct error *e) must_use;

/* The same checks, of a profile or of what an instance has of its own. */
int spec_check(const json_t *config, const json_t *devices, struct error *e) must_use;

/* What the ledger counts. */
struct resources spec_resources(const struct spec *spec);

/* -EINVAL with "name: ..." for what is no name of an instance (a host name) or of a snapshot. */
int spec_check_name(const char *name, struct error *e) must_use;
int spec_check_snapshot_name(const char *name, struct error *e) must_use;
