/* SPDX-License-Identifier: Apache-2.0 */
/*
 * warnings.h - what an administrator should know: kept until acknowledged and deleted.
 */
#pragma once

#include "daemon/service.h"

/*
 * Notes a warning, or counts one more if the same stands already. `type` as "Instance type not
 * operational", `severity` "low", "moderate" or "high"; `entity` the URL of what it is about, or NULL.
 */
void service_warning(struct service *service, const char *type, const char *severity,
	const char *project, const char *entity, const char *format, ...) printf_like(6, 7);
/* The reason is gone: its status becomes "resolved". */
void service_warning_resolve(
	struct service *service, const char *type, const char *project, const char *entity);
