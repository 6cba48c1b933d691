/* SPDX-License-Identifier: Apache-2.0 */
/*
 * launch.h - the verbs that ask for a new instance: launch, create, plan.
 */
#pragma once

#include "cli/options.h"

extern const struct option launch_options[];
extern const struct option create_options[];

int launch_run(struct context *context, struct error *e);
int create_run(struct context *context, struct error *e);
int plan_run(struct context *context, struct error *e);
