/* SPDX-License-Identifier: Apache-2.0 */
/*
 * neighbours.c - one raw socket a card.
 */
#include "agent/neighbours.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "agent/lldp.h"
#include "agent/modules.h"
#include "base/file.h"

#define CARDS_MAX   64
#define FRAME_BYTES 1600

struct card {
	char name[IFNAMSIZ];
	struct lldp_neighbour last;
};

/* The addresses of a bridge that do not go through it: nearest, nearest but one, customer's. */
static const uint8_t groups[][6] = { { 0x01, 0x80, 0xc2, 0, 0, 0x0e },
	{ 0x01, 0x80, 0xc2, 0, 0, 0x03 }, { 0x01, 0x80, 0xc2, 0, 0, 0x00 } };

static int listen_on(const char *name)
{
	int index = (int)if_nametoindex(name);
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET, .sll_protocol = htons(LLDP_TYPE), .sll_ifindex = index
	};
	struct ifreq request = {};
	cleanup(close) int fd =
		socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(LLDP_TYPE));
	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
		struct packet_mreq group = {
			.mr_ifindex = index, .mr_type = PACKET_MR_MULTICAST, .mr_alen = 6
		};
		memcpy(group.mr_address, groups[i], 6);
		setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &group, sizeof(group));
	}
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%.15s", name);
	if (ioctl(fd, SIOCGIFFLAGS, &request) == 0) {
		request.ifr_flags |= IFF_UP;
		(void)ioctl(fd, SIOCSIFFLAGS, &request);
	}
	return TAKE_FD(fd);
}

static size_t listen_on_all(struct card cards[CARDS_MAX], struct pollfd polls[CARDS_MAX])
{
	DIR *dir = opendir("/sys/class/net");
	size_t count = 0;
	for (const struct dirent *entry; dir && count < CARDS_MAX && (entry = readdir(dir));) {
		char path[300];
		snprintf(path, sizeof(path), "/sys/class/net/%.200s/device", entry->d_name);
		int fd = access(path, F_OK) == 0 ? listen_on(entry->d_name) : -1;
		if (fd < 0)
			continue;
		snprintf(cards[count].name, IFNAMSIZ, "%.15s", entry->d_name);
		polls[count++] = (struct pollfd){ .fd = fd, .events = POLLIN };
	}
	if (dir)
		closedir(dir);
	return count;
}

static bool is_same(const struct lldp_neighbour *a, const struct lldp_neighbour *b)
{
	return text_equal(a->chassis, b->chassis) && text_equal(a->port, b->port) &&
		text_equal(a->system, b->system) && a->vlan == b->vlan;
}

static int tell(const struct call_server *server, const struct card *card,
	const struct lldp_neighbour *neighbour)
{
	cleanup(text_done) struct text body = {}, answer = {};
	struct error e = {};
	char path[96];
	uint64_t speed = 0;
	snprintf(path, sizeof(path), "/sys/class/net/%s/speed", card->name);
	(void)!file_read_u64(AT_FDCWD, path, &speed);
	text_printf(&body, "nic %s\nspeed %llu\nchassis %s\nport %s\nsystem %s\nvlan %u\n",
		card->name, speed > 10000000 ? 0ULL : (unsigned long long)speed, neighbour->chassis,
		neighbour->port, neighbour->system, neighbour->vlan);
	return call_send(server, "POST", "/neighbour", body.data, body.length, &answer, &e);
}

static void hear(const struct call_server *server, int fd, struct card *card)
{
	uint8_t frame[FRAME_BYTES];
	struct lldp_neighbour neighbour;
	ssize_t n = recv(fd, frame, sizeof(frame), 0);
	if (n <= 0 || lldp_read(frame, (size_t)n, &neighbour) < 0 ||
		is_same(&neighbour, &card->last))
		return;
	/* If nobody took it, it is said again in 30 s. */
	if (tell(server, card, &neighbour) == 0)
		card->last = neighbour;
}

static pid_t watcher;

void neighbours_watch(const struct call_server *server)
{
	static struct card cards[CARDS_MAX];
	static struct pollfd polls[CARDS_MAX];
	modules_load("af_packet");
	size_t count = listen_on_all(cards, polls);
	watcher = count ? fork() : -1;
	if (watcher == 0) {
		for (;;) {
			if (poll(polls, count, -1) < 0)
				continue;
			for (size_t i = 0; i < count; i++)
				if (polls[i].revents)
					hear(server, polls[i].fd, &cards[i]);
		}
	}
	for (size_t i = 0; i < count; i++)
		close(polls[i].fd);
}

void neighbours_unwatch(void)
{
	if (watcher > 0)
		kill(watcher, SIGKILL);
	watcher = -1;
}
