/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trust.h - the certificates that are trusted, and the tokens that make one so.
 */
#pragma once

#include <jansson.h>

#include "daemon/service.h"

struct operation;

int trust_start(struct service *service, struct error *e) must_use;
void trust_stop(struct service *service);

/* {fingerprint, name, type, restricted, projects, certificate}, borrowed; NULL if it is not trusted. */
const json_t *trust_find(const struct service *service, const char *fingerprint);
/* By a fingerprint or the start of one that is no other's. -ENOENT, -EINVAL. */
int trust_look(const struct service *service, const char *start, const json_t **ret,
	struct error *e) must_use;
/* All, borrowed: an object of objects by fingerprint. */
const json_t *trust_all(const struct service *service);

/* Stores a certificate, new or changed, or takes one away. */
int trust_put(struct service *service, const json_t *certificate, struct error *e) must_use;
int trust_remove(struct service *service, const char *fingerprint, struct error *e) must_use;

/*
 * A token for a client: `wanted` {name, type, restricted, projects} is what its certificate will be. It is
 * an operation until it is used, cancelled, or over (core.remote_token_expiry).
 */
int trust_new_token(struct service *service, const json_t *wanted, json_t *addresses,
	const char *fingerprint, struct operation **ret, struct error *e) must_use;
/* Uses up the token that `text` encodes; the caller owns *ret, its `wanted`. -EACCES. */
int trust_take_token(
	struct service *service, const char *text, json_t **ret, struct error *e) must_use;
