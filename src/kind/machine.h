/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine.h - what the kinds have in common whose instances have a kernel of their own.
 */
#pragma once

#include "kind/kind.h"

/* How a machine of a kind is seen and bounded. */
struct machine_kind {
	const struct kind *kind;
	const char *noun; /* "a microVM" */
	uint64_t memory_min, memory_usual;
	bool is_virtio_only; /* it has no SATA disks and no e1000 cards */
};

/* What the monitor has room for. */
#define MACHINE_SATA_MAX  15 /* and the config drive */
#define MACHINE_E1000_MAX 8

int machine_check(
	const struct machine_kind *machine, const struct spec *spec, struct error *e) must_use;

/* The document that every machine has; new reference. */
json_t *machine_document(const struct machine_kind *machine, const struct kind_input *input);

/* A disk of it as the document has it; new reference. `volume` is what its pool says, or NULL. */
json_t *machine_disk(const struct disk_device *disk, const json_t *volume);

/* The steps with the document, which is taken over. */
void machine_steps(const struct machine_kind *machine, const struct kind_input *input,
	json_t *document, struct plan *plan);

/* The cgroup's limits of a machine, and how many CPUs it sees; for a change while it runs, too. */
void machine_limits(const struct machine_kind *machine, const struct spec *spec,
	const struct cpu_set_mask *cpus, struct plan_cgroup *ret);
uint32_t machine_cpus(const struct plan_cgroup *limits, uint32_t host_cpus);
/* The guest's own part of a machine's memory limit. */
uint64_t machine_guest_memory(const struct plan_cgroup *limits);
uint64_t machine_memory(const struct machine_kind *machine, const struct spec *spec);
