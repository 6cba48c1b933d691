/* SPDX-License-Identifier: Apache-2.0 */
/*
 * static_serve.c - the smallest server: answers each HTTP connection on port 80 with a sentence that has its
 * arguments, one after the other.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char request[1024], answer[256];
	const int on = 1;
	const struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(80) };
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
		bind(listener, (const struct sockaddr *)&any, sizeof(any)) < 0 ||
		listen(listener, 16) < 0) {
		perror("listen");
		return 1;
	}
	int length = snprintf(answer, sizeof(answer),
		"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nserved by %s\n",
		argc > 1 ? argv[1] : "nobody");
	puts("serving");
	fflush(stdout);
	for (;;) {
		int client = accept(listener, NULL, NULL);
		if (client < 0)
			continue;
		if (read(client, request, sizeof(request)) > 0 &&
			write(client, answer, (size_t)length) < 0)
			perror("write");
		close(client);
	}
}
