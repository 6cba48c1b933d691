/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metal.h - what berthd and berth-metal, the process of one server, say to each other.
 *
 * One SOCK_SEQPACKET socket, in BERTH_FDS as `channel`. A message is a header and `length` minus the header's
 * bytes of JSON, an object, maybe none. The daemon's first message is METAL_OPEN:
 *   {"driver": "ipmi", "address": "10.0.0.9", "port": 623, "system", "user", "password", "tls", "poll_ms": 30000,
 *    "cipher": 17 or 3 (of IPMI; without it 17, or 3 if the BMC has not that)}
 * with the console's log as descriptor. Then METAL_ASK in any number, each answered once by METAL_ANSWER
 * with its serial, within its deadline:
 *   {"do": "state"}                                {"power": "on", "boot": {"device", "persistent", "uefi"}}
 *   {"do": "power", "to": "on|off|soft|cycle|reset"}
 *   {"do": "boot", "device": "network|disk|cdrom|setup|none", "persistent": false, "uefi": false}
 *   {"do": "identity"}                             {"manufacturer", "product", "serial", "firmware", ...}
 *   {"do": "sensors"}                              {"sensors": [{"name", "value", "unit", "status"}], "watts"}
 *   {"do": "events"}                               {"events": [{"id", "time", "sensor", "text"}]}
 *   {"do": "media", "url": "http://..."}           without a url: ejected
 *   {"do": "log"}                                  {"text": the last output of the console, in base16}
 * METAL_CONSOLE comes with a stream descriptor: {"steal": true, "replay": true}; answered likewise.
 * METAL_EVENT goes the other way: {"power": "on", "watts": 120, "sensors": [...], "events": 3 (how many)} at each
 * poll that brought something new, {"lost": "why"} if the BMC does not answer any more.
 * When the socket closes the process ends.
 */
#pragma once

#include <assert.h>
#include <stdint.h>

#define METAL_VERSION     1
#define METAL_MESSAGE_MAX 65536 /* bytes, with the header */

enum metal_type {
	METAL_OPEN = 1,
	METAL_ASK = 2,
	METAL_CONSOLE = 3,

	METAL_ANSWER = 64, /* `code` 0, or a negative errno and {"error": "a sentence"} */
	METAL_EVENT = 65,
};

struct metal_header {
	uint32_t length; /* of the whole message */
	uint16_t version;
	uint16_t type; /* enum metal_type */
	uint32_t serial;
	int32_t code;
};
static_assert(sizeof(struct metal_header) == 16, "wire");
