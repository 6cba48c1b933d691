/* SPDX-License-Identifier: Apache-2.0 */
/*
 * power.c - signals for init, or the kernel's reboot.
 */
#include "agent/power.h"

#include <signal.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SYSTEMD_RTMIN   34
#define GRACE_SECONDS   3
#define UNKNOWN_SECONDS 10

static bool is_ourselves(void)
{
	struct stat us, first;
	return stat("/proc/self/exe", &us) == 0 && stat("/proc/1/exe", &first) == 0 &&
		us.st_dev == first.st_dev && us.st_ino == first.st_ino;
}

void power_off(bool reboot_wanted)
{
	/* systemd: RTMIN+4 is off, +5 reboot, as its C library counts: ours counts otherwise. Ourselves and busybox: SIGUSR2 off, SIGTERM reboot. */
	if (access("/run/systemd/system", F_OK) == 0) {
		kill(1, SYSTEMD_RTMIN + (reboot_wanted ? 5 : 4));
		return;
	}
	kill(1, reboot_wanted ? SIGTERM : SIGUSR2);
	if (is_ourselves())
		return;
	/* An init that does not know the signal: then without it. */
	const struct timespec grace = { .tv_sec = UNKNOWN_SECONDS };
	setsid();
	nanosleep(&grace, NULL);
	sync();
	reboot(reboot_wanted ? RB_AUTOBOOT : RB_POWER_OFF);
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
