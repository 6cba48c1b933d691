/* SPDX-License-Identifier: Apache-2.0 */
/*
 * secret.h - what the store may hold but not show: passwords, sealed with a key of the daemon's own.
 *
 * The key is DIR/secret.key, made at first use, 32 random bytes that only root reads. A copy of the store
 * without it tells nothing.
 */
#pragma once

#include "daemon/service.h"

/* AES-256-GCM with a nonce of its own, as hex; `name` is what it belongs to and opens it only there. */
int secret_seal(struct service *service, const char *name, const char *plain, char **ret,
	struct error *e) must_use;
/* -EBADMSG if it was made with another key or for another name. The caller wipes and frees *ret. */
int secret_open(struct service *service, const char *name, const char *sealed, char **ret,
	struct error *e) must_use;
