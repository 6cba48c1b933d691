/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client.c - runs in a container and speaks to /dev/lxd/sock: as cloud-init does, and as nobody should.
 *
 * usage: guest-client SOCKET METHOD PATH [BODY]    prints the status and then the body
 *        guest-client SOCKET events COUNT          prints so many events, a line each
 *        guest-client SOCKET hold COUNT            opens so many connections and keeps those that it gets, 3 s
 *        guest-client SOCKET flood SECONDS         connects, writes noise, again and again
 *
 * Static: it needs nothing of the image.
 */
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static int dial(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

static int ask(const char *path, const char *method, const char *target, const char *body)
{
	static char text[1 << 20];
	size_t length = 0;
	int fd = dial(path);
	if (fd < 0) {
		printf("000\n");
		return 1;
	}
	dprintf(fd,
		"%s %s HTTP/1.1\r\nHost: lxd\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
		method, target, strlen(body), body);
	for (ssize_t got; (got = read(fd, text + length, sizeof(text) - 1 - length)) > 0;)
		length += (size_t)got;
	close(fd);
	text[length] = '\0';
	const char *start = strstr(text, "\r\n\r\n");
	printf("%.3s\n%s\n", length > 12 ? text + 9 : "000", start ? start + 4 : "");
	return 0;
}

/* Frames of a server: not masked. */
static int events(const char *path, int count)
{
	static uint8_t bytes[1 << 18];
	size_t length = 0, at = 0;
	int fd = dial(path);
	if (fd < 0)
		return 1;
	dprintf(fd,
		"GET /1.0/events HTTP/1.1\r\nHost: lxd\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
	char *head = NULL;
	while (!head) {
		ssize_t got = read(fd, bytes + length, sizeof(bytes) - 1 - length);
		if (got <= 0)
			return 1;
		length += (size_t)got;
		bytes[length] = '\0';
		head = strstr((char *)bytes, "\r\n\r\n");
	}
	printf("%.3s\n", (char *)bytes + 9);
	(void)fflush(stdout);
	at = (size_t)((uint8_t *)head + 4 - bytes);
	while (count > 0) {
		size_t size = length - at > 1 ? bytes[at + 1] & 127 : 0, start = at + 2;
		if (size == 126 && length - at > 3) {
			size = (size_t)bytes[at + 2] << 8 | bytes[at + 3];
			start = at + 4;
		}
		if (length - at > 3 && start + size <= length) {
			if ((bytes[at] & 15) == 1) {
				printf("%.*s\n", (int)size, (char *)bytes + start);
				(void)fflush(stdout);
				count--;
			}
			at = start + size;
			continue;
		}
		ssize_t got = read(fd, bytes + length, sizeof(bytes) - length);
		if (got <= 0)
			return 1;
		length += (size_t)got;
	}
	return 0;
}

static int hold(const char *path, int count)
{
	struct pollfd *fds = calloc((size_t)count, sizeof(*fds));
	int kept = 0;
	for (int i = 0; i < count; i++)
		fds[i] = (struct pollfd){ .fd = dial(path), .events = POLLIN };
	sleep(3);
	(void)poll(fds, (nfds_t)count, 0);
	for (int i = 0; i < count; i++)
		kept += fds[i].fd >= 0 && fds[i].revents == 0;
	printf("%d\n", kept);
	return 0;
}

static int flood(const char *path, int seconds)
{
	static char noise[4096];
	time_t end = time(NULL) + seconds;
	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (char)(rand() & 255);
	for (unsigned i = 0; time(NULL) < end; i++) {
		int fd = dial(path);
		if (fd < 0)
			continue;
		if (i % 3 == 0)
			(void)!send(fd, noise, sizeof(noise), MSG_NOSIGNAL);
		else if (i % 3 == 1)
			dprintf(fd, "GET /1.0/config HTTP/1.1\r\nHost: lxd\r\n\r\n");
		close(fd);
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	(void)signal(SIGPIPE, SIG_IGN);
	if (strcmp(argv[2], "events") == 0)
		return events(argv[1], atoi(argv[3]));
	if (strcmp(argv[2], "hold") == 0)
		return hold(argv[1], atoi(argv[3]));
	if (strcmp(argv[2], "flood") == 0)
		return flood(argv[1], atoi(argv[3]));
	return ask(argv[1], argv[2], argv[3], argc > 4 ? argv[4] : "");
}
