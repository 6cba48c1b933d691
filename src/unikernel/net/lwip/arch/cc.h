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

#define LWIP_NO_CTYPE_H  1
#define LWIP_NO_UNISTD_H 1
#define LWIP_RAND()      net_random()

#define LWIP_PLATFORM_DIAG(message) \
	do { \
	} while (0)
#define LWIP_PLATFORM_ASSERT(message) kernel_panic("TCP/IP: " message)

typedef int sys_prot_t;
