/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rename.h - another name for a stopped instance and all that is its own.
 */
#pragma once

#include "daemon/instance/instances.h"

/* What a killed daemon left without its new name gets it. Before anything starts. */
void instances_rename_mend(struct service *service);
int instance_rename(struct instance *instance, const char *name, struct error *e) must_use;
