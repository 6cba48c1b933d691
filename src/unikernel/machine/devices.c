/* SPDX-License-Identifier: Apache-2.0 */
/*
 * devices.c - the rest of platform.h on a machine: by calls to its tender or by the machine's own devices.
 */
#include <sys/uio.h>

#include "unikernel/kernel.h"
#include "unikernel/machine/button.h"
#include "unikernel/machine/card.h"
#include "unikernel/machine/console.h"
#include "unikernel/machine/gate.h"
#include "unikernel/machine/host.h"
#include "unikernel/machine/parts.h"
#include "unikernel/machine/trap.h"
#include "unikernel/machine/wait.h"

#define FS_BASE      0xc0000100u
#define HEADER_BYTES 12u               /* struct virtio_net_hdr_v1 */
#define LOOK_AGAIN   UINT64_C(1000000) /* ns: where a device wakes nobody */

int platform_lock(void)
{
	/* The machine is the wall. */
	if (host_is_there)
		(void)host_call(MACHINE_BEGIN, 0, 0, 0);
	return 0;
}

int64_t platform_console_write(int stream, const void *data, size_t size)
{
	if (host_is_there)
		return host_transfer(MACHINE_CONSOLE_WRITE, (uint64_t)stream,
			(void *)(uintptr_t)data, size, false);
	return console_write(data, size);
}

int64_t platform_console_read(void *data, size_t size)
{
	if (host_is_there)
		return host_transfer(MACHINE_CONSOLE_READ, 0, data, size, true);
	return console_read(data, size);
}

bool platform_console_has_input(void)
{
	return host_is_there ? host_call(MACHINE_CONSOLE_READY, 0, 0, 0) > 0 : console_has_input();
}

void platform_exit(int status)
{
	trap_report();
	if (host_is_there)
		(void)host_call(MACHINE_EXIT, (uint64_t)status, 0, 0);
	console_exit(status);
}

static uint32_t wait_for_host(uint64_t until_ns, bool wants_console)
{
	uint64_t now = platform_clock_monotonic();
	uint64_t left = until_ns > now ? until_ns - now : 0;
	int64_t ready = host_call(MACHINE_WAIT, platform_signals ? 0 : left, wants_console, 0);
	return ready > 0 ? (uint32_t)ready : 0;
}

static uint32_t what_is_ready(bool wants_console)
{
	return (wants_console && console_has_input() ? PLATFORM_CONSOLE : 0u) |
		(card_has_frame() ? PLATFORM_NET : 0u);
}

uint32_t platform_wait(uint64_t until_ns, bool wants_console)
{
	if (host_is_there)
		return wait_for_host(until_ns, wants_console);
	button_release();
	uint32_t ready = what_is_ready(wants_console);
	uint64_t now = platform_clock_monotonic();
	if (ready || until_ns <= now || platform_signals)
		return ready;
	parts_listen(true);
	if (!what_is_ready(wants_console) && !platform_signals) {
		bool is_short = !parts_wake() && until_ns - now > LOOK_AGAIN;
		wait_until(is_short ? now + LOOK_AGAIN : until_ns);
	}
	parts_listen(false);
	return what_is_ready(wants_console);
}

void platform_set_fs(uint64_t address)
{
	gate_write_register(FS_BASE, address);
}

int64_t platform_net_send(const struct iovec *parts, int count)
{
	if (!host_is_there)
		return card_send(parts, count);
	return host_has_header ? host_send(parts, count) : host_send(parts + 1, count - 1);
}

int64_t platform_net_receive(void *to, size_t size)
{
	uint64_t head = host_has_header ? 0 : HEADER_BYTES;
	if (!host_is_there)
		return card_take(to, size);
	memset(to, 0, head);
	int64_t got =
		host_transfer(MACHINE_NET_RECEIVE, 0, (uint8_t *)to + head, size - head, true);
	return got < 0 ? got : got + (int64_t)head;
}

int64_t platform_volume_read(uint64_t offset, void *to, size_t size)
{
	if (!host_is_there)
		return parts_volume() ? disk_read(parts_volume(), offset, to, size) : -ENODEV;
	return host_transfer(MACHINE_VOLUME_READ, offset, to, size, true);
}

int64_t platform_volume_write(uint64_t offset, const void *from, size_t size)
{
	if (!host_is_there)
		return parts_volume() ? disk_write(parts_volume(), offset, from, size) : -ENODEV;
	return host_transfer(MACHINE_VOLUME_WRITE, offset, (void *)(uintptr_t)from, size, false);
}

int64_t platform_volume_flush(void)
{
	if (!host_is_there)
		return parts_volume() ? disk_flush(parts_volume()) : -ENODEV;
	return host_call(MACHINE_VOLUME_FLUSH, 0, 0, 0);
}
