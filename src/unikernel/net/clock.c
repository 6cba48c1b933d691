/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock.c - lwIP's timers, asleep when there is nothing to time.
 *
 * Theory of operation. lwIP wants some functions called at fixed intervals for ever. An idle instance that woke for
 * them would cost the host more than it does itself, so their time is made up later: a tick that is due only
 * because time passes is called, as often as it was missed, when something else wakes the instance, and at the
 * latest after a minute. TCP's own tick runs on time while a connection has anything under way.
 */
#include "unikernel/net/clock.h"

#include <lwip/dhcp.h>
#include <lwip/etharp.h>
#include <lwip/igmp.h>
#include <lwip/ip4_frag.h>
#include <lwip/ip6_frag.h>
#include <lwip/mld6.h>
#include <lwip/nd6.h>
#include <lwip/priv/tcp_priv.h>
#include <lwip/sys.h>
#include <lwip/timeouts.h>

#define NS_PER_MS UINT64_C(1000000)
#define LAZY_NS   (60000 * NS_PER_MS)
#define AWAKE_NS \
	(5000 * NS_PER_MS) /* after a frame: neighbours, leases and reports may be under way */
#define MISSED_MOST 1200u

struct tick {
	void (*call)(void);
	uint32_t interval_ms;
	uint64_t next_ns;
};

static struct tick ticks[] = {
	{ tcp_tmr, TCP_TMR_INTERVAL, 0 },
	{ etharp_tmr, ARP_TMR_INTERVAL, 0 },
	{ ip_reass_tmr, IP_TMR_INTERVAL, 0 },
	{ dhcp_fine_tmr, DHCP_FINE_TIMER_MSECS, 0 },
	{ dhcp_coarse_tmr, DHCP_COARSE_TIMER_MSECS, 0 },
	{ nd6_tmr, ND6_TMR_INTERVAL, 0 },
	{ ip6_reass_tmr, IP6_REASS_TMR_INTERVAL, 0 },
	{ igmp_tmr, IGMP_TMR_INTERVAL, 0 },
	{ mld6_tmr, MLD6_TMR_INTERVAL, 0 },
};
#define TICK_TCP ticks[0]

static uint64_t awake_until_ns;
static struct timer timer;

u32_t sys_now(void)
{
	return (u32_t)(platform_clock_monotonic() / NS_PER_MS);
}

/* lwIP says so when the first connection comes; clock_run() looks for itself. */
void tcp_timer_needed(void)
{
}

/* lwIP's start; there is nothing to set up. */
void sys_timeouts_init(void);
void sys_timeouts_init(void)
{
}

static bool is_under_way(const struct tcp_pcb *pcb)
{
	return pcb->unsent || pcb->unacked || pcb->ooseq || pcb->refused_data ||
		pcb->state != ESTABLISHED || pcb->persist_backoff != 0 ||
		(pcb->flags & (TF_ACK_DELAY | TF_ACK_NOW | TF_CLOSEPEND | TF_FIN)) != 0;
}

static bool tcp_is_busy(void)
{
	for (const struct tcp_pcb *pcb = tcp_active_pcbs; pcb; pcb = pcb->next)
		if (is_under_way(pcb))
			return true;
	return false;
}

static void wake(struct timer *expired)
{
	(void)expired; /* net_poll() follows: who waits looks at its devices */
}

static void run_tick(struct tick *tick, uint64_t now)
{
	uint64_t interval = tick->interval_ms * NS_PER_MS;
	if (tick->next_ns == 0)
		tick->next_ns = now + interval;
	for (uint32_t i = 0; tick->next_ns <= now && i < MISSED_MOST; i++) {
		tick->call();
		tick->next_ns += interval;
	}
	if (tick->next_ns <= now)
		tick->next_ns = now + interval;
}

void clock_stay_awake(uint64_t now)
{
	awake_until_ns = now + AWAKE_NS;
}

void clock_run(bool has_card)
{
	uint64_t now = platform_clock_monotonic(), next = now + LAZY_NS;
	if (awake_until_ns == 0)
		clock_stay_awake(now);
	for (size_t i = 0; i < COUNT(ticks); i++)
		if (ticks[i].next_ns <= now)
			run_tick(&ticks[i], now);
	bool is_awake = has_card && now < awake_until_ns;
	for (size_t i = 1; i < COUNT(ticks) && is_awake; i++)
		if (ticks[i].next_ns < next)
			next = ticks[i].next_ns;
	if (TICK_TCP.next_ns < next && tcp_is_busy())
		next = TICK_TCP.next_ns;
	if (!has_card && !tcp_active_pcbs) {
		timer_cancel(&timer);
		return;
	}
	if (timer.is_set && timer.deadline_ns == next)
		return;
	timer.expire = wake;
	timer_set(&timer, next);
}
