/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request_instance.h - the instance that a request is about; while somebody else holds it, the request waits.
 */
#pragma once

#include "daemon/api.h"

struct instance;

/* What {name} of the path stands for, in the request's project. -ENOENT. */
int request_instance(struct service *service, struct request *request, struct instance **ret,
	struct error *e) must_use;

/*
 * True: the request waits, and its handler returns 0; it is called once more from the beginning when nobody
 * holds the instance, or answered with 409 when that takes too long. To be called before the handler has
 * changed anything, and before it looks at what the holder may change: If-Match, the state.
 */
bool request_waits(struct request *request, struct instance *instance);
