/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kind.h - the contract of a kind of instance: what only it can judge, and the steps that start one.
 *
 * A kind is pure: it opens nothing, asks nobody. The list of kinds stands in daemon/kinds.c.
 */
#pragma once

#include "model/plan.h"
#include "model/spec.h"

/* What a kind can do; the service refuses the rest before it asks. */
#define KIND_CAN_FREEZE   0x01u
#define KIND_CAN_EXEC     0x02u
#define KIND_CAN_CONSOLE  0x04u
#define KIND_CAN_FILES    0x08u
#define KIND_CAN_SNAPSHOT 0x10u
#define KIND_CAN_LIMITS   0x20u   /* change while it runs */
#define KIND_HAS_AGENT    0x40u   /* which is asked to end it: the runner's helper `stop` */
#define KIND_HAS_BUTTON   0x80u   /* a power button that ends it, too */
#define KIND_IS_MACHINE   0x100u  /* its root is a disk, and a monitor runs it */
#define KIND_IS_SERVER    0x200u  /* nothing of it is on this host: a server is taken for it */
#define KIND_HAS_REPORT   0x400u  /* of the system calls its program missed: abi/report.h */
#define KIND_CAN_DEVICES  0x800u  /* disks, nodes and proxies come and go while it runs */
#define KIND_OWN_PIDS     0x1000u /* its runner is the first process of a PID namespace */
#define KIND_HAS_SPARE    0x2000u /* its runner can be started before there is a plan */

/* What the host is, as far as a kind asks. */
struct kind_host {
	uint32_t cpus;
	uint64_t memory_bytes;
	const char *kernel; /* the directory of one for machines, or NULL */
};

/* What the daemon has found or made for the instance. */
struct kind_input {
	const struct spec *spec;
	const char *project;
	const char *name;
	uint32_t idmap_base; /* of 65536 ids; unused if it is privileged */
	const json_t *root;  /* `root` of the document; NULL while its volume is not made */
	const json_t *const
		*volumes; /* for each disk of the spec the `source` of its mount, or NULL */
	const json_t *
		found; /* nodes of the host for the spec's matches, as host/match.h has them; or NULL */
	const json_t *files; /* written before it starts: [{path, content, create_only}]; or NULL */
	const struct plan_link *links;  /* one for each nic of the spec */
	const char *const *nameservers; /* NULL at the end; NULL: none */
	const char *search;             /* domain, or NULL */
	const char *cgroup;             /* "berth-ID/PROJECT_NAME" */
	const char *guest_dir;    /* of the host, with the socket of the guest API; NULL: none */
	struct cpu_set_mask cpus; /* it is held on; empty: all */
	uint32_t host_cpus;
	uint64_t host_memory_bytes;
	const char *kernel;      /* for machines: a directory with boot/ and lib/modules/ */
	const char *engine;      /* for machines, or NULL: measured */
	const char *measured;    /* which engine costs unikernels less: "process", "kvm"; or NULL */
	const char *restore;     /* for machines: a file with the state to go on from, or NULL */
	const char *instance_id; /* for cloud-init: new when all is to be done again */
};

struct kind {
	const char *name;   /* as in the API: "container", "virtual-machine", ... */
	const char *runner; /* the program that runs one instance */
	const char *
		helper; /* what enters a running one (exec, files), if that is not the runner; or NULL */
	const char *image; /* the type of image that its root is made of */
	uint32_t can;      /* KIND_CAN_... */

	/* Refuses what only this kind can judge. Returns 0, or -EINVAL with the field in *e. */
	int (*check)(const struct spec *spec, const struct kind_host *host, struct error *e);

	/* What holds an instance on the host: set at its start, and while it runs. */
	void (*limits)(
		const struct spec *spec, const struct cpu_set_mask *cpus, struct plan_cgroup *ret);

	/* Appends the steps that start the instance. */
	int (*plan)(const struct kind_input *input, struct plan *plan, struct error *e);
};
