/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock.c - from the guest to its host.
 */
#include "agent/vsock.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "abi/vsock.h"
#include "base/file.h"

int vsock_connect(uint32_t port)
{
	const struct vsock_address address = {
		.family = VSOCK_FAMILY,
		.port = port,
		.cid = VSOCK_CID_HOST,
	};
	cleanup(close) int fd = socket(VSOCK_FAMILY, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 ||
		connect(fd, (const struct sockaddr *)(const void *)&address, sizeof(address)) < 0)
		return -errno;
	return TAKE_FD(fd);
}
