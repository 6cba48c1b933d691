/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tap.h - a tap interface as the network card of a unikernel.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

#define TAP_HEADER_BYTES 12 /* struct virtio_net_hdr_v1 */

/*
 * Opens the tap that exists, or takes over the descriptor "@N", which stays open; not to be waited for. With
 * `ret_has_header` frames stand behind a virtio header, checksums and segments are the host's, if the tap can
 * that: *ret_has_header says so.
 */
int tap_open(const char *what, int *ret, uint16_t *ret_mtu, bool *ret_has_header,
	struct error *e) must_use;
