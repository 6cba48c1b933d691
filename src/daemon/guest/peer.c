/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer.c - SO_PEERCRED and SO_PEERPIDFD.
 */
#include "daemon/guest/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/file.h"
#include "base/text.h"
#include "daemon/instance/supervisor.h"
#include "host/process.h"
#include "model/json.h"

/* Of Linux 6.5, newer than Debian 12's header. */
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

#define CGROUP_BYTES_MAX 16384

struct search {
	uid_t uid;
	const char *groups; /* of /proc/PID/cgroup; NULL: by the ids alone */
	struct instance *found;
	size_t count;
};

bool guest_is_allowed(const struct instance *instance)
{
	const char *const keys[] = { "security.devlxd", "security.guestapi" };
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (instance_config(instance, keys[i]) && !instance_config_is(instance, keys[i]))
			return false;
	return instance->live && !(instance->kind->can & KIND_IS_SERVER);
}

static bool has_id(const struct instance *instance, uid_t uid)
{
	const json_t *map = json_object_get(instance->live->document, "idmap");
	uint64_t base = (uint64_t)json_integer_value(json_object_get(map, "base"));
	uint64_t count = (uint64_t)json_integer_value(json_object_get(map, "count"));
	return map ? uid >= base && uid - base < count : true;
}

/* A line "N:name:/some/where/berth-ID/PROJECT_NAME" or with more behind a slash. */
static bool is_in_group(const char *groups, const struct instance *instance)
{
	cleanup(free) char *group = instance_group(instance);
	cleanup(free) char *part = alloc_printf("/%s", group);
	size_t length = strlen(part);
	for (const char *at = groups; (at = strstr(at, part)); at += length)
		if (at[length] == '\n' || at[length] == '/' || at[length] == '\0')
			return true;
	return false;
}

static void consider(void *data, struct instance *instance)
{
	struct search *search = data;
	bool is_privileged = instance->live && !json_object_get(instance->live->document, "idmap");
	if ((instance->kind->can & KIND_IS_MACHINE) || !guest_is_allowed(instance) ||
		!has_id(instance, search->uid))
		return;
	if (search->groups ? !is_in_group(search->groups, instance) : is_privileged)
		return;
	search->found = instance;
	search->count++;
}

/* The peer's process; it is the same for as long as the descriptor says that it lives. */
static int open_process(int socket, const struct ucred *peer)
{
	int pidfd = -1;
	socklen_t size = sizeof(pidfd);
	if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) == 0)
		return pidfd;
	return peer->pid > 0 ? process_open(peer->pid) : -ESRCH;
}

static struct instance *by_group(struct service *service, int socket, const struct ucred *peer)
{
	char path[40];
	cleanup(free) char *groups = NULL;
	cleanup(close) int pidfd = open_process(socket, peer);
	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)peer->pid);
	if (pidfd < 0 || file_read(AT_FDCWD, path, CGROUP_BYTES_MAX, &groups, NULL, NULL) < 0 ||
		process_signal(pidfd, 0) < 0)
		return NULL;
	struct search search = { .uid = peer->uid, .groups = groups };
	instances_each(service, NULL, consider, &search);
	return search.count == 1 ? search.found : NULL;
}

struct instance *guest_peer(struct service *service, int socket)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return NULL;
	struct search search = { .uid = peer.uid };
	instances_each(service, NULL, consider, &search);
	return search.count == 1 ? search.found : by_group(service, socket, &peer);
}
