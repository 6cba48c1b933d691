/* SPDX-License-Identifier: Apache-2.0 */
/*
 * direct_trace.h - how a process is held, and how the host's calls are made there.
 */
#pragma once

#include <stdatomic.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#undef PAGE_MASK /* of sys/user.h */

#include "vmm/soft/direct_child.h"

#define DIRECT_SYSCALL_STOP (SIGTRAP | 0x80)

/* The host's selectors. */
#define USER_CS   0x33u
#define USER_SS   0x2bu
#define USER_CS32 0x23u

struct direct_process {
	int pid;
	uint64_t page_at; /* where the monitor's pages are */
	struct direct_call *list;
	uint64_t vdso;      /* where the monitor has it */
	uint64_t native_id; /* EFLAGS.ID as it is there */
	uint64_t used_us;   /* its CPU time as of the last stop */
	bool traps_cpuid, is_dead, is_reaped;
	atomic_bool runs, is_kicked;
	uint8_t *vectors; /* the image of the process as last seen or set */
	size_t vectors_bytes;
	uint64_t vectors_kept;  /* components that are not the guest's */
	uint32_t keys_at, keys; /* PKRU in there, and as it was in the beginning */
};

/* As ptrace(2): one that was made by this thread. */
long direct_trace(struct direct_process *process, int request, void *address, void *data);
int direct_trace_get(struct direct_process *process, struct user_regs_struct *ret) must_use;
int direct_trace_set(struct direct_process *process, const struct user_regs_struct *regs) must_use;

/* The next stop; false when it is dead. */
bool direct_trace_wait(struct direct_process *process, int *ret_status) must_use;
void direct_trace_signal(const struct direct_process *process, int signal);

/* Begins: it goes on. */
int direct_trace_attach(struct direct_process *process) must_use;

struct user_regs_struct direct_trace_at(uint64_t rip);

/* What the call returns there, or -ESRCH and it is dead. */
int64_t direct_trace_call(struct direct_process *process, const struct direct_call *call) must_use;
/* The first of the list; -ENOMEM if one or more failed, or all. */
int direct_trace_calls(struct direct_process *process, size_t count) must_use;
