/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock.h - addresses between guest and host as the kernel has them; not every C library declares them.
 */
#pragma once

#include <stdint.h>

#include "base/base.h"

#define VSOCK_FAMILY  40
#define VSOCK_CID_ANY UINT32_MAX

struct vsock_address {
	unsigned short family, reserved;
	uint32_t port, cid;
	uint8_t zero[16 - 12];
};

/* A connection to a port of the host, or -errno. */
int vsock_connect(uint32_t port) must_use;
