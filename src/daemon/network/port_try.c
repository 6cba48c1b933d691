/* SPDX-License-Identifier: Apache-2.0 */
/*
 * port_try.c - a socket that is bound and closed.
 */
#include "daemon/network/port_try.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "base/file.h"

int port_try(const struct address *address, uint16_t port, int type, bool is_foreign)
{
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	bool is_four = address->family == AF_INET;
	const int yes = 1, on = is_foreign;
	cleanup(close) int fd = socket(address->family, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	memcpy(is_four ? (void *)&four.sin_addr : &six.sin6_addr, address->bytes,
		address_size(address));
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	(void)setsockopt(fd, is_four ? IPPROTO_IP : IPPROTO_IPV6,
		is_four ? IP_FREEBIND : IPV6_FREEBIND, &on, sizeof(on));
	if (!is_four)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes));
	int r = bind(
		fd, is_four ? (const void *)&four : &six, is_four ? sizeof(four) : sizeof(six));
	return r < 0 ? -errno : 0;
}
