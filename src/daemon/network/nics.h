/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nics.h - the network cards of an instance: from what was asked for to what its runner makes.
 */
#pragma once

#include <jansson.h>

#include "daemon/instance/instances.h"

struct network_lease;

/* What nics_plan() found; the links' texts stand in it. Start with {}. */
struct nics {
	struct plan_link *links; /* one for each nic of the spec */
	size_t count;
	struct network_lease *leases;
	json_t *hosts;            /* array: each link's `host` */
	const char **nameservers; /* NULL at the end */
	const char *search;       /* or NULL */
};

/*
 * Leases each card, and keeps what was chosen in `volatile.DEVICE.*`; instance_save() is the caller's.
 * `is_trial`: checks only, and nothing is chosen.
 */
int nics_plan(struct instance *instance, const struct spec *spec, bool is_trial, struct nics *ret,
	struct error *e) must_use;
void nics_done(struct nics *nics);
static inline void nics_done_cleanup(struct nics *local)
{
	nics_done(local);
}

/* Filters and limits what will come out of a card. */
int nics_attach(struct instance *instance, const struct plan_link *link, struct error *e) must_use;
void nics_detach(struct instance *instance, const char *device);

/*
 * Makes the cards of a running instance fit the spec: new ones are plugged in, others taken out, the rest gets
 * its new limits and filters.
 */
int nics_update(struct instance *instance, const struct spec *spec, struct error *e) must_use;
