/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backups.h - an instance as one archive, and back.
 */
#pragma once

#include "daemon/api.h"
#include "daemon/instances.h"

/* POST /1.0/instances with an archive as its body. */
int backup_import(struct service *service, struct request *request, struct error *e) must_use;
