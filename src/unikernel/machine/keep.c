/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keep.c - a machine that its tender keeps, and that goes on elsewhere.
 *
 * All that there is, is memory and registers, which the tender has; so a call to it is enough, and is answered twice. What
 * another tender told at the start is told anew: random bytes, the card, the time.
 */
#include "unikernel/machine/keep.h"

#include "unikernel/exit.h"
#include "unikernel/machine/clock.h"
#include "unikernel/machine/host.h"
#include "unikernel/machine/pages.h"
#include "unikernel/snapshot.h"

static uint64_t start_at;

static int keep(void *data)
{
	(void)data;
	return (int)host_call(MACHINE_KEEP, 0, 0, 0);
}

static void go_on(uint64_t then_ns)
{
	static struct machine_start start;
	start = *(const struct machine_start *)pages_see(start_at);
	host_start((start.boot.flags & BOOT_NET_OFFLOAD) != 0);
	clock_go_on(then_ns, start.cycles_per_second, start.realtime_ns);
	if (unikernel_renew(&start.boot) < 0)
		kernel_panic("there is not enough memory for the network");
	(void)host_call(MACHINE_BEGIN, 0, 0, 0);
}

static void keep_here(void)
{
	uint64_t then_ns = platform_clock_monotonic();
	int r = unikernel_pause(keep, NULL);
	if (r < 0) /* it has not been called */
		(void)host_call(MACHINE_KEEP, (uint64_t)-r, 0, 0);
	else if (r == 1)
		go_on(then_ns);
}

void keep_start(uint64_t at, int signal)
{
	start_at = at;
	unikernel_set_suspend(signal, keep_here);
}
