/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipmi_suite.h - cipher suite 17 (HMAC-SHA256, AES-CBC-128) for OpenIPMI, which has those with SHA-1 and MD5 only.
 */
#pragma once

#include "base/base.h"

#define IPMI_SUITE_SHA1   3
#define IPMI_SUITE_SHA256 17

/* Teaches the library, once a process, after ipmi_init(). `only` 17: it forgets the others; 0: it has all.
 * `begun` is told the connection's user_data when a BMC takes suite 17. */
void ipmi_suite_register(unsigned int only, void (*begun)(void *user_data));

/* The algorithms of a suite, as the library numbers them. */
struct ipmi_suite {
	int authentication, integrity, confidentiality;
};
struct ipmi_suite ipmi_suite_of(unsigned int suite);

/* A session was refused because of its algorithms; `code` as the library has it. */
bool ipmi_suite_is_refused(int code);
