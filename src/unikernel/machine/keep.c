/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keep.c - a machine that its tender or its monitor keeps, and that goes on elsewhere.
 *
 * All that there is, is memory and registers, which the other side has; so a call to it is enough, and is answered twice. What
 * was told at the start is told anew: random bytes, the card, the time.
 */
#include "unikernel/machine/keep.h"

#include "abi/keep.h"
#include "unikernel/exit.h"
#include "unikernel/machine/card.h"
#include "unikernel/machine/clock.h"
#include "unikernel/machine/command.h"
#include "unikernel/machine/entropy.h"
#include "unikernel/machine/host.h"
#include "unikernel/machine/layout.h"
#include "unikernel/machine/pages.h"
#include "unikernel/machine/port.h"
#include "unikernel/machine/trap.h"
#include "unikernel/snapshot.h"

#define LINE_BYTES 4096u /* of a command line without a program's words */

static uint64_t start_at;
static uint64_t line_at;

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

/* The monitor pauses us while we read. */
static int keep_by_port(void *data)
{
	uint8_t place;
	(void)data;
	port_write8((uint16_t)machine_keep_port, 0);
	do
		place = port_read8((uint16_t)(machine_keep_port + 1));
	while (place == KEEP_STANDS);
	return place == KEEP_ELSEWHERE;
}

static void go_on_by_line(uint64_t then_ns)
{
	static char line[LINE_BYTES];
	static struct command command;
	static struct boot boot;
	const char *text = pages_see(line_at);
	size_t length = strlen(text);
	if (length >= sizeof(line))
		kernel_panic("the command line that it goes on with is too long");
	memcpy(line, text, length + 1);
	const char *wrong = command_read(line, &command);
	if (wrong)
		kernel_panic(wrong);
	clock_go_on(then_ns, 0, 0);
	entropy_make(boot.random, sizeof(boot.random));
	boot.net = command.net;
	boot.flags = command.has_no_card ? 0 : card_again(&boot.net);
	if (unikernel_renew(&boot) < 0)
		kernel_panic("there is not enough memory for the network");
}

static void keep_here_by_port(void)
{
	uint64_t then_ns = platform_clock_monotonic();
	int r = unikernel_pause(keep_by_port, NULL);
	if (r < 0) /* it has not been called */
		port_write8((uint16_t)machine_keep_port, (uint8_t)-r);
	else if (r == 1)
		go_on_by_line(then_ns);
}

void keep_start_by_port(uint16_t port, uint64_t line)
{
	line_at = line;
	unikernel_set_suspend(KEEP_SIGNAL, keep_here_by_port);
	machine_keep_port = port;
}
