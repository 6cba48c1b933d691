/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redfish_session.h - one Redfish service: where its system is, who we are there, one request after another;
 * for the driver's own files.
 */
#pragma once

#include "metal/bmc.h"
#include "metal/web.h"

#define REDFISH_EVENTS_MAX 100

struct redfish;

/* A 2xx came: `json` is its body, borrowed; NULL if it had none. */
typedef void redfish_next(struct redfish *redfish, json_t *json);

struct redfish {
	struct bmc bmc;
	struct loop *loop;
	struct web *web;
	char *user, *password;
	char *wanted;                     /* which system; NULL: the first */
	char *token;                      /* of the session; NULL: none, or basic authentication */
	bool is_basic;                    /* there are no sessions */
	char *system, *manager, *chassis; /* paths; NULL until found */

	/* The question. */
	void (*begin)(struct redfish *redfish);
	void (*end)(struct redfish *redfish, int code, const struct error *e);
	union {
		bmc_done *plain;
		bmc_state_done *state;
		bmc_json_done *json;
	} done;
	void *data;
	struct bmc_state state;
	enum bmc_action action;
	struct bmc_boot boot;
	char *url;
	char *etag;            /* of the system, as it was read last */
	json_t *result, *list; /* owned */
	size_t index;
	char *drive; /* its path */
	bool is_at_manager;
	struct source *again; /* a disc is looked for again */

	/* The request. */
	const char *method;
	char *path;
	json_t *body;
	bool has_etag, has_logged_in; /* again, for this request */
	redfish_next *next;
	void (*failed)(
		struct redfish *redfish, int code, const struct error *e); /* NULL: it ends */
};

/* Begins a question: `begin` is called once the system is found. */
void redfish_begin(struct redfish *redfish, void (*begin)(struct redfish *redfish),
	void (*end)(struct redfish *redfish, int code, const struct error *e), void *data);
void redfish_end(struct redfish *redfish, int code, const struct error *e);

/* `body` is stolen. Only paths on the same server are followed: -EBADMSG ends the question else. */
void redfish_send(struct redfish *redfish, const char *method, const char *path, json_t *body,
	redfish_next *next);
static inline void redfish_get(struct redfish *redfish, const char *path, redfish_next *next)
{
	redfish_send(redfish, "GET", path, NULL, next);
}
/* A failure of the next request calls this instead of ending the question. */
void redfish_if_failed(struct redfish *redfish,
	void (*failed)(struct redfish *redfish, int code, const struct error *e));

/* The path that the link at json[field] or json[field][0] names, or NULL. */
const char *redfish_link(const json_t *json, const char *field);

/* redfish_session.c */
void redfish_cancel(struct bmc *bmc);

/* redfish_read.c */
void redfish_identity(struct bmc *bmc, bmc_json_done *done, void *data);
void redfish_sensors(struct bmc *bmc, bmc_json_done *done, void *data);
void redfish_events(struct bmc *bmc, bmc_json_done *done, void *data);

/* redfish_media.c; `url` NULL: out */
void redfish_media(struct bmc *bmc, const char *url, bmc_done *done, void *data);
void redfish_look_again(void *data);
