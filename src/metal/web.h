/* SPDX-License-Identifier: Apache-2.0 */
/*
 * web.h - HTTP requests to one BMC on the event loop: libcurl, one request at a time.
 */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "base/loop.h"

#define WEB_BODY_MAX (1 * MIB)

struct web;

struct web_options {
	struct loop *loop;
	const char *base; /* "https://10.0.0.9" */
	const char *tls;  /* as struct bmc_options */
	const char *authorities;
};

struct web_answer {
	int status;       /* 0: none came, `why` says why */
	json_t *json;     /* borrowed; NULL if it is no JSON */
	const char *etag; /* "" if there was none; so the next two */
	const char *token;
	const char *location;
	const char *why;
};
typedef void web_done(void *data, const struct web_answer *answer);

struct web_request {
	const char *method;
	const char *path;
	const json_t *body;          /* NULL: none */
	const char *user, *password; /* NULL: none */
	const char *token;           /* X-Auth-Token; NULL */
	const char *etag;            /* If-Match; NULL */
};

int web_new(const struct web_options *options, struct web **ret, struct error *e) must_use;
void web_free(struct web *web);
/* `done` comes once, never before web_send() returned, and not after web_cancel(). */
void web_send(struct web *web, const struct web_request *request, web_done *done, void *data);
void web_cancel(struct web *web);
