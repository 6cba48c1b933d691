/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls_time.c - clocks, sleeping, alarms.
 */
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/times.h>

#include "unikernel/call.h"
#include "unikernel/events.h"
#include "unikernel/heap.h"
#include "unikernel/process.h"
#include "unikernel/signals.h"

#define NS_PER_SEC UINT64_C(1000000000)

static uint64_t start_ns;

static int64_t read_clock(uint64_t clock, uint64_t *ret)
{
	switch ((int)clock) {
	case CLOCK_REALTIME:
	case CLOCK_REALTIME_COARSE:
	case CLOCK_TAI:
		*ret = platform_clock_realtime();
		return 0;
	case CLOCK_PROCESS_CPUTIME_ID:
	case CLOCK_THREAD_CPUTIME_ID:
		if (!start_ns)
			start_ns = platform_clock_monotonic();
		*ret = platform_clock_monotonic() - start_ns;
		return 0;
	case CLOCK_MONOTONIC:
	case CLOCK_MONOTONIC_RAW:
	case CLOCK_MONOTONIC_COARSE:
	case CLOCK_BOOTTIME:
		*ret = platform_clock_monotonic();
		return 0;
	default:
		return -EINVAL;
	}
}

static int64_t serve_clock_gettime(struct registers *r)
{
	uint64_t ns = 0;
	int64_t e = read_clock(r->rdi, &ns);
	if (e == 0)
		*(struct timespec *)at(r->rsi) = timespec_of(ns);
	return e;
}

static int64_t serve_clock_getres(struct registers *r)
{
	uint64_t ns = 0;
	int64_t e = read_clock(r->rdi, &ns);
	if (e == 0 && r->rsi)
		*(struct timespec *)at(r->rsi) = timespec_of(1);
	return e;
}

static int64_t serve_gettimeofday(struct registers *r)
{
	uint64_t ns = platform_clock_realtime();
	if (r->rdi)
		*(struct timeval *)at(r->rdi) = (struct timeval){ (time_t)(ns / NS_PER_SEC),
			(suseconds_t)(ns % NS_PER_SEC / 1000) };
	return 0;
}

static int64_t serve_time(struct registers *r)
{
	int64_t now = (int64_t)(platform_clock_realtime() / NS_PER_SEC);
	if (r->rdi)
		*(time_t *)at(r->rdi) = now;
	return now;
}

static int64_t sleep_until(uint64_t deadline, struct timespec *left)
{
	int r = 0;
	while (r == 0)
		r = thread_wait(deadline);
	if (r == -ETIMEDOUT)
		return 0;
	uint64_t now = platform_clock_monotonic();
	if (left)
		*left = timespec_of(deadline > now ? deadline - now : 0);
	return -EINTR;
}

static bool is_good(const struct timespec *time)
{
	return time->tv_sec >= 0 && (uint64_t)time->tv_nsec < NS_PER_SEC;
}

static int64_t serve_nanosleep(struct registers *r)
{
	const struct timespec *time = at(r->rdi);
	if (!is_good(time))
		return -EINVAL;
	return sleep_until(platform_clock_monotonic() + ns_of(time), at(r->rsi));
}

static int64_t serve_clock_nanosleep(struct registers *r)
{
	const struct timespec *time = at(r->rdx);
	uint64_t now = 0;
	int64_t e = read_clock(r->rdi, &now);
	if (e < 0 || !is_good(time))
		return -EINVAL;
	uint64_t monotonic = platform_clock_monotonic();
	if (!(r->rsi & TIMER_ABSTIME))
		return sleep_until(monotonic + ns_of(time), at(r->r10));
	uint64_t until = ns_of(time);
	return sleep_until(until > now ? monotonic + (until - now) : monotonic, NULL);
}

/* One a process. */
struct alarm {
	struct timer timer;
	struct alarm *next;
	uint64_t interval_ns;
	int32_t owner;
};
static struct alarm *alarms;

