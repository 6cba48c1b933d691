/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter.c - builds and installs the seccomp filter of a locked process.
 *
 * Theory of operation. The program is a list of rules, each a block that falls through to the next one
 * unless all of it matches:
 *
 *	load the call's number; not ours: skip to the next rule
 *	for each condition: load and compare the high half, then the low half of the argument; else skip
 *	return ALLOW
 *
 * Jumps in classic BPF go forward by at most 255, which bounds one rule, not the program.
 */
#include "tender/filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static void put(struct filter *filter, uint16_t code, uint8_t yes, uint8_t no, uint32_t k)
{
	if (filter->length == FILTER_LENGTH_MAX) {
		filter->is_full = true;
		return;
	}
	filter->code[filter->length++] = (struct sock_filter){ code, yes, no, k };
}

static void load(struct filter *filter, size_t offset)
{
	put(filter, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offset);
}

void filter_begin(struct filter *filter)
{
	filter->length = 0;
	filter->is_full = false;
	load(filter, offsetof(struct seccomp_data, arch));
	put(filter, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, AUDIT_ARCH_X86_64);
	put(filter, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS);
}

void filter_begin_trapping(struct filter *filter, uint64_t after)
{
	filter_begin(filter);
	load(filter, offsetof(struct seccomp_data, instruction_pointer));
	put(filter, BPF_JMP | BPF_JEQ | BPF_K, 0, 2, (uint32_t)after);
	load(filter, offsetof(struct seccomp_data, instruction_pointer) + 4);
	put(filter, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, (uint32_t)(after >> 32));
	put(filter, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_TRAP);
}

/* Instructions of one condition: two for equality of each half, one jump more for an upper bound. */
#define EQUAL_LENGTH   4
#define AT_MOST_LENGTH 5

static uint8_t condition_length(const struct filter_condition *condition)
{
	return condition->compare == FILTER_EQUAL ? EQUAL_LENGTH : AT_MOST_LENGTH;
}

/* `skip` instructions lie between the end of this condition and the next rule. */
static void put_condition(
	struct filter *filter, const struct filter_condition *condition, uint8_t skip)
{
	size_t low = offsetof(struct seccomp_data, args) + 8 * (size_t)condition->index;
	uint32_t high_value = (uint32_t)(condition->value >> 32);
	uint32_t low_value = (uint32_t)condition->value;
	load(filter, low + 4);
	if (condition->compare == FILTER_EQUAL) {
		put(filter, BPF_JMP | BPF_JEQ | BPF_K, 0, (uint8_t)(skip + 2), high_value);
		load(filter, low);
		put(filter, BPF_JMP | BPF_JEQ | BPF_K, 0, skip, low_value);
		return;
	}
	put(filter, BPF_JMP | BPF_JGT | BPF_K, (uint8_t)(skip + 3), 0, high_value);
	put(filter, BPF_JMP | BPF_JEQ | BPF_K, 0, 2, high_value); /* less: the low half is free */
	load(filter, low);
	put(filter, BPF_JMP | BPF_JGT | BPF_K, skip, 0, low_value);
}

void filter_allow(
	struct filter *filter, long call, const struct filter_condition *conditions, size_t count)
{
	size_t left = 1; /* the return */
	assert(count <= 6);
	for (size_t i = 0; i < count; i++)
		left += condition_length(&conditions[i]);
	load(filter, offsetof(struct seccomp_data, nr));
	put(filter, BPF_JMP | BPF_JEQ | BPF_K, 0, (uint8_t)left, (uint32_t)call);
	for (size_t i = 0; i < count; i++) {
		left -= condition_length(&conditions[i]);
		put_condition(filter, &conditions[i], (uint8_t)left);
	}
	put(filter, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);
}

int filter_end(struct filter *filter, struct error *e)
{
	put(filter, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS);
	if (filter->is_full)
		return error_set(
			e, -E2BIG, "the filter needs more than %d instructions", FILTER_LENGTH_MAX);
	return 0;
}

int filter_lock(const struct filter *filter)
{
	struct sock_fprog program = {
		.len = (unsigned short)filter->length,
		.filter = (struct sock_filter *)(uintptr_t)filter->code,
	};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
		return -errno;
	return 0;
}
