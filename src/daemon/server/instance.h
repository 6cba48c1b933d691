/* SPDX-License-Identifier: Apache-2.0 */
/*
 * instance.h - an instance that is a whole server: the verbs of every instance, carried out by the
 * server's BMC and its deploy agent.
 */
#pragma once

#include "base/text.h"
#include "daemon/instance/instances.h"
#include "daemon/operation.h"
#include "daemon/server/work.h"

/* After instances and servers: puts the instances of servers into the state they are in. */
int server_instances_start(struct service *service, struct error *e) must_use;
void server_instances_stop(struct service *service);

/* Whether a server that fits is free. -EBUSY with what the others lack. */
int server_instance_check(struct instance *instance, struct error *e) must_use;

/*
 * Takes a server and puts the image (the file `path` of `bytes`, of the image `fingerprint`) on its disk. `owned` is
 * called once as soon as the server is the instance's, `done` once when the image is on it; either may be told why not.
 */
int server_instance_make(struct instance *instance, const char *path, uint64_t bytes,
	const char *fingerprint, server_done *owned, server_done *done, void *data,
	struct error *e) must_use;

/* Another image on the same server. */
int server_instance_rebuild(struct instance *instance, const char *path, const char *fingerprint,
	server_done *done, void *data, struct error *e) must_use;

/* As lifecycle.h has them. */
int server_instance_start(
	struct instance *instance, server_done *done, void *data, struct error *e) must_use;
int server_instance_stop(struct instance *instance, bool is_forced, uint64_t timeout_ns,
	server_done *done, void *data, struct error *e) must_use;
int server_instance_restart(struct instance *instance, bool is_forced, uint64_t timeout_ns,
	server_done *done, void *data, struct error *e) must_use;

/* Boots the server into a rescue system with a shell on its console, and ends that: it is stopped then. */
int server_instance_rescue(
	struct instance *instance, server_done *done, void *data, struct error *e) must_use;
int server_instance_unrescue(
	struct instance *instance, server_done *done, void *data, struct error *e) must_use;

/* The server is the instance's no more; it is being erased when this returns. */
int server_instance_release(struct instance *instance, struct error *e) must_use;

int server_instance_console(struct instance *instance, bool is_forced, struct operation **ret,
	struct error *e) must_use;
/* The descriptor of the console's log; -1 if there is none. */
int server_instance_log(const struct instance *instance);

/* Adds `"eth0": {...}` for the state's `network`. */
void server_instance_add_network(const struct instance *instance, struct text *text);
