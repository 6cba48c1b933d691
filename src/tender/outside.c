/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outside.c - the same for a locked process and for a machine.
 */
#include "tender/outside.h"

#include <signal.h>
#include <sys/time.h>

#include "abi/boot.h"
#include "tender/snapshot.h"

static_assert(BOOT_TICK == SIGVTALRM, "what the timer sends");

int outside_catch(int (*catch)(int number), bool can_suspend, struct error *e)
{
	static const int outside[] = { SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTERM, SIGWINCH,
		BOOT_TICK };
	const struct timeval tick = { 0, BOOT_TICK_US };
	for (size_t i = 0; i < ARRAY_SIZE(outside); i++)
		if (catch (outside[i]) < 0)
			return error_errno(e, "the handler of signals");
	if (can_suspend && catch (SUSPEND_SIGNAL) < 0)
		return error_errno(e, "the handler of snapshots");
	/* Of what it computes itself: who waits is not disturbed. */
	if (setitimer(ITIMER_VIRTUAL, &(struct itimerval){ tick, tick }, NULL) < 0)
		return error_errno(e, "a timer");
	/* Who writes beyond the end of its volume, or to a console whose other end is closed, is told so. */
	if (signal(SIGXFSZ, SIG_IGN) == SIG_ERR || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return error_errno(e, "ignore signals");
	return 0;
}
