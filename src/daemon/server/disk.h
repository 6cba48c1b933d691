/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk.h - the disk of an instance's server as a volume of this host, for snapshots.
 *
 * The instance's own volume stands for the disk: it is as large, and holds its bytes only while they are on their
 * way. Snapshots are copies of it, as those of virtual machines are.
 */
#pragma once

#include "daemon/instance/instances.h"
#include "daemon/server/note.h"

/*
 * The volume holds what the server's disk holds: the deploy agent has read it. The instance is stopped, before and
 * after. -EBUSY if it isn't, or its server is not there for that.
 */
int server_disk_save(
	struct instance *instance, server_done *done, void *data, struct error *e) must_use;
/* The server's disk holds what the volume holds; it has come to its end as server_disk_save(). */
int server_disk_put_back(
	struct instance *instance, server_done *done, void *data, struct error *e) must_use;
/* The volume holds nothing any more, and takes no room. */
void server_disk_empty(const struct instance *instance);
