/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest_api.c - for each connection one to the host's port, and a process for each direction.
 *
 * The host knows by the connection whose machine this is, and limits how many there are.
 */
#include "agent/guest_api.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "abi/agent.h"
#include "agent/vsock.h"
#include "base/base.h"
#include "base/file.h"

#define CHUNK 16384

static const char *const places[] = { "/dev/lxd", "/dev/incus" };

static int listen_in(const char *dir)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/sock", dir);
	(void)!mkdir(dir, 0755);
	(void)unlink(address.sun_path);
	cleanup(close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
		chmod(address.sun_path, 0666) < 0 || listen(fd, 64) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static void copy(int from, int to)
{
	static uint8_t bytes[CHUNK];
	for (;;) {
		ssize_t n = read(from, bytes, sizeof(bytes));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || file_write_all(to, bytes, (size_t)n) < 0)
			return;
	}
}

static void pass_on(int client)
{
	int host = vsock_connect(AGENT_GUEST_API_PORT);
	if (host < 0)
		return;
	pid_t pid = fork();
	copy(pid == 0 ? host : client, pid == 0 ? client : host);
	shutdown(client, SHUT_RDWR);
	shutdown(host, SHUT_RDWR);
}

static _Noreturn void run(void)
{
	struct pollfd polls[ARRAY_SIZE(places)];
	signal(SIGCHLD, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		polls[i] = (struct pollfd){ .fd = listen_in(places[i]), .events = POLLIN };
	for (;;) {
		if (poll(polls, ARRAY_SIZE(places), -1) < 0)
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
			if (!(polls[i].revents & POLLIN))
				continue;
			int client = accept4(polls[i].fd, NULL, NULL, SOCK_CLOEXEC);
			if (client < 0)
				continue;
			if (fork() == 0) {
				pass_on(client);
				_exit(0);
			}
			close(client);
		}
	}
}

void guest_api_start(void)
{
	if (fork() == 0)
		run();
}
