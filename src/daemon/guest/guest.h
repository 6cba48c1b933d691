/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest.h - the guest API: the socket that containers find as /dev/lxd/sock and /dev/incus/sock.
 *
 * One socket, DIR/guest/sock, for all of them; a new daemon puts a new one in its place. berthd only accepts: whose
 * a connection is it knows from the kernel, and what comes on it is read by berth-guest, which is started when the
 * first one comes. Everything is bounded, for all together and for each instance; who asks more than that is
 * dropped.
 */
#pragma once

#include "daemon/service.h"

int guest_start(struct service *service, struct error *e) must_use;
void guest_stop(struct service *service);
