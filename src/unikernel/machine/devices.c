/* SPDX-License-Identifier: Apache-2.0 */
/*
 * devices.c - the rest of platform.h on a machine.
 */
#include "unikernel/kernel.h"
#include "unikernel/machine/gate.h"
#include "unikernel/machine/wait.h"

#define FS_BASE 0xc0000100u

int platform_lock(void)
{
	return 0; /* the machine is the wall */
}

uint32_t platform_wait(uint64_t until_ns, bool wants_console)
{
	if (wants_console && platform_console_has_input())
		return PLATFORM_CONSOLE;
	wait_until(until_ns);
	return wants_console && platform_console_has_input() ? PLATFORM_CONSOLE : 0;
}

void platform_set_fs(uint64_t address)
{
	gate_write_register(FS_BASE, address);
}

/* No card and no volume is ever announced. */
int64_t platform_net_send(const struct iovec *parts, int count)
{
	(void)parts;
	(void)count;
	return -ENODEV;
}

int64_t platform_net_receive(void *to, size_t size)
{
	(void)to;
	(void)size;
	return -EAGAIN;
}

int64_t platform_volume_read(uint64_t offset, void *to, size_t size)
{
	(void)offset;
	(void)to;
	(void)size;
	return -ENODEV;
}

int64_t platform_volume_write(uint64_t offset, const void *from, size_t size)
{
	(void)offset;
	(void)from;
	(void)size;
	return -ENODEV;
}

int64_t platform_volume_flush(void)
{
	return -ENODEV;
}
