/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stateful.h - stops a machine so that its next start goes on where it stood.
 */
#pragma once

#include "daemon/instance/lifecycle.h"

int stateful_stop(
	struct instance *instance, lifecycle_done *done, void *data, struct error *e) must_use;
