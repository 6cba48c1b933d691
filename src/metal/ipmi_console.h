/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipmi_console.h - the IPMI driver's serial over LAN.
 */
#pragma once

#include "metal/bmc.h"

struct ipmi;

int ipmi_console_open(struct bmc *bmc, const struct bmc_console_calls *calls, struct error *e);
void ipmi_console_write(struct bmc *bmc, const void *bytes, size_t length);
void ipmi_console_close(struct bmc *bmc);
/* The session is up, or gone. */
void ipmi_console_up(struct ipmi *ipmi);
void ipmi_console_down(struct ipmi *ipmi, const char *why);
