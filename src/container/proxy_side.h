/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_side.h - the two sides of a proxy: sockets that listen, and a process that connects.
 */
#pragma once

#include "container/container.h"
#include "model/proxy.h"

struct proxy_request {
	const char *file; /* in the instance's directory: locked while the proxy lives */
	struct proxy_address listen, connect;
	bool listens_inside, has_header;
	uint32_t mode, uid, gid;         /* of a unix socket that it listens at */
	uint32_t run_as_uid, run_as_gid; /* who connects on the host */
};

/* Listens on its side: one descriptor a port, or one. */
int proxy_listen(const struct proxy_request *request, const struct container *container, int pidfd,
	int *ret, size_t *ret_count, struct error *e) must_use;

/* Starts the process that connects on the other side; *ret is how it is asked. */
int proxy_start_connector(const struct proxy_request *request, const struct container *container,
	int pidfd, int *ret, struct error *e) must_use;

/* Asks it to connect to port `index`: the descriptor, which may be connecting still, or -errno. */
int proxy_connect(int connector, uint32_t index) must_use;
