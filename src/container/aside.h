/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aside.h - what the helpers beside a running instance have in common: the request, a child inside it, the
 * one word that they answer.
 */
#pragma once

#include "container/container.h"

/* The JSON object of the descriptor `request`; the caller owns it. */
int aside_request(json_t **ret, struct error *e) must_use;

/* The process that a pidfd is of, in our namespace, or -errno. */
pid_t aside_pid(int pidfd) must_use;

/*
 * Runs `call` in a child that has entered `namespaces` (CLONE_NEW*) of the instance; with CLONE_NEWUSER as its
 * root. Returns what the call returned, with its error.
 */
typedef int aside_call(void *data, int root, struct error *e);
int aside_enter(const struct container *container, int pidfd, uint64_t namespaces, aside_call *call,
	void *data, struct error *e) must_use;

/* Answers RUNNER_DONE, or RUNNER_ERROR if `code` is negative. */
void aside_answer(int channel, int code, const struct error *e);
