/* SPDX-License-Identifier: Apache-2.0 */
/*
 * address.h - addresses of the internet as text.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Reads one; what stands behind it, or NULL if it is none. */
const char *address_read4(const char *text, uint8_t ret[4]);
const char *address_read6(const char *text, uint8_t ret[16]);
