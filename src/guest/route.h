/* SPDX-License-Identifier: Apache-2.0 */
/*
 * route.h - from a method and a path to a question of abi/guest.h. Pure.
 */
#pragma once

#include "abi/guest.h"
#include "base/error.h"

#define ROUTE_BODY_MAX 1024

enum route_what {
	ROUTE_TEXT,   /* `text` is the answer */
	ROUTE_ASK,    /* `message` has question and key */
	ROUTE_STATE,  /* likewise, once route_state() has read the body */
	ROUTE_EVENTS, /* a websocket of the types in `message.value` */
};

struct route_result {
	enum route_what what;
	const char *text;
	struct guest_message message;
};

/* `path` is still percent-encoded. Returns 0, or -errno and a sentence: -ENOENT, -EACCES, -EOPNOTSUPP, -EINVAL. */
int route_find(const char *method, const char *path, const char *types, struct route_result *ret,
	struct error *e) must_use;

/* {"state": "Ready"} or {"state": "Started"}: `value` of GUEST_SET_STATE. */
int route_state(const char *body, size_t length, uint32_t *ret, struct error *e) must_use;
