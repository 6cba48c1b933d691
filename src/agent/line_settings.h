/* SPDX-License-Identifier: Apache-2.0 */
/*
 * line_settings.h - whom berth-line calls, read from lines of KEY VALUE.
 *
 *   to ADDRESS:PORT      the daemon's TLS port; numbers, several are tried in turn
 *   pin HEX              SHA-256 of its certificate
 *   key HEX.HEX          what it knows this instance's agent by
 */
#pragma once

#include <stdint.h>
#include <sys/socket.h>

#include "base/base.h"
#include "base/error.h"

#define LINE_ADDRESSES_MAX 16
#define LINE_PIN_BYTES     32
#define LINE_KEY_MAX       128
#define LINE_SETTINGS_MAX  4096 /* bytes of the file */

struct line_settings {
	struct sockaddr_storage addresses[LINE_ADDRESSES_MAX];
	size_t address_count;
	uint8_t pin[LINE_PIN_BYTES];
	char key[LINE_KEY_MAX];
};

/* -EBADMSG with the line. */
int line_settings_read(const char *text, struct line_settings *ret, struct error *e) must_use;

/*
 * What the daemon answered to the question for an upgrade, `head` up to its empty line: the status, or -EBADMSG.
 */
int line_answer_read(const char *head) must_use;
