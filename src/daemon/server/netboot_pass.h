/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netboot_pass.h - what a server gets that looks at the network first and is to boot its disk.
 *
 * iPXE can't leave by itself on UEFI: once it has driven the card through the firmware's driver, its exit hangs (1.0.0 of
 * Debian 12). So such a server is not given iPXE at all, but a program whose answer is "not found": the firmware goes on
 * to its next device at once.
 */
#pragma once

#include "daemon/service.h"

/* The program, for firmware that loads over HTTP. */
const uint8_t *netboot_pass_program(size_t *ret_length);

/* For firmware that loads over TFTP: from now on `host` ("10.77.0.10/24") passes, or boots what all others boot. */
void netboot_pass_set(const struct service *service, const char *host, bool does_pass);
