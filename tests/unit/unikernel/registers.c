/* SPDX-License-Identifier: Apache-2.0 */
/*
 * registers.c - every register and flag around every system-call number.
 *
 * For each number calls are made with bad arguments, all registers filled with a pattern and all arithmetic flags
 * in turn: afterwards rax is the result, rcx and r11 are free, and everything else is as before, the red zone and
 * the vector registers too. Prints what was not.
 */
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RED_WORDS 15
#define FLAGS     0xcd5 /* OF DF SF ZF AF PF CF */

struct state {
	uint64_t general[16]; /* rax rbx rcx rdx rsi rdi rbp rsp r8 to r15 */
	uint64_t flags;
	uint64_t red[RED_WORDS];
	uint64_t vector[32]; /* xmm0 to xmm15 */
};

void make_call(struct state *state);
void make_numbered_call(struct state *state);
void make_hidden_call(struct state *state);

#define BODY(name, call) \
	__asm__(".text\n.globl " name "\n.type " name ", @function\n" name ":\n\t" \
		"push %rbx\n\tpush %rbp\n\tpush %r12\n\tpush %r13\n\tpush %r14\n\tpush %r15\n\t" \
		"push %rdi\n\t" \
		".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t" \
		"movups (128 + 8 + 15*8 + 16*\\n)(%rdi), %xmm\\n\n\t.endr\n\t" \
		".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14\n\t" \
		"mov (136 + 8*\\n)(%rdi), %rax\n\tmov %rax, (-8 - 8*\\n)(%rsp)\n\t.endr\n\t" \
		"sub $136, %rsp\n\tpush 128(%rdi)\n\tpopf\n\tlea 136(%rsp), %rsp\n\t" \
		"mov (%rdi), %rax\n\tmov 8(%rdi), %rbx\n\tmov 24(%rdi), %rdx\n\tmov 32(%rdi), %rsi\n\t" \
		"mov 48(%rdi), %rbp\n\tmov 64(%rdi), %r8\n\tmov 72(%rdi), %r9\n\tmov 80(%rdi), %r10\n\t" \
		"mov 96(%rdi), %r12\n\tmov 104(%rdi), %r13\n\tmov 112(%rdi), %r14\n\tmov 120(%rdi), %r15\n\t" \
		"mov 40(%rdi), %rdi\n\t" call "\n\t" \
		"lea -256(%rsp), %rsp\n\tpushf\n\tpush %rdi\n\tmov 272(%rsp), %rdi\n\t" \
		"mov %rax, (%rdi)\n\tmov %rbx, 8(%rdi)\n\tmov %rdx, 24(%rdi)\n\tmov %rsi, 32(%rdi)\n\t" \
		"mov %rbp, 48(%rdi)\n\tmov %r8, 64(%rdi)\n\tmov %r9, 72(%rdi)\n\tmov %r10, 80(%rdi)\n\t" \
		"mov %r12, 96(%rdi)\n\tmov %r13, 104(%rdi)\n\tmov %r14, 112(%rdi)\n\tmov %r15, 120(%rdi)\n\t" \
		"pop 40(%rdi)\n\tpop 128(%rdi)\n\tcld\n\tlea 256(%rsp), %rsp\n\t" \
		".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14\n\t" \
		"mov (-8 - 8*\\n)(%rsp), %rax\n\tmov %rax, (136 + 8*\\n)(%rdi)\n\t.endr\n\t" \
		".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t" \
		"movups %xmm\\n, (128 + 8 + 15*8 + 16*\\n)(%rdi)\n\t.endr\n\t" \
		"pop %rdi\n\tpop %r15\n\tpop %r14\n\tpop %r13\n\tpop %r12\n\tpop %rbp\n\tpop %rbx\n\tret\n")

BODY("make_call", "syscall\n\tnop\n\tnop\n\tnop\n\tnop\n\tnop");
/* With a number that a rewriter sees, which has an entry of its own. */
BODY("make_numbered_call",
	"mov %rax, %rcx\n\tlea (, %rcx, 8), %rcx\n\tlea numbered(, %rcx, 2), %rcx\n\tjmp *%rcx\n\t"
	".globl numbered_end\nnumbered_end:");
