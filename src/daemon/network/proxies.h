/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxies.h - the proxy devices of running containers, but for those with `nat` (proxy_nat.h).
 *
 * A proxy is a process (`berth-container proxy`) that ends by itself when its instance does. What there are
 * stands in the instance's directory: the file proxy-DEVICE says what it does, and is locked by the process
 * while it lives. Nothing is kept here, so that a new daemon knows as much as the old one.
 */
#pragma once

#include "daemon/instance/supervisor.h"

/* Before a start: whether what listens on the host can. -EADDRINUSE with the field. */
int proxies_check(const struct spec *spec, struct error *e) must_use;

/*
 * Makes the proxies of a running container those of `wanted`: others end, new ones start. `done` is called
 * once, maybe before this returns; if one could not start, the rest was started still.
 */
typedef void proxies_done(void *data, int code, const struct error *e);
void proxies_update(struct live *live, const struct spec *wanted, proxies_done *done, void *data);

/* Ends all and removes their files, in the instance's directory `dir`. */
void proxies_end(int dir);
