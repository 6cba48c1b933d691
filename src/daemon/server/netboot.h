/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netboot.h - the provisioning network: a dnsmasq of its own (DHCP, TFTP, router advertisements), the kernel
 * and the initial file system that servers boot, and where they call.
 *
 * It is on once `berth.metal.interface` names an interface with an IPv4 address; everything of it is in
 * DIR/metal. Its dnsmasq ends with the daemon: leases of servers do not change, so nobody misses it.
 */
#pragma once

#include <netinet/in.h>

#include "daemon/service.h"

struct netboot {
	struct service *service;
	bool is_on;
	struct error why; /* it is not, though it should be */
	char *interface;
	struct in_addr address;
	uint32_t prefix;
	uint16_t port;
	char *kernel;    /* path of the kernel's file */
	int initial;     /* the initial file system */
	struct job *job; /* that makes it; NULL: none */
	uint64_t initial_bytes;
	bool has_discovery;
	bool has_dhcp;                            /* it serves DHCP and TFTP */
	bool is_warm;                             /* servers wait with the agent running */
	void (*changed)(struct service *service); /* it went on or off */
	struct netboot_dhcp *dhcp;
	struct netboot_serve *serve; /* netboot_serve.c's own */
	bool is_waiting;             /* a change of config is to be carried out */
};

int netboot_start(struct service *service, struct error *e) must_use;
void netboot_stop(struct service *service);

/* -ENOTCONN with a sentence if it is off. */
int netboot_check(const struct service *service, struct error *e) must_use;

/* "http://10.77.0.1:8470"; the caller owns it. */
char *netboot_url(const struct service *service) must_use;
/*
 * The kernel's arguments for the agent: whom to call with which token, and its card and address. The caller owns it.
 */
char *netboot_arguments(const struct service *service, const char *token, const char *mac,
	const char *address) must_use;
/* The n-th address that is given to known servers, with "/PREFIX"; the caller owns it, NULL if there is none. */
char *netboot_address(const struct service *service, uint32_t n) must_use;

/* The card has that address from now on ("10.77.0.10/24"). */
int netboot_host_put(struct service *service, const char *name, const char *mac,
	const char *address, struct error *e) must_use;
void netboot_host_delete(struct service *service, const char *name);
