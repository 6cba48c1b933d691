/* SPDX-License-Identifier: Apache-2.0 */
/*
 * media.h - the disc that a server boots the deploy agent from: made, put into its virtual drive, taken out.
 *
 * Then no DHCP and no TFTP is needed: what the agent must know, its address too, stands on the disc. The disc is one
 * start's, as its token is, and is read over HTTP by the BMC.
 */
#pragma once

#include "daemon/server/servers.h"
#include "http/server.h"

/* By its config, or because there is no DHCP. */
bool server_uses_media(const struct server *server);
/* A BMC that can't, or what is none of network, media; and what could start from nowhere. */
int server_media_check(
	const struct service *service, const json_t *object, struct error *e) must_use;

/* For its present start (`boot`); then goes on. The server has failed if that can't be. */
void server_media_insert(struct server *server, void (*then)(struct server *server));
/* The agent runs: whatever starts the server next shall not find the disc. */
void server_media_eject(struct server *server);
/* What is kept of it on this host. */
void server_media_forget(const struct server *server);

/* "GET /media/TOKEN/boot.iso", also a part of it. */
void server_media_serve(struct server *server, struct http_request *request);

/*
 * "bytes=A-B", "bytes=A-", "bytes=-N" of `size` bytes; one range only. -EINVAL: it is none, and all is sent; -ERANGE:
 * nothing of it is there.
 */
int server_media_range(
	const char *text, uint64_t size, uint64_t *ret_at, uint64_t *ret_length) must_use;
