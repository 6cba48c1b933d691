/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot.c - a unikernel that waits, as somebody else can go on with it.
 *
 * Theory of operation. No other thread runs while one waits, and all that the library OS has is in its memory, its
 * variables and one stack; so a mark on that stack is all there is to come back to. Vector registers and FS are still
 * those of the program.
 */
#include "unikernel/snapshot.h"

#include "unikernel/devices.h"
#include "unikernel/net/net.h"
#include "unikernel/process.h"
#include "unikernel/signals.h"
#include "unikernel/thread.h"
#include "unikernel/wide.h"

#define VECTOR_MOST 16384u

static struct {
	uint64_t rbx, rbp, r12, r13, r14, r15, rsp, rip;
} mark;
static uint64_t fs;
static uint8_t vector[VECTOR_MOST] __attribute__((aligned(64)));

/* resume.S: 0, and 1 when snapshot_back() comes to it. */
int snapshot_mark(void *to) __attribute__((returns_twice));
void snapshot_back(const void *to) __attribute__((__noreturn__));

int unikernel_snapshot_runs(memory_each_run *each, void *data)
{
	int r = memory_runs(each, data);
	if (r >= 0)
		r = wide_runs(each, data);
	return r < 0 ? r : load_fixed_runs(process_program(), each, data);
}

int unikernel_pause(int (*write)(void *data), void *data)
{
	if (vector_bytes() > sizeof(vector))
		return -E2BIG;
	fs = thread_fs();
	vector_save(vector);
	int r = snapshot_mark(&mark);
	if (r == 0)
		r = write(data);
	else
		thread_set_fs(fs);
	vector_restore(vector);
	return r;
}

void unikernel_set_suspend(int signal, void (*suspend)(void))
{
	signals_set_suspend(signal, suspend);
}

int unikernel_renew(const struct boot *boot)
{
	unikernel_must_look = true; /* a signal may have come before our variables did */
	devices_seed(boot->random);
	return net_plug(boot);
}

void unikernel_go(void)
{
	snapshot_back(&mark);
}
