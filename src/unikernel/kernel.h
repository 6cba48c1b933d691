/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernel.h - the library OS as its parts see each other.
 *
 * Freestanding: no libc, no floating point, one host thread. A function that serves a call returns its
 * result or a negative errno.
 */
#pragma once

#include <errno.h>

#include "abi/boot.h"
#include "unikernel/platform.h"
#include "unikernel/registers.h"

#define KERNEL_PAGE  4096u
#define KERNEL_STACK (32u * 1024)

/* Runs the program of `boot` until it exits. */
void kernel_main(const struct boot *boot) __attribute__((__noreturn__));

/* Serves the call whose registers stand on the kernel stack. */
void unikernel_call(struct registers *registers);

/* What follows a call that was served: signals; and it goes back otherwise than by returning if one is handled. */
void unikernel_after(struct registers *registers);

/*
 * Not 0: that has something to do, or may have. Set by whoever makes a signal, blocks fewer of them, blocks others for a call,
 * sets all registers, or lets another thread run.
 */
extern volatile uint64_t unikernel_must_look __attribute__((__visibility__("hidden")));

/* A fault of the processor, as a platform reports it. */
struct fault {
	struct registers registers;
	int32_t signal, code;
	uint64_t address;
	bool is_in_call; /* the library OS was at work: it was given a bad pointer */
};
/* The program, not a call of it, was interrupted by a signal from outside; the registers stand on its kernel stack. */
void unikernel_interrupt(struct registers *registers) __attribute__((__noreturn__));
void unikernel_fault(const struct fault *fault) __attribute__((__noreturn__));

/* Goes on with exactly these registers, which stand on a kernel stack. */
void unikernel_continue(struct registers *registers) __attribute__((__noreturn__));

void unikernel_start(uint64_t rip, uint64_t rsp) __attribute__((__noreturn__));
void unikernel_entry(void);
void unikernel_trap(void);
void unikernel_resume(void);
extern const char unikernel_resume_end[] __attribute__((__visibility__("hidden")));
void unikernel_trap_fault(void);

/* memory.c */
void memory_init(uint64_t address, uint64_t size);
uint64_t memory_alloc(
	uint64_t bytes); /* zeroed pages for the library OS itself; 0 if there are none */
void memory_free(uint64_t address, uint64_t bytes);
uint64_t memory_total(void); /* bytes */
uint64_t memory_left(void);
void memory_charge(
	int64_t bytes); /* of memory outside the region, which counts as part of it; negative: it is back */
uint64_t memory_start(void);
int64_t memory_move(
	uint64_t address, uint64_t old_size, uint64_t size, uint64_t flags, uint64_t to);
int64_t memory_brk(uint64_t address);
int64_t memory_map(uint64_t address, uint64_t size, uint64_t rights, uint64_t flags);
/* The same, showing what stands at `from`, whole pages of the root's image; -ENOTSUP where the platform cannot. */
int64_t memory_map_image(
	uint64_t address, uint64_t size, uint64_t rights, uint64_t flags, uint64_t from);
int64_t memory_unmap(uint64_t address, uint64_t size);
int64_t memory_protect(uint64_t address, uint64_t size, uint64_t rights);
int64_t memory_advise(uint64_t address, uint64_t size, uint64_t advice);

/* Two processes that take turns have not enough of it: the end of both, as by Linux's killer. */
void memory_is_out(void) __attribute__((__noreturn__));

/* Whether other processes have the same memory there. */
bool memory_is_shared(uint64_t address);

/* A segment of a program at a fixed address, which comes and goes with its process; false if there are too many. */
bool memory_add_segment(uint64_t start, uint64_t end, bool is_writable);
void memory_forget_segments(void);
int memory_protect_segments(uint64_t address, uint64_t size, uint64_t rights);

/* Unmaps all of the program's but its stack, which is emptied. */
void memory_reset(uint64_t stack_start, uint64_t stack_end);

/* Memory of the program that the library OS sets up: as memory_alloc(), and part of what its process has. */
uint64_t memory_alloc_program(uint64_t bytes);

/* string.c: what a compiler takes for granted, and a little more */
void *memcpy(void *to, const void *from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
int memcmp(const void *a, const void *b, size_t size);
size_t strlen(const char *text);
int strncmp(const char *a, const char *b, size_t size);
int atoi(const char *text);
bool text_is(const char *a, const char *b);

static inline void *at(uint64_t address)
{
	return (void *)(uintptr_t)address;
}

static inline uint64_t address_of(const void *pointer)
{
	return (uint64_t)(uintptr_t)pointer;
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
