/* SPDX-License-Identifier: Apache-2.0 */
/*
 * instances.h - the instances of this daemon: found by name, kept in the store, with what they expand to.
 *
 * An instance is its stored object (what was asked for), its state, and while it is alive the supervisor's
 * part (what is). Pointers stay good until instance_free(); who waits for something keeps the instance
 * claimed, so that nobody removes it meanwhile.
 */
#pragma once

#include <jansson.h>

#include "daemon/service.h"
#include "kind/kind.h"
#include "model/instance.h"
#include "model/ledger.h"

#define INSTANCES_MAX 10000

/* What an instance does whose orderly end was asked for: an end by force need not wait for that. */
#define INSTANCE_STOPPING "stopping"

/* Below DIR: the directory with the socket of the guest API, that containers see as /dev/lxd. */
#define GUEST_DIR "guest"

struct cgroups;
struct live;
struct turn;

struct instance {
	struct instance *next; /* in its bucket */
	struct service *service;
	char *project;
	char *name;
	const struct kind *kind;
	json_t *object;           /* as stored: config, devices, profiles, description, ... */
	json_t *expanded_config;  /* profiles and config, joined */
	json_t *expanded_devices; /* likewise */
	json_t *snapshots;        /* array, oldest first, as stored */
	json_t *backups;          /* array, as stored */
	enum instance_state state;
	const char *doing;       /* "starting": what keeps others from changing it; NULL: nothing */
	uint32_t exports;        /* that read its snapshots just now */
	struct turn *first_turn; /* who waits until nobody holds it (turn.h) */
	struct live *live;       /* while it has a runner */
	bool is_half_made;       /* being created: others do not see it */
	uint64_t storage_bytes;  /* promised in the ledger, with the pool: */
	char *storage_pool;
	uint32_t restarts; /* by itself, since: */
	uint64_t restarts_since_ns;
	char *text; /* what lists say of it, as JSON without its state; NULL: to be made */
};

struct instances {
	struct service *service;
	struct ledger ledger;
	struct cgroups *cgroups;
	struct instance **buckets;
	size_t count;
	uint64_t *idmaps; /* which ranges of ids are taken, a bit each */
	uint32_t first_idmap;
	struct source *expiry;                     /* of snapshots */
	void (*remove)(struct instance *instance); /* an ephemeral one that has ended */
	/* What it expands to was this and is something else; NULL: nobody is told. */
	void (*changed)(struct instance *instance, const json_t *config, const json_t *devices);
	/* It runs, started or adopted; NULL: nobody is told. */
	void (*runs)(struct instance *instance);
};

/* Loads all. lifecycle.c starts and adopts them. */
int instances_start(struct service *service, struct error *e) must_use;
void instances_stop(struct service *service);

/* NULL if there is none, or one that is half made. */
struct instance *instance_find(struct service *service, const char *project, const char *name);
/* -ENOENT with a sentence. */
int instance_get(struct service *service, const char *project, const char *name,
	struct instance **ret, struct error *e) must_use;

/* Calls for each, in no order; the callee may remove that one. `project` NULL: of all. */
typedef void instances_call(void *data, struct instance *instance);
void instances_each(struct service *service, const char *project, instances_call *call, void *data);

/* The same for those that a killed daemon left half made. */
void instances_each_half_made(struct service *service, instances_call *call, void *data);

/*
 * Adds an instance that is half made; `object` is stolen. -EEXIST if the name is taken. It is not stored
 * before instance_save(). instance_free() takes it back.
 */
int instance_add(struct service *service, const char *project, const char *name,
	const struct kind *kind, json_t *object, struct instance **ret, struct error *e) must_use;
/* Out of the table, not of the store. */
void instance_free(struct instance *instance);
int instance_save(struct instance *instance, struct error *e) must_use;
int instance_set_name(struct instance *instance, const char *name, struct error *e) must_use;

/* Steals what it expands to from now on. */
void instance_set_expanded(struct instance *instance, json_t *config, json_t *devices);

/* Joins profiles and own config anew: after each change of either. -ENOENT for a missing profile. */
int instance_expand(struct instance *instance, struct error *e) must_use;
int instances_expand_of(struct service *service, const char *project, const json_t *profiles,
	const json_t *config, const json_t *devices, json_t **ret_config, json_t **ret_devices,
	struct error *e) must_use;

/* What its expanded config and devices ask for; the spec borrows from them. */
int instance_spec(const struct instance *instance, struct spec *ret, struct error *e) must_use;

/* A text of the expanded config, or NULL. */
const char *instance_config(const struct instance *instance, const char *key);
bool instance_config_is(const struct instance *instance, const char *key);
/* Sets or with NULL removes a key of its own config. */
void instance_set(struct instance *instance, const char *key, const char *value);
bool instance_is_ephemeral(const struct instance *instance);

/* -EBUSY while it is exported: for what changes its snapshots or its name. */
int instance_check_exports(const struct instance *instance, struct error *e) must_use;

/* Moves on in the table of states. */
int instance_move(struct instance *instance, enum instance_event event, struct error *e) must_use;

/* The range of ids that is its own, stored as volatile.idmap.base. -ENOSPC if all are taken. */
int instance_take_idmap(struct instance *instance, uint32_t *ret, struct error *e) must_use;
void instance_give_idmap(struct instance *instance);

/* Promises its root's size in the ledger in place of what was promised. -EBUSY. */
int instance_promise_storage(
	struct instance *instance, const char *pool, uint64_t bytes, struct error *e) must_use;

/* "instances/PROJECT/NAME" below DIR; the caller owns it. instance_open_dir() makes what is missing. */
char *instance_dir_path(const struct instance *instance) must_use;
int instance_open_dir(const struct instance *instance, int *ret, struct error *e) must_use;

/* "berth-ID/PROJECT_NAME": its control group; the caller owns it. */
char *instance_group(const struct instance *instance) must_use;

/* "/1.0/instances/c1" */
char *instance_url(const struct instance *instance) must_use;
/* {"instances": [URL], "containers": [URL]}, for an operation. */
json_t *instance_resources(const struct instance *instance) must_use;
/* A lifecycle event about it: "instance-started". Steals `context`. */
void instance_event(const struct instance *instance, const char *action, json_t *context);
