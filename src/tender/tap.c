/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tap.c - a tap interface as the network card of a unikernel.
 */
#include "tender/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/file.h"
#include "base/text.h"

static int tap_mtu(const char *name, uint16_t *ret, struct error *e)
{
	cleanup(close) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {};
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, SIOCGIFMTU, &request) < 0)
		return error_errno(e, "MTU of %s", name);
	if (request.ifr_mtu < 0 || request.ifr_mtu > UINT16_MAX)
		return error_set(e, -ERANGE, "MTU of %s: %d", name, request.ifr_mtu);
	*ret = (uint16_t)request.ifr_mtu;
	return 0;
}

static int attach(int fd, struct ifreq *request, const char *name, short flags)
{
	memset(request, 0, sizeof(*request));
	request->ifr_flags = (short)(IFF_TAP | IFF_NO_PI | flags);
	strcpy(request->ifr_name, name);
	return ioctl(fd, TUNSETIFF, request) < 0 ? -errno : 0;
}

/* A tap that was made with headers wants them from everybody, one without from nobody. */
static int open_name(const char *name, bool wants_header, struct ifreq *request, struct error *e)
{
	if (strlen(name) >= IFNAMSIZ)
		return error_set(e, -EINVAL, "%s is no name of an interface", name);
	if (!if_nametoindex(name)) /* attaching would make it */
		return error_set(e, -ENODEV, "there is no tap %s", name);
	cleanup(close) int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return error_errno(e, "open /dev/net/tun");
	int r = attach(fd, request, name, wants_header ? IFF_VNET_HDR : 0);
	if (r < 0)
		return error_set(e, r, "attach to the tap %s: %s", name, strerror(-r));
	return TAKE_FD(fd);
}

static int open_number(const char *text, struct ifreq *request, struct error *e)
{
	uint64_t number;
	if (text_to_u64(text, &number) < 0 || number > INT32_MAX)
		return error_set(e, -EINVAL, "@%s is no descriptor", text);
	cleanup(close) int fd = fcntl((int)number, F_DUPFD_CLOEXEC, 3);
	memset(request, 0, sizeof(*request));
	if (fd < 0 || ioctl(fd, TUNGETIFF, request) < 0)
		return error_errno(e, "tap @%s", text);
	return TAKE_FD(fd);
}

static bool set_offload(int fd)
{
	int bytes = TAP_HEADER_BYTES;
	return ioctl(fd, TUNSETVNETHDRSZ, &bytes) == 0 &&
		ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) == 0;
}

int tap_open(const char *what, int *ret, uint16_t *ret_mtu, bool *ret_has_header, struct error *e)
{
	struct ifreq request;
	cleanup(close) int fd = what[0] == '@'
		? open_number(what + 1, &request, e)
		: open_name(what, ret_has_header != NULL, &request, e);
	if (fd < 0)
		return fd;
	bool has_header = (request.ifr_flags & IFF_VNET_HDR) != 0;
	if (has_header && !ret_has_header)
		return error_set(e, -EINVAL, "the tap %s has headers before its frames", what);
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		return error_errno(e, "tap %s", what);
	if (has_header && !set_offload(fd))
		return error_errno(e, "offload of the tap %s", what);
	int r = tap_mtu(request.ifr_name, ret_mtu, e);
	if (r < 0)
		return r;
	if (ret_has_header)
		*ret_has_header = has_header;
	*ret = TAKE_FD(fd);
	return 0;
}
