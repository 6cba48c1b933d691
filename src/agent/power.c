/* SPDX-License-Identifier: Apache-2.0 */
/*
 * power.c - signals for init, or the kernel's reboot.
 */
#include "agent/power.h"

#include <signal.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GRACE_SECONDS 3

void power_off(bool reboot_wanted)
{
	bool has_systemd = access("/run/systemd/system", F_OK) == 0;
	/* systemd: SIGRTMIN+4 is off, +5 reboot. Ourselves and busybox: SIGUSR2 off, SIGTERM reboot. */
	if (has_systemd)
		kill(1, SIGRTMIN + (reboot_wanted ? 5 : 4));
	else
		kill(1, reboot_wanted ? SIGTERM : SIGUSR2);
}

void power_off_now(bool reboot_wanted)
{
	time_t end = time(NULL) + GRACE_SECONDS;
	const struct timespec second = { .tv_sec = 1 };
	sigset_t children;
	sigemptyset(&children);
	sigaddset(&children, SIGCHLD);
	signal(SIGCHLD, SIG_DFL);
	sigprocmask(SIG_BLOCK, &children, NULL);
	kill(-1, SIGTERM);
	while (time(NULL) < end) {
		pid_t pid = waitpid(-1, NULL, WNOHANG);
		if (pid < 0)
			break; /* none is left */
		if (pid == 0)
			sigtimedwait(&children, NULL, &second);
	}
	kill(-1, SIGKILL);
	sync();
	reboot(reboot_wanted ? RB_AUTOBOOT : RB_POWER_OFF);
	for (;;)
		pause();
}
