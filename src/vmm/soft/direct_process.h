/* SPDX-License-Identifier: Apache-2.0 */
/*
 * direct_process.h - a process whose memory is nothing but a guest's user half, run until it needs somebody.
 *
 * It belongs to the thread that made it, before that locked itself in, and ends with it. Only
 * direct_process_kick() may be called by others, and direct_process_free() when that thread has ended.
 */
#pragma once

#include <sys/user.h>
#undef PAGE_MASK /* of sys/user.h */

#include "base/base.h"
#include "base/error.h"

/* What can be mapped, and what the bases of FS and GS can be, is below. */
#define DIRECT_END UINT64_C(0x7ffffffff000)

/* What the registers are afterwards: as they were before the instruction at rip, unless it says otherwise. */
enum direct_exit {
	DIRECT_FAULT, /* the instruction wants `address`, of which it has no such access */
	/*
	 * At a SYSCALL or INT 0x80. RCX and R11 are what SYSCALL makes of them, so that it can be done (again);
	 * of RAX an INT 0x80 has lost the upper half.
	 */
	DIRECT_SYSCALL,
	DIRECT_SYSENTER, /* what it leaves are addresses of the host: the registers are as given, there is no way back */
	DIRECT_INT3, /* behind it: the bytes may be others by now */
	DIRECT_STEP, /* behind an instruction that was done with TF set: its trap is due */
	DIRECT_TRAP, /* at one with an exception or one that cannot run there */
	DIRECT_KICKED,
	DIRECT_GONE, /* the process is dead, the registers are as given */
	DIRECT_LOST, /* it died with the registers */
};

struct direct_process;

/*
 * A locked process that stands still, in which nothing is mapped. It can map parts of `memfd`, and those of `image`
 * (-1: there is none) without the right to write, and nothing else. Calling thread's user and rights are its own. A sentence where that is not allowed.
 */
int direct_process_new(int memfd, int image, struct direct_process **ret, struct error *e) must_use;

/* Whether that can be done here. */
int direct_process_probe(struct error *e) must_use;

/* Ends it. */
void direct_process_free(struct direct_process *process);
DEFINE_CLEANUP(struct direct_process *, direct_process_free);

/* CPUID ends with DIRECT_TRAP there. If not: where the host's CPU cannot do that. */
bool direct_process_traps_cpuid(const struct direct_process *process);

/*
 * Of what is there: bytes of the memfd from `offset` on, or nothing if `prot` (PROT_*) is 0; of the image if it has
 * DIRECT_IMAGE, too. Multiples of a page.
 */
#define DIRECT_IMAGE 0x100

struct direct_change {
	uint64_t linear, bytes, offset;
	int prot;
};

#define DIRECT_CHANGES 128 /* at once */

/*
 * In this order. -EINVAL, and nothing is done, if one is beyond DIRECT_END or empty. -ENOMEM: one failed (too many pieces,
 * the first 64 KiB, no memory), and now nothing at all is mapped. -ESRCH: it is dead.
 */
int direct_process_change(
	struct direct_process *process, const struct direct_change *changes, size_t count) must_use;
int direct_process_unmap_all(struct direct_process *process) must_use;

/*
 * The vectors: an XSAVE image in standard format, of which x87, SSE, AVX and AVX-512 count. `bytes` may be less than
 * the host's image has, 576 at least. They stay in the process from run to run.
 */
int direct_process_load_vectors(
	struct direct_process *process, const void *xsave, size_t bytes) must_use;
int direct_process_save_vectors(struct direct_process *process, void *xsave, size_t bytes) must_use;

/* These registers can be taken there: flat 64-bit code of ring 3, interrupts on, no TF. */
bool direct_process_can(const struct user_regs_struct *regs);

/*
 * Runs guest code natively until something happens. DIRECT_TRAP at once if the registers are none that can be
 * taken. Selectors may have changed: code there can load those of the host.
 */
enum direct_exit direct_process_run(
	struct direct_process *process, struct user_regs_struct *regs, uint64_t *address);

/* Ends the present run, or else the next one at once. */
void direct_process_kick(struct direct_process *process);

int direct_process_id(const struct direct_process *process);

/* Its CPU time as of its last stop: what a run has been worth, however long it had to wait for a CPU. */
uint64_t direct_process_used_us(const struct direct_process *process);
