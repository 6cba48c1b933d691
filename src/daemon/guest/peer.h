/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer.h - whose process is at the other end of a unix socket, by what the kernel says of it.
 */
#pragma once

#include "daemon/instance/instances.h"

/* Whether its configuration and its state allow it the guest API. */
bool guest_is_allowed(const struct instance *instance);

/*
 * The running container that may use the guest API and whose process connected `socket`; NULL if there is none. An
 * unprivileged one is known by its ids, which no other has; where that does not decide (privileged, or the same
 * base asked for twice) by the cgroup of the process, which must still live.
 */
struct instance *guest_peer(struct service *service, int socket);
