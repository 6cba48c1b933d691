/* SPDX-License-Identifier: Apache-2.0 */
/*
 * await.h - a runner that was started before there is anything to run.
 */
#pragma once

/*
 * For main(): `words` are its arguments. Without RUNNER_SPARE as the plan it returns 0 at once. Else it waits for
 * RUNNER_BEGIN, and returns 1 when the arguments, the descriptors, standard output and error are those of a runner
 * that was started just now; or a negative errno when nobody will ever begin: then the runner ends.
 */
int await_plan(int count, char **words) __attribute__((__warn_unused_result__));
