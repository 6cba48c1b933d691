/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ask.h - starts a helper beside a running instance and waits for its one word: done, or why not.
 */
#pragma once

#include "daemon/instance/helper.h"

/*
 * `done` is called once, later: 0, or the helper's error. The helper may live on: it is reaped when it ends.
 * `instance` must stay until then.
 */
typedef void ask_done(void *data, int code, const struct error *e);
int ask_helper(struct instance *instance, const struct helper_options *options, ask_done *done,
	void *data, struct error *e) must_use;
