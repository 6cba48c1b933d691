/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine.h - which engine costs unikernels less on this host: measured once for what the host is, and kept in DIR.
 */
#pragma once

#include "daemon/service.h"
#include "host/doctor.h"

/* A module. Measures beside the daemon if what is kept is of another host. */
int engine_start(struct service *service, struct error *e);
void engine_stop(struct service *service);

/* "process" or "kvm"; until it is measured, "process". */
const char *engine_measured(const struct service *service);

/* Why, with its figures. */
const char *engine_why(const struct service *service);
