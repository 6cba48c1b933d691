/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine.h - connections to the guest API from inside of machines, by the sockets of their monitors.
 *
 * In the guest its agent listens at /dev/lxd/sock and passes each connection on to a port of the host, where its
 * monitor gives it to us. So whose it is is said by the monitor's socket.
 */
#pragma once

#include "daemon/instance/instances.h"

struct guest_machines;

/* `take` borrows the connection. */
typedef void guest_machine_take(void *data, struct instance *instance, int fd);

struct guest_machines *guest_machines_new(
	struct service *service, guest_machine_take *take, void *data);
void guest_machines_free(struct guest_machines *machines);

/* The instance runs: if it is a machine with an agent, it is listened to, until it ends. */
void guest_machines_hear(struct guest_machines *machines, struct instance *instance);
