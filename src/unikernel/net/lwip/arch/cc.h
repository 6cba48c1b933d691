/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cc.h - what lwIP asks of a compiler and a platform: ours is freestanding and has one thread.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#ifndef SSIZE_MAX /* else lwIP makes an ssize_t of its own */
#define SSIZE_MAX LONG_MAX
#endif

void kernel_panic(const char *sentence) __attribute__((__noreturn__));
uint32_t net_random(void);

/* One instruction instead of a call; a segment has dozens. */
#define lwip_htons(x) ((uint16_t)__builtin_bswap16(x))
#define lwip_htonl(x) ((uint32_t)__builtin_bswap32(x))

#define LWIP_DONT_PROVIDE_BYTEORDER_FUNCTIONS 1
#define LWIP_NO_CTYPE_H                       1
#define LWIP_NO_UNISTD_H                      1
#define LWIP_RAND()                           net_random()

#define LWIP_PLATFORM_DIAG(message) \
	do { \
	} while (0)
#define LWIP_PLATFORM_ASSERT(message) kernel_panic("TCP/IP: " message)

typedef int sys_prot_t;
