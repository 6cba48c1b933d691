/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metadata.h - what berthd and berth-metadata, the metadata service of one network, say to each other.
 *
 * One SOCK_SEQPACKET socket, in BERTH_FDS as `channel`; the listening socket is `listen`. berth-metadata asks who
 * has an address of the network; berthd answers with the same serial and, if somebody has it, a descriptor: a memfd
 * with one JSON object of texts:
 *   {"name", "project", "type", "instance-id", "image", "ipv4", "mac", "user-data", "vendor-data", "network-config",
 *    "meta-data"}    the last four as the instance's config has them, or not there.
 * When the socket closes the process ends.
 */
#pragma once

#include <assert.h>
#include <stdint.h>

#define METADATA_VERSION 1

struct metadata_question {
	uint16_t version;
	uint16_t unused;
	uint32_t serial;
	uint8_t ipv4[4];
};
static_assert(sizeof(struct metadata_question) == 12, "wire");

struct metadata_answer {
	uint16_t version;
	uint16_t unused;
	uint32_t serial;
	uint32_t
		length; /* of the text in the descriptor; 0: nobody has the address, and there is none */
};
static_assert(sizeof(struct metadata_answer) == 12, "wire");
