/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request_turn.h - a request about an instance that somebody else holds waits for its turn.
 */
#pragma once

#include "daemon/api.h"

struct instance;

/*
 * True: the request waits, and its handler returns 0; it is called once more from the beginning when nobody
 * holds the instance, or answered with 409 when that takes too long. To be called before the handler has
 * changed anything, and before it looks at what the holder may change: If-Match, the state.
 */
bool request_waits(struct request *request, struct instance *instance);
