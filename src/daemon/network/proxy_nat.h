/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_nat.h - proxy devices with `nat`: the host's packet filter sends what comes for an address of the host on to
 * the instance, without a process and with the sender's address.
 */
#pragma once

#include "daemon/instance/instances.h"

/*
 * What is forwarded to a running instance is what `spec` says from now on; its cards have their addresses.
 * -EINVAL or -EEXIST with the field: nothing has changed then.
 */
int proxy_nat_apply(struct instance *instance, const struct spec *spec, struct error *e) must_use;

/* It has ended. */
void proxy_nat_end(struct instance *instance);
