/* SPDX-License-Identifier: Apache-2.0 */
/*
 * platform.h - all that the library OS asks of what it runs on.
 *
 * Each platform implements these; nothing else in this folder knows where it runs. Addresses are the
 * program's own. Errors are negative errno values of Linux.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/boot.h"

#define PLATFORM_READ    1
#define PLATFORM_WRITE   2
#define PLATFORM_EXECUTE 4

/* Memory at exactly this address, where nothing is yet: zero, readable and writable. -EEXIST if something is. */
int platform_map(uint64_t address, uint64_t size);
void platform_unmap(uint64_t address, uint64_t size);

/* Memory that was made by the platform, or shows the image, becomes as platform_map() makes it. */
int platform_renew(uint64_t address, uint64_t size);

/*
 * The same memory shows what stands at `from`, whole pages of the root's image, until it is written to. Negative where
 * the platform cannot (-ENOTSUP) or `from` is not in the image. Only so does anything become executable after
 * platform_lock(); what is executable is not writable.
 */
int platform_map_image(uint64_t address, uint64_t size, uint64_t from, int rights);

/* Sets the rights of pages; PLATFORM_EXECUTE only before platform_lock(). */
int platform_protect(uint64_t address, uint64_t size, int rights);

/* Gives the content of pages back; they read as zero afterwards, but those that show the image: they may show it or zero. */
void platform_release(uint64_t address, uint64_t size);

/* From here on nothing outside the unikernel can be reached but by the functions below. */
int platform_lock(void);

/* Stream 1 is output, 2 errors. */
int64_t platform_console_write(int stream, const void *data, size_t size);
int64_t platform_console_read(void *data, size_t size); /* 0 at the end, -EAGAIN if there is none */
bool platform_console_has_input(void);                  /* or its end */

uint64_t platform_clock_monotonic(void); /* ns */
uint64_t platform_clock_realtime(void);  /* ns since the epoch */

#define PLATFORM_CONSOLE 1u
#define PLATFORM_NET     2u

/*
 * Waits until the console has input (if `wants_console`), the network has a frame, or the monotonic clock passes
 * `until_ns` (UINT64_MAX: for ever). Returns which of the two may have something; a set bit without anything is no fault.
 */
uint32_t platform_wait(uint64_t until_ns, bool wants_console);

/*
 * The network card, if BOOT_NET says that there is one. A frame of Ethernet stands behind a struct
 * virtio_net_hdr_v1 (12 bytes; zero without BOOT_NET_OFFLOAD). Neither call waits. Sending takes all bytes or
 * loses the frame; receiving returns header and frame together, or -EAGAIN.
 */
struct iovec;
int64_t platform_net_send(const struct iovec *parts, int count);
int64_t platform_net_receive(void *to, size_t size);

/* The volume, if there is one: what was asked for or a negative errno; nothing beyond its end. */
int64_t platform_volume_read(uint64_t offset, void *to, size_t size);
int64_t platform_volume_write(uint64_t offset, const void *from, size_t size);
int64_t platform_volume_flush(void);

/*
 * Signals that came from outside, a bit each (signal - 1); who takes them clears the bits. A wait ends by one. BOOT_TICK is no
 * signal: the program has computed for a while, and others may want to. Who sets one sets unikernel_must_look (kernel.h),
 * too, and not before.
 */
extern volatile uint64_t platform_signals __attribute__((__visibility__("hidden")));

void platform_set_fs(uint64_t address);

void platform_exit(int status) __attribute__((__noreturn__));
