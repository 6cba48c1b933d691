/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forward.h - what networks forward from addresses of this host to instances.
 */
#pragma once

#include <jansson.h>

#include "daemon/network/table.h"

/* Puts into the firewall what is stored. */
int forwards_up(struct networks *networks, struct network *network, struct error *e) must_use;
/* Takes them out of the firewall and, with `is_final`, out of the store. */
void forwards_down(struct networks *networks, struct network *network, bool is_final);
void forwards_rename(
	struct networks *networks, const struct network *network, const char *new_name);
int forward_put(struct networks *networks, struct network *network, const json_t *forward,
	bool is_new, struct error *e) must_use;
int forward_remove(struct networks *networks, struct network *network, const char *listen,
	struct error *e) must_use;
int forward_get(struct networks *networks, const struct network *network, const char *listen,
	json_t **ret, struct error *e) must_use;
/* An array of what is stored. */
int forwards_list(struct networks *networks, const struct network *network, json_t **ret,
	struct error *e) must_use;
