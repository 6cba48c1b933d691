/* SPDX-License-Identifier: Apache-2.0 */
/*
 * signals.h - what a program does with signals, and how one reaches it.
 */
#pragma once

#include "unikernel/thread.h"

/* Where a rewritten call begins; calls that are repeated go there. */
void signals_set_entry(uint64_t address);

/* Sends a signal to a thread, or with NULL to whichever thread of the program takes it. */
void signals_send(struct thread *thread, int signal, const siginfo_t *info);

/* See unikernel_set_suspend(). */
void signals_set_suspend(int signal, void (*to)(void));

/* Hands on what came from outside (platform_signals). */
void signals_take_outside(void);

/* As the kernel itself sends it. */
void signals_raise(struct thread *thread, int signal);

/* Takes a signal of the thread back that was raised in this call. */
void signals_take_back(int signal);

/*
 * Before the program goes on: if a signal waits, lets `registers` go to its handler, or ends the program. True if
 * the registers have to be restored as a whole.
 */
bool signals_deliver(struct registers *registers);

/* A fault: its handler or the end, whatever is blocked. */
void signals_fault(struct registers *registers, int signal, int code, uint64_t address);

/*
 * A fault of the library OS while it wrote a frame for the program or read one: the program's stack is not there, which is
 * a SIGSEGV of its own. False if it did neither.
 */
bool signals_frame_failed(struct registers *registers);

/* Called before a signal ends the program: returns if it ends all of it. */
void signals_set_end(void (*end)(int signal));

/* What is done with each signal and what waits: a copy, which heap_free() ends, and its return. */
struct signals_copy *signals_copy(void);
void signals_put_back(struct signals_copy *copy);

/* To a process that does not run. */
void signals_send_aside(
	struct signals_copy *copy, uint32_t group, int signal, const siginfo_t *info);

/* Whether it waits for its children (NULL: who runs). */
bool signals_want_children(const struct signals_copy *copy);

/* Who hands on what came from outside, and serves kill(2). */
void signals_set_outside(void (*to)(int signal));
void signals_set_kill(int64_t (*to)(int32_t wanted, int signal));

/* As exec does: handlers are gone, what is ignored stays so. */
void signals_reset(void);

int64_t signals_action(struct registers *r);
int64_t signals_mask(struct registers *r);
int64_t signals_pending(struct registers *r);
int64_t signals_suspend(struct registers *r);
int64_t signals_stack(struct registers *r);
int64_t signals_wait(struct registers *r);
int64_t signals_kill(struct registers *r);
int64_t signals_tgkill(struct registers *r);
int64_t signals_return(struct registers *r);

/* For ppoll and its kind: blocks `mask` instead until the call is over. */
void signals_block_for_call(uint64_t mask);
void signals_end_call(void);
