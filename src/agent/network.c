/* SPDX-License-Identifier: Apache-2.0 */
/*
 * network.c - cards by the classic ioctls: they need no library and no program in the guest.
 */
#include "agent/network.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/file.h"
#include "base/text.h"

/* As the kernel has it; not every C library declares it. */
struct address6 {
	struct in6_addr address;
	uint32_t prefix;
	int index;
};

struct route6 {
	struct in6_addr destination, source, gateway;
	uint32_t type;
	uint16_t destination_bits, source_bits;
	uint32_t metric;
	unsigned long info;
	uint32_t flags;
	int index;
};

static_assert(NETWORK_NAME_SIZE == IFNAMSIZ, "a card's name has its size");

int network_card(const char *mac, char name[NETWORK_NAME_SIZE])
{
	DIR *dir = opendir("/sys/class/net");
	if (!dir)
		return -errno;
	const struct dirent *entry;
	int r = -ENODEV;
	while (r < 0 && (entry = readdir(dir))) {
		char path[300], line[64];
		snprintf(path, sizeof(path), "/sys/class/net/%.200s/address", entry->d_name);
		if (file_read_line(AT_FDCWD, path, line, sizeof(line)) > 0 &&
			strcasecmp(line, mac) == 0 && strlen(entry->d_name) < IFNAMSIZ) {
			snprintf(name, IFNAMSIZ, "%.15s", entry->d_name);
			r = 0;
		}
	}
	closedir(dir);
	return r;
}

static int bring_up(int fd, const char *name)
{
	struct ifreq request = {};
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (ioctl(fd, SIOCGIFFLAGS, &request) < 0)
		return -errno;
	request.ifr_flags |= IFF_UP;
	return ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
}

static int set_address4(const char *name, struct in_addr address, uint32_t prefix)
{
	cleanup(close) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {};
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = address };
	if (fd < 0 || prefix > 32)
		return fd < 0 ? -errno : -EINVAL;
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	memcpy(&request.ifr_addr, &in, sizeof(in));
	if (ioctl(fd, SIOCSIFADDR, &request) < 0)
		return -errno;
	in.sin_addr.s_addr = prefix ? htonl(UINT32_MAX << (32 - prefix)) : 0;
	memcpy(&request.ifr_netmask, &in, sizeof(in));
	if (ioctl(fd, SIOCSIFNETMASK, &request) < 0)
		return -errno;
	return bring_up(fd, name);
}

static int set_address6(const char *name, const struct in6_addr *address, uint32_t prefix)
{
	cleanup(close) int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || prefix > 128)
		return fd < 0 ? -errno : -EINVAL;
	struct address6 request = { *address, prefix, (int)if_nametoindex(name) };
	int r = bring_up(fd, name);
	return r == 0 && ioctl(fd, SIOCSIFADDR, &request) < 0 && errno != EEXIST ? -errno : r;
}

static int set_address(const char *mac, char *text)
{
	char name[IFNAMSIZ], *slash = text ? strchr(text, '/') : NULL;
	uint64_t prefix;
	struct in_addr address4;
	struct in6_addr address6;
	if (!slash || text_to_u64(slash + 1, &prefix) < 0 || prefix > 128)
		return -EINVAL;
	*slash = '\0';
	int r = network_card(mac, name);
	if (r < 0)
		return r;
	if (inet_pton(AF_INET, text, &address4) == 1)
		return set_address4(name, address4, (uint32_t)prefix);
	if (inet_pton(AF_INET6, text, &address6) == 1)
		return set_address6(name, &address6, (uint32_t)prefix);
	return -EINVAL;
}

static int add_gateway(const char *mac, const char *text)
{
	char name[IFNAMSIZ];
	struct in_addr address4;
	struct in6_addr address6;
	int r = network_card(mac, name);
	if (r < 0)
		return r;
	if (text && inet_pton(AF_INET, text, &address4) == 1) {
		cleanup(close) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		struct rtentry route = { .rt_flags = RTF_UP | RTF_GATEWAY, .rt_dev = name };
		struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = address4 };
		memcpy(&route.rt_gateway, &in, sizeof(in));
		route.rt_dst.sa_family = route.rt_genmask.sa_family = AF_INET;
		return fd < 0 || (ioctl(fd, SIOCADDRT, &route) < 0 && errno != EEXIST) ? -errno : 0;
	}
	if (text && inet_pton(AF_INET6, text, &address6) == 1) {
		cleanup(close) int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		struct route6 route = {
			.gateway = address6,
			.metric = 1,
			.flags = RTF_UP | RTF_GATEWAY,
			.index = (int)if_nametoindex(name),
		};
		return fd < 0 || (ioctl(fd, SIOCADDRT, &route) < 0 && errno != EEXIST) ? -errno : 0;
	}
	return -EINVAL;
}

void network_loopback(void)
{
	cleanup(close) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		(void)!bring_up(fd, "lo");
}

static int set_hostname(const char *name)
{
	if (!name || sethostname(name, strlen(name)) < 0)
		return name ? -errno : -EINVAL;
	struct error e = {};
	cleanup(free) char *line = alloc_printf("%s\n", name);
	/* A root that cannot be written keeps its file. */
	(void)!file_replace(AT_FDCWD, "/etc/hostname", line, strlen(line), 0644, &e);
	return 0;
}

static int run_line(char *line, struct text *resolver)
{
	char *rest = NULL;
	const char *word = strtok_r(line, " ", &rest), *first = strtok_r(NULL, " ", &rest);
	char *second = strtok_r(NULL, " ", &rest);
	if (!word)
		return 0;
	if (!first)
		return -EINVAL;
	if (strcmp(word, "hostname") == 0)
		return set_hostname(first);
	if (strcmp(word, "address") == 0)
		return set_address(first, second);
	if (strcmp(word, "gateway") == 0)
		return add_gateway(first, second);
	if (strcmp(word, "nameserver") == 0 || strcmp(word, "search") == 0) {
		text_printf(resolver, "%s %s\n", word, first);
		return 0;
	}
	return -EINVAL;
}

int network_configure(char *text, struct error *e)
{
	cleanup(text_done) struct text resolver = {};
	char *rest = NULL;
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		cleanup(free) char *copy = alloc_text(line);
		int r = run_line(line, &resolver);
		if (r < 0)
			return error_code(e, r, "%s", copy);
	}
	if (resolver.length == 0)
		return 0;
	return file_replace(AT_FDCWD, "/etc/resolv.conf", resolver.data, resolver.length, 0644, e);
}
