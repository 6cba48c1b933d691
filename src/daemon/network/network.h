/* SPDX-License-Identifier: Apache-2.0 */
/*
 * network.h - the networks of this daemon: loaded, made, changed, and brought back after a restart.
 */
#pragma once

#include "daemon/network/table.h"

int networks_start(struct service *service, struct error *e) must_use;
void networks_stop(struct service *service);

int network_create(struct networks *networks, const char *project, const char *name,
	const char *description, json_t *config, struct error *e) must_use;
int network_change(struct networks *networks, struct network *network, const char *description,
	json_t *config, struct error *e) must_use;
int network_rename(struct networks *networks, struct network *network, const char *name,
	struct error *e) must_use;
int network_remove(struct networks *networks, struct network *network, struct error *e) must_use;
