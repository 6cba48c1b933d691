/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net.c - a fixed number of bytes over one TCP connection, either way.
 *
 * usage: net serve PORT                       accepts one connection after the other
 *        net send|receive ADDRESS PORT BYTES  as seen from here; ends when all has arrived
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "suite.h"

#define CHUNK 131072

struct request {
	uint64_t is_send, bytes;
};

static uint8_t chunk[CHUNK];

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int put(int fd, const void *data, size_t bytes)
{
	const uint8_t *at = data;
	while (bytes > 0) {
		ssize_t n = write(fd, at, bytes);
		if (n <= 0)
			return -1;
		at += n;
		bytes -= (size_t)n;
	}
	return 0;
}

static int get(int fd, void *data, size_t bytes)
{
	uint8_t *at = data;
	while (bytes > 0) {
		ssize_t n = read(fd, at, bytes);
		if (n <= 0)
			return -1;
		at += n;
		bytes -= (size_t)n;
	}
	return 0;
}

static int pour(int fd, uint64_t bytes)
{
	for (; bytes > 0; bytes -= bytes < CHUNK ? bytes : CHUNK)
		if (put(fd, chunk, bytes < CHUNK ? bytes : CHUNK) < 0)
			return -1;
	return 0;
}

static int drink(int fd, uint64_t bytes)
{
	while (bytes > 0) {
		ssize_t n = read(fd, chunk, bytes < CHUNK ? bytes : CHUNK);
		if (n <= 0)
			return -1;
		bytes -= (uint64_t)n;
	}
	return 0;
}

static struct sockaddr_in address(const char *host, const char *port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	if (inet_pton(AF_INET, host, &to.sin_addr) != 1)
		fail(host);
	return to;
}

static void serve(const char *port)
{
	const struct sockaddr_in here = address("0.0.0.0", port);
	int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (const struct sockaddr *)&here, sizeof(here)) < 0 ||
		listen(listener, 8) < 0)
		fail("listen");
	puts("ready");
	fflush(stdout);
	for (;;) {
		struct request request;
		uint8_t done = 1;
		int fd = accept(listener, NULL, NULL);
		if (fd < 0)
			continue;
		/* Whoever goes away in the middle has nothing to be told. */
		if (get(fd, &request, sizeof(request)) == 0 &&
			(request.is_send ? drink(fd, request.bytes) : pour(fd, request.bytes)) == 0)
			(void)!put(fd, &done, 1);
		close(fd);
	}
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc == 3 && strcmp(argv[1], "serve") == 0)
		serve(argv[2]);
	if (argc != 5)
		return 2;
	const struct sockaddr_in to = address(argv[2], argv[3]);
	struct request request = { strcmp(argv[1], "send") == 0, strtoull(argv[4], NULL, 0) };
	uint8_t done;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0)
		fail("connect");
	if (put(fd, &request, sizeof(request)) < 0 ||
		(request.is_send ? pour(fd, request.bytes) : drink(fd, request.bytes)) < 0 ||
		get(fd, &done, 1) < 0)
		fail("transfer");
	return 0;
}
