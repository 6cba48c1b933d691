/* SPDX-License-Identifier: Apache-2.0 */
/*
 * namespace.h - a network namespace of a test's own, so that nothing of the machine is touched.
 */
#pragma once

#include <sched.h>

#include "test.h"

/* Call once at the start of each test that makes interfaces: each has an empty network. */
static inline void enter_new_network(void)
{
	if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		test_skip("this machine gives no network namespace");
}
