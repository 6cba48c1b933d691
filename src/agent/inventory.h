/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inventory.h - what a server is made of, as its own kernel sees it, in JSON.
 */
#pragma once

#include "base/text.h"

/*
 * {"system": {"vendor", "product", "serial", "uuid", "bios"}, "firmware": "bios" | "uefi",
 *  "cpus": {"count", "sockets", "model"}, "memory_bytes", "disks": [{"name", "model", "serial", "bytes", "kind"}],
 *  "nics": [{"name", "mac", "driver", "speed_mbit", "has_link"}], "tpm": {"version", "pcrs": ["hex", ...]} | null,
 *  "has_bmc", "kernel", "boot_ms"}
 */
void inventory_add(struct text *text);