__asm__(".text\n.balign 16\nnumbered:\n\t.set n, 0\n\t.rept 512\n\t"
	".balign 16\n\tmov $n, %eax\n\tsyscall\n\tjmp numbered_end\n\t.set n, n + 1\n\t.endr\n");
/* Inside of an instruction, where no rewriter sees it: the call is a real one. */
BODY("make_hidden_call",
	"jmp 1f\n\t.byte 0x48, 0xb8\n1:\tsyscall\n\tjmp 2f\n\t.byte 0, 0, 0, 0\n2:\tnop");

/* These do not come back, or wait, or change what is compared. */
static int is_special(uint64_t number)
{
	switch (number) {
	case SYS_rt_sigreturn:
	case SYS_exit:
	case SYS_exit_group:
	case SYS_fork:
	case SYS_vfork:
	case SYS_clone:
	case SYS_clone3:
	case SYS_execve:
	case SYS_execveat:
	case SYS_pause:
	case SYS_kill:
	case SYS_tkill:
	case SYS_tgkill:
	case SYS_rt_sigsuspend:
	case SYS_rt_sigtimedwait:
	case SYS_arch_prctl:
	case SYS_close_range:
	case SYS_reboot:
	case SYS_alarm:
	case SYS_vhangup:
	case SYS_rt_tgsigqueueinfo:
	case SYS_rt_sigqueueinfo:
	case SYS_poll:
	case SYS_ppoll:
	case SYS_select:
	case SYS_pselect6:
	case SYS_seccomp:
	case SYS_unshare:
	case SYS_munmap:
	case 335: /* uretprobe and uprobe: SIGILL by design */
	case 336:
	case SYS_setrlimit:
	case SYS_prlimit64:
		return 1;
	default:
		return 0;
	}
}

static void fill(struct state *state, uint64_t number, uint64_t flags)
{
	for (int i = 0; i < 16; i++)
		state->general[i] =
			0xffff8000deadbee0u + (uint64_t)i * 0x1000; /* no address, no descriptor */
	state->general[0] = number;
	state->flags = flags;
	for (int i = 0; i < RED_WORDS; i++)
		state->red[i] = number * 77 + (uint64_t)i;
	for (int i = 0; i < 32; i++)
		state->vector[i] = number * 99 + (uint64_t)i * 0x0101010101010101u;
}

static int check(
	uint64_t number, uint64_t flags, void (*call)(struct state *state), const char *how)
{
	static const int kept[] = { 1, 3, 4, 5, 6, 8, 9, 10, 12, 13, 14, 15 };
	struct state before, after;
	int wrong = 0;
	fill(&before, number, flags);
	fill(&after, number, flags);
	call(&after);
	for (unsigned i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		wrong += before.general[kept[i]] != after.general[kept[i]];
	for (int i = 0; i < RED_WORDS; i++)
		wrong += before.red[i] != after.red[i];
	for (int i = 0; i < 32; i++)
		wrong += before.vector[i] != after.vector[i];
	wrong += (after.flags & FLAGS) != (flags & FLAGS);
	wrong += number == SYS_getpid && (pid_t)after.general[0] != getpid();
	if (wrong)
		printf("call %lu, flags %lx, %s: %d things changed\n", number, flags, how, wrong);
	return wrong;
}

int main(void)
{
	static const uint64_t bits[] = { 1, 4, 0x10, 0x40, 0x80, 0x400, 0x800 };
	int wrong = 0;
	for (uint64_t number = 0; number < 512; number++) {
		if (is_special(number))
			continue;
		for (unsigned flags = 0; flags < 1u << 7; flags += number % 16 ? 127 : 1) {
			uint64_t value = 2;
			for (unsigned i = 0; i < 7; i++)
				value |= flags >> i & 1 ? bits[i] : 0;
			wrong += check(number, value, make_call, "seen");
			wrong += check(number, value, make_numbered_call, "numbered");
			if (flags == 0 || flags == 127)
				wrong += check(number, value, make_hidden_call, "hidden");
		}
	}
	printf("%s\n", wrong ? "registers changed" : "every register is kept around every call");
	return wrong != 0;
}
