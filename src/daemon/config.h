/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.h - the server's own configuration, `lxc config set KEY VALUE`.
 *
 * A module adds its keys at start; a key that nobody added is refused, but for user.*.
 */
#pragma once

#include "daemon/service.h"

struct config_key {
	const char *name; /* "berth.cpu.overcommit" */
	/* -EINVAL with a text that does not name the key. NULL: any text. */
	int (*check)(const char *value, struct error *e);
	/*
	 * Called before a change is stored, which a negative errno refuses; `value` NULL if it is unset.
	 * NULL: there is nothing that can fail.
	 */
	int (*prepare)(struct service *service, const char *value, struct error *e);
	/* Called after a change is stored; `value` NULL if it is unset. NULL: nobody wants to know. */
	void (*changed)(struct service *service, const char *value);
};

int config_start(struct service *service, struct error *e) must_use;
void config_stop(struct service *service);
/* `key` is a constant that stays. */
void config_add(struct service *service, const struct config_key *key);

/* Borrowed; NULL if it is not set. */
const char *config_get(const struct service *service, const char *name);
/* All that is set, borrowed. */
const json_t *config_all(const struct service *service);
/* Replaces all: checks, stores, tells. -EINVAL `config.KEY: ...`. */
int config_set(struct service *service, const json_t *values, struct error *e) must_use;
