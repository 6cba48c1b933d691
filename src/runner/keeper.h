/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper.h - the parent of an instance's first process: its console, its exit status, its news.
 *
 * A runner opens it, makes the first process, hands it over and lets the keeper run until that has ended.
 * When it runs the keeper gives up all that was needed to make it. What is left: to answer on `control`,
 * to write console.log, and to write `exit`, through descriptors that are open already.
 */
#pragma once

#include "abi/runner.h"
#include "base/base.h"
#include "base/error.h"
#include "runner/control.h"

struct keeper_options {
	const char *what;  /* "container": for sentences */
	uint64_t began_ns; /* CLOCK_MONOTONIC at the runner's first instruction */
	/* A request that only this runner knows, with its descriptor, borrowed, or -1: true if it was answered. NULL: none. */
	bool (*request)(
		void *data, struct control_peer *peer, const struct runner_header *request, int fd);
	void (*ended)(
		void *data, int dir); /* before the end is told; `dir` -1: none; may be NULL */
	void *data;
};

/* The first process; all but `terminal` and `pidfd` borrowed. */
struct keeper_process {
	pid_t pid;
	int pidfd;
	int terminal;       /* -1: none */
	uint64_t log_bytes; /* as of struct console_options */
	int stop_signal;    /* what RUNNER_STOP sends */
};

struct keeper;

/* Finds the descriptors of BERTH_FDS; by hand there may be none. */
int keeper_open(
	const struct keeper_options *options, struct keeper **ret, struct error *e) must_use;
void keeper_free(struct keeper *keeper);
DEFINE_CLEANUP(struct keeper *, keeper_free);

/* The instance's directory, or -1. */
int keeper_dir(const struct keeper *keeper);

/* Before the process is made, so that no news of it is lost. */
void keeper_watch_memory(struct keeper *keeper, const char *const *cgroups);

/* It runs: its state is told, its console kept. */
int keeper_take(
	struct keeper *keeper, const struct keeper_process *process, struct error *e) must_use;

/* Gives up all rights and stays until the process has ended. 0, or why it could not. */
int keeper_run(struct keeper *keeper, struct error *e) must_use;

/* The instance could not be started: tells so, in `exit`, too. */
void keeper_fail(struct keeper *keeper, int code, const struct error *e);
