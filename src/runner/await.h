/* SPDX-License-Identifier: Apache-2.0 */
/*
 * await.h - a runner that was started before there is anything to run.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

/*
 * For main(): `words` are its arguments. Without RUNNER_SPARE as the plan it returns 0 at once. Else it waits for
 * RUNNER_BEGIN, and returns 1 when the arguments, the descriptors, standard output and error are those of a runner
 * that was started just now; or a negative errno when nobody will ever begin: then the runner ends.
 */
int await_plan(int count, char **words) must_use;

/*
 * Before anything of the instance runs: returns when the daemon has greeted, which it does when all that holds the
 * instance is in force. 0 at once without `channel`, by hand. -ECONNRESET if the daemon has gone: nobody will greet.
 */
int await_greeting(struct error *e) must_use;
