/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bpf.h - carries out a seccomp program on a system call, as the kernel would.
 */
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t bpf_run(
	const struct sock_filter *code, size_t length, const struct seccomp_data *data)
{
	uint32_t a = 0;
	for (size_t at = 0; at < length; at++) {
		const struct sock_filter *i = &code[at];
		bool is_taken = false;
		switch (i->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			memcpy(&a, (const char *)data + i->k, sizeof(a));
			continue;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= i->k;
			continue;
		case BPF_RET | BPF_K:
			return i->k;
		case BPF_JMP | BPF_JA:
			at += i->k;
			continue;
		case BPF_JMP | BPF_JEQ | BPF_K:
			is_taken = a == i->k;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			is_taken = a > i->k;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			is_taken = a >= i->k;
			break;
		default:
			test_fail("instruction %zu: code 0x%x", at, i->code);
		}
		at += is_taken ? i->jt : i->jf;
	}
	test_fail("ran off the end");
}
