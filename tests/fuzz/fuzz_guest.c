/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_guest.c - what a container can ask: a line each of a method, a path and types of events; the rest is a body.
 */
#include <string.h>

#include "base/text.h"
#include "guest/route.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *next_line(const char **at)
{
	size_t length = strcspn(*at, "\n");
	char *line = alloc_text_n(*at, length);
	*at += length;
	*at += **at == '\n';
	return line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(free) char *text = alloc_text_n((const char *)data, size);
	const char *at = text;
	cleanup(free) char *method = next_line(&at), *path = next_line(&at),
			   *types = next_line(&at);
	struct route_result route;
	struct error e = {};
	uint32_t value = 2;
	int r = route_find(method, path, types, &route, &e);
	if (r < 0 ? e.text[0] == '\0'
		  : !memchr(route.message.key, '\0', GUEST_KEY_MAX) ||
				(route.message.question == GUEST_GET_KEY &&
					!text_starts(route.message.key, "user.") &&
					!text_starts(route.message.key, "cloud-init.")))
		abort();
	if (route_state(at, strlen(at), &value, NULL) == 0 && value > 1)
		abort();
	return 0;
}