static struct alarm *own_alarm(bool is_new)
{
	struct alarm *alarm = alarms;
	while (alarm && alarm->owner != process_id())
		alarm = alarm->next;
	for (struct alarm *old = alarms; !alarm && is_new && old; old = old->next)
		if (!old->timer.is_set)
			(alarm = old)->owner = process_id();
	if (alarm || !is_new)
		return alarm;
	alarm = heap_alloc(sizeof(*alarm));
	if (!alarm)
		return NULL;
	*alarm = (struct alarm){ .next = alarms, .owner = process_id() };
	return alarms = alarm;
}

static void ring(struct timer *timer)
{
	const struct alarm *alarm = (struct alarm *)timer;
	process_signal(alarm->owner, SIGALRM);
	if (alarm->interval_ns && process_is_there(alarm->owner))
		timer_set(timer, timer->deadline_ns + alarm->interval_ns);
}

static uint64_t alarm_interval(void)
{
	const struct alarm *alarm = own_alarm(false);
	return alarm ? alarm->interval_ns : 0;
}

static uint64_t alarm_left(void)
{
	uint64_t now = platform_clock_monotonic();
	const struct alarm *alarm = own_alarm(false);
	if (!alarm || !alarm->timer.is_set)
		return 0;
	return alarm->timer.deadline_ns > now ? alarm->timer.deadline_ns - now : 1;
}

static void alarm_set(uint64_t ns, uint64_t interval_ns)
{
	struct alarm *alarm = own_alarm(ns != 0);
	if (!alarm)
		return;
	alarm->timer.expire = ring;
	alarm->interval_ns = interval_ns;
	timer_cancel(&alarm->timer);
	if (ns)
		timer_set(&alarm->timer, platform_clock_monotonic() + ns);
}

static int64_t serve_alarm(struct registers *r)
{
	uint64_t left = alarm_left();
	alarm_set((uint32_t)r->rdi * NS_PER_SEC, 0);
	return (int64_t)((left + NS_PER_SEC - 1) / NS_PER_SEC);
}

static struct timeval timeval_of(uint64_t ns)
{
	return (struct timeval){ (time_t)(ns / NS_PER_SEC), (suseconds_t)(ns % NS_PER_SEC / 1000) };
}

static uint64_t ns_of_timeval(const struct timeval *time)
{
	return (uint64_t)time->tv_sec * NS_PER_SEC + (uint64_t)time->tv_usec * 1000;
}

static int64_t serve_setitimer(struct registers *r)
{
	if (r->rdi != ITIMER_REAL)
		return r->rdi <= ITIMER_PROF ? 0 : -EINVAL;
	struct itimerval old = { timeval_of(alarm_interval()), timeval_of(alarm_left()) };
	const struct itimerval *set = at(r->rsi);
	alarm_set(set ? ns_of_timeval(&set->it_value) : 0,
		set ? ns_of_timeval(&set->it_interval) : 0);
	if (r->rdx)
		memcpy(at(r->rdx), &old, sizeof(old));
	return 0;
}

static int64_t serve_getitimer(struct registers *r)
{
	struct itimerval now = {};
	if (r->rdi == ITIMER_REAL)
		now = (struct itimerval){ timeval_of(alarm_interval()), timeval_of(alarm_left()) };
	memcpy(at(r->rsi), &now, sizeof(now));
	return 0;
}

static int64_t serve_times(struct registers *r)
{
	if (r->rdi)
		*(struct tms *)at(r->rdi) = (struct tms){};
	return (int64_t)(platform_clock_monotonic() / 10000000);
}

const struct call calls_of_time[] = {
	{ SYS_clock_gettime, "clock_gettime", serve_clock_gettime },
	{ SYS_clock_getres, "clock_getres", serve_clock_getres },
	{ SYS_clock_nanosleep, "clock_nanosleep", serve_clock_nanosleep },
	{ SYS_nanosleep, "nanosleep", serve_nanosleep },
	{ SYS_gettimeofday, "gettimeofday", serve_gettimeofday },
	{ SYS_time, "time", serve_time },
	{ SYS_times, "times", serve_times },
	{ SYS_alarm, "alarm", serve_alarm },
	{ SYS_setitimer, "setitimer", serve_setitimer },
	{ SYS_getitimer, "getitimer", serve_getitimer },
	{ 0, NULL, NULL },
};
