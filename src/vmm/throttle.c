/* SPDX-License-Identifier: Apache-2.0 */
/*
 * throttle.c - tokens come with time; a request may go while there is one.
 */
#include "vmm/throttle.h"

void throttle_init(struct throttle *throttle, uint64_t rate, uint64_t now_ns)
{
	uint64_t burst = rate / 10 ? rate / 10 : 1;
	*throttle = (struct throttle){
		.rate = rate,
		.burst = burst,
		.tokens = (int64_t)burst,
		.at_ns = now_ns,
	};
}

uint64_t throttle_wait(struct throttle *throttle, uint64_t now_ns)
{
	if (throttle->rate == 0)
		return 0;
	uint64_t passed = now_ns > throttle->at_ns ? now_ns - throttle->at_ns : 0;
	if (passed > NS_PER_SEC)
		passed = NS_PER_SEC;
	uint64_t more = (uint64_t)((unsigned __int128)passed * throttle->rate / NS_PER_SEC);
	if (more > 0 || passed == NS_PER_SEC) {
		throttle->tokens += (int64_t)more;
		if (throttle->tokens > (int64_t)throttle->burst)
			throttle->tokens = (int64_t)throttle->burst;
		throttle->at_ns = now_ns;
	}
	if (throttle->tokens > 0)
		return 0;
	uint64_t missing = (uint64_t)(1 - throttle->tokens);
	return (uint64_t)((unsigned __int128)missing * NS_PER_SEC / throttle->rate) + 1;
}

void throttle_take(struct throttle *throttle, uint64_t units)
{
	if (throttle->rate)
		throttle->tokens -= (int64_t)units;
}
