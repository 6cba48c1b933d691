/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume_import.h - a custom volume from an archive.
 */
#pragma once

#include "daemon/api.h"

/* POST with an archive as its body. */
int import_volume(struct service *service, struct request *request, struct error *e) must_use;
