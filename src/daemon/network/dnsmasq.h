/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dnsmasq.h - the DHCP and DNS server of one network, a dnsmasq that is watched and restarted.
 *
 * Its files are in DIR/networks/NAME: `hosts/` and `dhcp/` have one small file for each card, which it
 * reads by itself when one is written or deleted. One is in force as long as the network, also while
 * berthd restarts; the next berthd replaces it.
 */
#pragma once

#include "base/error.h"
#include "model/address.h"
#include "model/network.h"

struct service;
struct dnsmasq;

struct dnsmasq_options {
	const char *network; /* its name */
	const char *bridge;
	const struct network_config *config; /* addresses are chosen; copied as far as needed */
};

/* Ends those that an earlier daemon of this directory left. Waits for their end, some milliseconds. */
void dnsmasq_clear(struct service *service);

/*
 * Starts one that knows no host yet. If it ends it is started again, later each time. -ENOENT if there is no dnsmasq on this
 * host.
 */
int dnsmasq_start(struct service *service, const struct dnsmasq_options *options,
	struct dnsmasq **ret, struct error *e) must_use;
/* Ends it; waits for that, some milliseconds. Its files stay. */
void dnsmasq_stop(struct dnsmasq *dnsmasq);
/* Lets it run on and forgets it. */
void dnsmasq_leave(struct dnsmasq *dnsmasq);
/* Removes the files of a network. */
void dnsmasq_remove_files(struct service *service, const char *network);

/* Why one has ended, from its wait status, in words. */
#define DNSMASQ_WHY_BYTES 96
const char *dnsmasq_why(int wait_status, char buffer[DNSMASQ_WHY_BYTES]);

struct dnsmasq_host {
	const char *file; /* a name that no other card has */
	const char *mac;
	struct address ipv4, ipv6;
	const char *name; /* "web1.berth"; NULL: none */
};
/* Makes a host known, or changes it. */
int dnsmasq_put(struct dnsmasq *dnsmasq, const struct dnsmasq_host *host, struct error *e) must_use;
void dnsmasq_delete(struct dnsmasq *dnsmasq, const char *file);

/* Calls for each lease that it gave by itself. `mac` is "" if it is not known; `name`, too. */
typedef void dnsmasq_lease_call(void *data, const char *mac, const char *address, const char *name);
void dnsmasq_leases(
	struct service *service, const char *network, dnsmasq_lease_call *call, void *data);
