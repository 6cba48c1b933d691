/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service.h - what berthd is: its loop, its directory, its store, and where each module keeps its state.
 *
 * One struct service a process, made by main, handed down. A module (instances, images, networks, ...)
 * has one pointer here to a struct of its own and one line in modules.c with its start and stop.
 */
#pragma once

#include <jansson.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/loop.h"
#include "host/jail.h"
#include "store/store.h"

#define SERVICE_ID_SIZE 9

struct service {
	struct loop *loop;
	struct store *store;
	char id[SERVICE_ID_SIZE]; /* 8 hex digits, made at first start: part of host-wide names */
	char *dir_path;           /* absolute */
	int dir;                  /* DIR */
	int tmp_dir;              /* DIR/tmp, emptied at start */
	struct jail_rooms rooms;  /* those of all machines' runners; or none */
	char *libexec;            /* where our other programs are */
	uint64_t started_ns;      /* CLOCK_REALTIME */
	bool has_test_hooks;
	bool is_stopping;

	/* The modules' own. */
	struct events *events;
	struct operations *operations;
	struct metrics *metrics;
	struct used_by *used_by;
	struct config *config;
	struct engine *engine;
	struct projects *projects;
	struct profiles *profiles;
	struct spares *spares;
	struct instances *instances;
	struct images *images;
	struct storage *storage;
	struct jobs *jobs;
	struct networks *networks;
	struct netboot *netboot;
	struct servers *servers;
	struct trust *trust;
	struct remote *remote;
	struct guest *guest;
	struct watch *container_watch;
};

struct service_options {
	const char *dir_path;
	const char *store; /* "sqlite" */
	bool has_test_hooks;
};

/*
 * Makes what is missing of the directory, takes its lock (-EBUSY if another berthd has it), opens the
 * store.
 */
int service_open(struct loop *loop, const struct service_options *options, struct service **ret,
	struct error *e) must_use;
void service_close(struct service *service);
DEFINE_CLEANUP(struct service *, service_close);

/*
 * The path of one of our programs ("berth-container"), checked to exist: in BERTH_LIBEXEC, beside berthd,
 * or where the build tree has it. The caller owns *ret.
 */
int service_program(
	const struct service *service, const char *name, char **ret, struct error *e) must_use;

/*
 * Who uses an object? A module that refers to others adds a call that appends the URLs of its objects
 * which use the `kind` ("profile", "network", "storage-pool", "storage-volume", "image", "project")
 * `name` of `project`.
 */
typedef void used_by_call(struct service *service, const char *kind, const char *project,
	const char *name, json_t *urls);
void used_by_add(struct service *service, used_by_call *call);
/* A new array, sorted. */
json_t *used_by_list(
	struct service *service, const char *kind, const char *project, const char *name) must_use;
