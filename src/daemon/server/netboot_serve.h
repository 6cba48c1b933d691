/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netboot_serve.h - what servers ask over HTTP on the provisioning network: what to boot, the kernel, the image,
 * and what the deploy agent says.
 *
 * Nothing of the daemon's API is there. Who asks is known by the address that its card was given, and by the
 * token of its start.
 */
#pragma once

#include "daemon/service.h"

/* Starts the servers' work once the provisioning network's config has been looked at. */
int netboot_serve_start(struct service *service, struct error *e) must_use;
void netboot_serve_stop(struct service *service);
