/* SPDX-License-Identifier: Apache-2.0 */
/*
 * line_settings.c - each line checked; what is not known is an error, so that a typing mistake is seen.
 */
#include "agent/line_settings.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/text.h"

static int read_address(const char *text, struct sockaddr_storage *ret)
{
	char host[64];
	const char *colon = strrchr(text, ':');
	uint64_t port;
	if (!colon || text_to_u64(colon + 1, &port) < 0 || port == 0 || port > UINT16_MAX)
		return -EBADMSG;
	size_t length = (size_t)(colon - text);
	bool is_six = length > 2 && text[0] == '[' && text[length - 1] == ']';
	if (is_six) {
		text++;
		length -= 2;
	}
	if (length == 0 || length >= sizeof(host))
		return -EBADMSG;
	memcpy(host, text, length);
	host[length] = '\0';
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	*ret = (struct sockaddr_storage){};
	if (is_six && inet_pton(AF_INET6, host, &six.sin6_addr) == 1)
		memcpy(ret, &six, sizeof(six));
	else if (!is_six && inet_pton(AF_INET, host, &four.sin_addr) == 1)
		memcpy(ret, &four, sizeof(four));
	else
		return -EBADMSG;
	return 0;
}

/* It goes into a line of a request: nothing else may be in it. */
static int read_key(const char *text, struct line_settings *settings)
{
	size_t length = strlen(text);
	if (length == 0 || length >= sizeof(settings->key) ||
		strspn(text, "0123456789abcdef.") != length)
		return -EBADMSG;
	memcpy(settings->key, text, length + 1);
	return 0;
}

static int read_line(const char *line, struct line_settings *settings, bool *has_pin)
{
	if (text_starts(line, "to ")) {
		if (settings->address_count == LINE_ADDRESSES_MAX)
			return -EBADMSG;
		return read_address(line + 3, &settings->addresses[settings->address_count++]);
	}
	if (text_starts(line, "pin ")) {
		*has_pin = true;
		return strlen(line + 4) != (size_t)2 * LINE_PIN_BYTES ||
				text_from_hex(line + 4, settings->pin, LINE_PIN_BYTES) < 0
			? -EBADMSG
			: 0;
	}
	return text_starts(line, "key ") ? read_key(line + 4, settings) : -EBADMSG;
}

int line_settings_read(const char *text, struct line_settings *ret, struct error *e)
{
	cleanup(free) char *copy = alloc_text(text);
	struct line_settings settings = {};
	bool has_pin = false;
	char *rest = NULL;
	for (const char *line = strtok_r(copy, "\n", &rest); line;
		line = strtok_r(NULL, "\n", &rest)) {
		if (line[0] == '#')
			continue;
		if (read_line(line, &settings, &has_pin) < 0)
			/* Not all of it: it may be the key's. */
			return error_set(
				e, -EBADMSG, "the line \"%.4s...\" is not understood", line);
	}
	if (!settings.address_count || !has_pin || !settings.key[0])
		return error_set(e, -EBADMSG, "one of to, pin and key is missing");
	*ret = settings;
	return 0;
}

int line_answer_read(const char *head)
{
	const char *digits = head + strlen("HTTP/1.1 ");
	if (!text_starts(head, "HTTP/1.1 ") || strspn(digits, "0123456789") != 3 ||
		digits[0] == '0' || digits[0] > '5')
		return -EBADMSG;
	return (digits[0] - '0') * 100 + (digits[1] - '0') * 10 + (digits[2] - '0');
}
