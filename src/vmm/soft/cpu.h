/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpu.h - one virtual CPU of the software engine, and the words its instructions are written with.
 *
 * An instruction is decoded once into a `struct op`, whose run() does it and returns the op to do
 * next, or NULL with cpu->rip set when the loop in soft.c has to look around. What goes wrong in the
 * middle leaves by cpu_fault() or cpu_leave(), which jump back to that loop: an instruction changes no
 * register before its last access that can fail.
 *
 * The guest's rip is not kept: it is cpu->r[R_CODE] + op->offset. Arithmetic flags are kept as the
 * host's LAHF and SETO give them: OF in bit 0 and SF ZF AF PF CF in bits 15 to 8 of cpu->flags.
 */
#pragma once

#include <setjmp.h>
#include <stdatomic.h>

#include "base/base.h"
#include "vmm/cpu/engine.h"

#define likely(claim)   __builtin_expect(!!(claim), 1)
#define unlikely(claim) __builtin_expect(!!(claim), 0)

struct cpu;
struct direct;
struct op;
struct soft;

typedef const struct op *op_run(struct cpu *cpu, const struct op *op);

/* Slots of cpu->r behind the sixteen registers. */
#define R_ZERO 16 /* always 0: no base, no index */
#define R_CODE 17 /* rip of the first byte of the page that runs */
#define R_EA   18 /* effective address that op_segmented() has worked out */

struct op {
	op_run *run;
	op_run *inner; /* what a wrapper calls */
	int64_t disp;
	uint64_t imm;
	uint16_t offset; /* of the instruction in its page */
	uint8_t length;
	uint8_t sequence;    /* how many instructions of the block end with this one */
	uint8_t reg, rm;     /* byte offsets in cpu->r */
	uint8_t base, index; /* likewise */
	uint8_t scale, segment;
	uint8_t bytes;                                      /* of the operand */
	uint8_t access;                                     /* ACCESS_..., of the memory operand */
	uint8_t memory_bytes;                               /* of the memory operand */
	uint8_t address_base, address_index, address_bytes; /* before op_segmented() */
	uint8_t extra, flags;                               /* OP_... */
	uint8_t stack_bytes;                                /* width of the stack pointer */
	uint32_t generation;
	union {
		const struct op *target;
		const struct stub *stub;
	};
};

#define OP_MEMORY 0x01
#define OP_LOCK   0x02
#define OP_REP    0x04
#define OP_REPNE  0x08
#define OP_LONG   0x10 /* 64-bit code */
#define OP_STALE  0x20

#define ACCESS_NONE    0
#define ACCESS_READ    1
#define ACCESS_WRITE   2
#define ACCESS_EXECUTE 4

/* Vectors of exceptions. */
enum {
	FAULT_DE = 0,
	FAULT_DB = 1,
	FAULT_NMI = 2,
	FAULT_BP = 3,
	FAULT_OF = 4,
	FAULT_BR = 5,
	FAULT_UD = 6,
	FAULT_NM = 7,
	FAULT_DF = 8,
	FAULT_TS = 10,
	FAULT_NP = 11,
	FAULT_SS = 12,
	FAULT_GP = 13,
	FAULT_PF = 14,
	FAULT_MF = 16,
	FAULT_AC = 17,
	FAULT_MC = 18,
	FAULT_XM = 19,
};

#define CR0_PE (UINT64_C(1) << 0)
#define CR0_MP (UINT64_C(1) << 1)
#define CR0_EM (UINT64_C(1) << 2)
#define CR0_TS (UINT64_C(1) << 3)
#define CR0_ET (UINT64_C(1) << 4)
#define CR0_NE (UINT64_C(1) << 5)
#define CR0_WP (UINT64_C(1) << 16)
#define CR0_AM (UINT64_C(1) << 18)
#define CR0_NW (UINT64_C(1) << 29)
#define CR0_CD (UINT64_C(1) << 30)
#define CR0_PG (UINT64_C(1) << 31)

#define CR4_VME        (UINT64_C(1) << 0)
#define CR4_PVI        (UINT64_C(1) << 1)
#define CR4_TSD        (UINT64_C(1) << 2)
#define CR4_DE         (UINT64_C(1) << 3)
#define CR4_PSE        (UINT64_C(1) << 4)
#define CR4_PAE        (UINT64_C(1) << 5)
#define CR4_MCE        (UINT64_C(1) << 6)
#define CR4_PGE        (UINT64_C(1) << 7)
#define CR4_PCE        (UINT64_C(1) << 8)
#define CR4_OSFXSR     (UINT64_C(1) << 9)
#define CR4_OSXMMEXCPT (UINT64_C(1) << 10)
#define CR4_UMIP       (UINT64_C(1) << 11)
#define CR4_FSGSBASE   (UINT64_C(1) << 16)
#define CR4_OSXSAVE    (UINT64_C(1) << 18)
#define CR4_SMEP       (UINT64_C(1) << 20)
#define CR4_SMAP       (UINT64_C(1) << 21)

#define XCR0_AVX UINT64_C(0x06)
#define XCR0_512 UINT64_C(0xe6) /* what AVX-512 needs */

#define EFER_SCE   (UINT64_C(1) << 0)
#define EFER_LME   (UINT64_C(1) << 8)
#define EFER_LMA   (UINT64_C(1) << 10)
#define EFER_NXE   (UINT64_C(1) << 11)
#define EFER_FFXSR (UINT64_C(1) << 14)

#define FLAG_CF          0x1u
#define FLAG_PF          0x4u
#define FLAG_AF          0x10u
#define FLAG_ZF          0x40u
#define FLAG_SF          0x80u
#define FLAG_TF          0x100u
#define FLAG_IF          0x200u
#define FLAG_DF          0x400u
#define FLAG_OF          0x800u
#define FLAG_IOPL        0x3000u
#define FLAG_NT          0x4000u
#define FLAG_RF          0x10000u
#define FLAG_VM          0x20000u
#define FLAG_AC          0x40000u
#define FLAG_VIF         0x80000u
#define FLAG_VIP         0x100000u
#define FLAG_ID          0x200000u
#define FLAGS_ARITHMETIC (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)

/* In cpu->flags. */
#define HOST_CF 0x100u
#define HOST_PF 0x400u
#define HOST_AF 0x1000u
#define HOST_ZF 0x4000u
#define HOST_SF 0x8000u
#define HOST_OF 0x1u

/*
 * cpu->attention: why the loop must look around. Any thread sets bits. All are among those of a place in the table of
 * jumps but the lowest, see flow.c.
 */
#define ATTENTION_KICK  0x0020u
#define ATTENTION_IRQ   0x0040u /* an interrupt may have become deliverable */
#define ATTENTION_NMI   0x0080u
#define ATTENTION_INIT  0x0100u
#define ATTENTION_SIPI  0x0200u
#define ATTENTION_CODE  0x0400u /* pages whose code or write permission changed wait in `notices` */
#define ATTENTION_STEP  0x0800u /* single-step, shadow: one instruction at a time */
#define ATTENTION_LATER 0x1000u /* a TLB or code cache flush to do between instructions */

#define TLB_SIZE   16384 /* what 64 MiB of pages take */
#define TLB_BESIDE 128   /* differs between the two slots of a page */

/*
 * A page is in the slot of its number or in the one beside it. A tag is the page's linear address. TAG_SLOW
 * in it says that accesses take the slow path; it and the tag of an entry that holds nothing are the
 * addresses of pages that belong in other slots, so neither `linear - tag < GUEST_PAGE` nor equality ever
 * holds for them.
 */
struct tlb_entry {
	uint64_t read, write;
	uintptr_t host;    /* address of the page in this process */
	uint64_t physical; /* of the page, and TLB_... */
};

#define TAG_SLOW (UINT64_C(1) << 21)

/* An address, rotated right by one and masked by the other, is its entry's offset. */
#define TLB_SHIFT 7
#define TLB_MASK  ((TLB_SIZE - 1) * (uint32_t)sizeof(struct tlb_entry))
static_assert(sizeof(struct tlb_entry) == GUEST_PAGE >> TLB_SHIFT, "the slot of an address");
static_assert(TLB_SIZE > TAG_SLOW / GUEST_PAGE, "a slow page's tag belongs in another slot");

#define TLB_GLOBAL 0x1
#define TLB_LARGE  0x2 /* 2 MiB or 4 MiB */
#define TLB_HUGE   0x4 /* 1 GiB */
#define TLB_CODE   0x8 /* writes are slow because there is code */
#define TLB_NO_RAM 0x10
#define TLB_WRITE  0x20 /* writable and dirty */

struct tlb {
	struct tlb_entry entries[TLB_SIZE];
	/* Of a slot and the one beside, the one that was filled last; half of these are used. */
	uint16_t newest[TLB_SIZE];
	/* Bits of entries that hold something, and of those that are not global: a flush touches no other. */
	uint64_t used[TLB_SIZE / 64], local[TLB_SIZE / 64];
	uint64_t large[2]; /* hashes of large pages in each half of the addresses */
};

enum tlb_kind { TLB_KERNEL, TLB_SMAP, TLB_USER, TLB_KINDS };

struct fetch_entry {
	uint64_t linear; /* of the page, | 1 for user */
	uint64_t physical;
	const uint8_t *host;
	bool is_global;
};

/* The last table that a walk has come to: of pages, or one that a large page is in. */
struct walk_table {
	uint64_t linear; /* >> 21, or WALK_NONE */
	guest_addr at;
	uint64_t rights;
	uint64_t *entries; /* in this process; NULL: no RAM */
	bool is_large;     /* level 2 */
};

/*
 * By hashes of physical pages: where in struct cpu the entry is that writes to one of them without asking; 0: none,
 * WRITERS_MANY: more than one. It may be an entry no longer.
 */
#define WRITERS      32768
#define WRITERS_MANY UINT32_MAX

#define WALK_TABLES 64
#define WALK_NONE   UINT64_MAX

#define FETCH_USER \
	128 /* for the user's half of the addresses: all of it is forgotten with each CR3 load */
#define FETCH_KERNEL 1024
#define FETCH_BITS   16384
#define JUMP_SIZE    4096

struct jump_entry {
	uint64_t rip;
	const struct op *op;
	uint32_t generation;
};

#define DR6_STEP 0x4000u

/* What translated code depends on beside its bytes: how it reaches memory, and who it is. */
enum native_mode { NATIVE_KERNEL, NATIVE_SMAP, NATIVE_USER, NATIVE_KERNEL_AC, NATIVE_MODES };

/* Not in cpu->lacks: the host's registers hold the guest's. */
#define LIVE_SSE   0x1u
#define LIVE_AVX   0x2u
#define LIVE_FP    0x4u  /* MXCSR, with all exceptions masked */
#define LIVE_X87   0x8u  /* likewise */
#define LIVE_HIGH  0x10u /* vectors from 16 on, and opmasks */
#define LIVE_UPPER 0x20u /* the upper halves of vectors 0 to 15 */

/*
 * Slots of the tables of jumps by address. A kernel jumps to more places than a program, and keeps what it knows of
 * them; the user's is forgotten with each CR3 load.
 */
#define NATIVE_JUMPS      65536
#define NATIVE_JUMPS_USER 16384
/* The bits of `attention`, with which a jump finds another slot, reach from address 0 to one below this. */
#define NATIVE_JUMPS_OF_0 512
static_assert(ATTENTION_LATER << 1 == NATIVE_JUMPS_OF_0 << 4, "of 16 bytes each");

/* Where translated code goes on at rip. An entry that holds nothing has the address of another slot. */
struct native_jump {
	uint64_t rip;
	const uint8_t *code;
};

/* Neither is the address of who looks in this slot, with bits of attention or without. */
static inline struct native_jump native_jump_none(uint64_t slot)
{
	return (struct native_jump){ .rip = slot < NATIVE_JUMPS_OF_0 ? ~slot : 0 };
}

/* The bits of an address that are the slot. */
static inline uint32_t native_jump_mask(uint32_t mode)
{
	return (mode == NATIVE_USER ? NATIVE_JUMPS_USER : NATIVE_JUMPS) - 1;
}

#define KEPT_JUMPS 16384

#define NATIVE_PARKED 16

/* Where the user's code goes on at this physical address; see kept.c. */
struct kept_jump {
	guest_addr at;
	const uint8_t *code;
};

/* For SYSCALL, SYSRET and IRET of translated code; see crossing.c. */
struct crossing {
	const struct native_jump
		*entry; /* where LSTAR may stand; NULL: they are the interpreter's */
	const struct native_jump *jumps;       /* of ring 0 with AC clear */
	struct tlb *tlb;                       /* likewise */
	uint64_t in_cs, in_ss, out_cs, out_ss; /* selector, attributes and limit */
	uint64_t frame[5];                     /* of IRET */
	uint32_t keep, keep_host;              /* what FMASK leaves of rflags_rest, of flags */
};

#define NOTICE_MAX   64
#define IO_MAX       64
#define BREAKPOINTS  4
#define VECTOR_BYTES 64
#define VECTORS      32

struct io_done {
	uint64_t at, value;
	uint8_t bytes;
	bool is_write, is_port;
};

/* PAUSEs; see spin.c. */
struct spin {
	uint64_t looked; /* when */
	uint32_t pauses; /* in a row */
	_Atomic bool sleeps;
	_Atomic int32_t clock; /* of the thread's CPU time; 0: there was none */
	uint64_t seen_at,
		seen[CPUS_MAX]; /* when the others' threads were looked at, and what they had used */
};

/* What runs programs directly does when something happens below it. */
struct direct_hooks {
	void (*call)(struct cpu *cpu); /* another thread has set bits in `attention` */
	void (*switched)(struct cpu *cpu);
	bool (*protect)(struct cpu *cpu, guest_addr page); /* as tlb_protect() */
};

struct lapic {
	_Atomic uint32_t irr[8];
	uint32_t isr[8], tmr_unused[8];
	_Atomic uint32_t tmr[8];
	uint32_t id, version, tpr, ldr, dfr, svr, esr, esr_latched, icr_low, icr_high;
	uint32_t lvt[6]; /* timer, thermal, performance, LINT0, LINT1, error */
	uint32_t timer_initial, timer_divide;
	uint64_t timer_start_ns, timer_at_ns; /* 0: not running */
	uint64_t tsc_deadline;
	uint64_t base; /* the MSR */
};

struct cpu {
	uint64_t r[20]; /* first: ops hold byte offsets */

	/* Generations of links between pages, each beside `attention`: both are compared at once, see flow.c. */
	uint32_t kernel_links;
	_Atomic uint32_t attention;
	uint32_t user_links;
	uint32_t generation; /* bumped whenever rip may lead to other ops */
	uint16_t flags;
	uint8_t cpl;
	uint8_t code_bytes;   /* 2, 4 or 8: the width of the code that runs */
	uint32_t rflags_rest; /* all but the arithmetic flags; bit 1 set */
	struct tlb *tlb;      /* the one of `tlbs` for data at this CPL */
	uint64_t base[8];     /* of the segments, 0 where long mode ignores it */
	uint64_t instructions;
	const struct op *link; /* its target is what the loop finds next */

	uint64_t rip; /* only while no op runs */
	struct cpu_segment segments[8];
	struct cpu_table gdt, idt;
	uint64_t cr0, cr2, cr3, cr4, efer, xcr0;
	uint64_t dr[8];
	uint64_t pdpte[4];
	uint64_t star, lstar, cstar, fmask, kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t pat, misc_enable, spec_ctrl, tsc_aux, xss;
	uint64_t mtrr_default, mtrr_fixed[11], mtrr_variable[16];
	uint64_t tsc_offset, tsc_adjust;
	uint64_t kvm_system_time, kvm_wall_clock;

	uint32_t number, soft_count; /* of this CPU; how many there are */
	struct soft *soft;
	bool is_intel; /* where the vendors differ, it is as the host */
	struct guest *guest;
	enum cpu_activity activity;
	bool shadow;          /* no interrupt before the next instruction */
	bool shadow_is_ss;    /* nor a debug trap */
	_Atomic uint32_t nmi; /* NMI_...; see nmi.c */
	_Atomic uint32_t sipi_vector;
	_Atomic bool is_idle; /* asleep in HLT, or in spin.c */
	struct spin spin;

	/* An event on its way into the guest; see exception.c. */
	bool event_is_pending, event_has_code, event_is_soft, event_is_external;
	uint8_t event_vector, event_length; /* length of INT n, 0 if not software */
	uint32_t event_code;
	bool is_delivering;
	uint8_t fault_vector;
	uint32_t fault_code;
	bool trap_is_new;  /* the instruction has decided about the single-step trap itself */
	uint32_t trap_dr6; /* debug conditions to report after the instruction */
	bool has_data_breakpoints, has_code_breakpoints;

	/* What the last instruction has done outside of memory; see io.h. */
	struct cpu_exit *exit;
	uint32_t io_count, io_next;
	bool io_waits; /* the last of io[] is a read whose value comes with the next run */
	struct io_done io[IO_MAX];

	jmp_buf loop;

	/* The vector state; the x87 part is an FXSAVE image. */
	_Alignas(64) uint8_t vector[VECTORS][VECTOR_BYTES];
	uint64_t opmask[8];
	/* False: all 0 are opmasks and vectors from 16 on; the upper halves of the others. */
	bool has_high, has_upper;
	_Alignas(64) uint8_t fx[512];
	_Alignas(64) uint8_t scratch[256]; /* memory operands of stubs and of split accesses */
	uint32_t mxcsr;
	uint32_t stub_mxcsr, host_mxcsr;
	struct stubs *stubs;
	uint64_t x87_rip, x87_rdp;
	uint16_t x87_opcode, x87_cs, x87_ds;

	uint64_t rmw_linear; /* of the access that rmw_finish() completes */
	uint32_t rmw_bytes, rmw_how;

	/* Other threads add, under soft->lock. */
	guest_addr notices[NOTICE_MAX];
	uint32_t notice_count;
	bool notice_overflow, notice_is_late; /* too many; and while it ran */
	bool notice_forgets;                  /* all code that was decoded here is to go */
	bool has_lost_writers; /* which pages could be written without asking is not all known */

	struct lapic lapic;

	struct code_cache *code;
	uint32_t cold_runs; /* before a block is translated; 0: it is at once */
	uint8_t *cold_seen; /* how often one was interpreted, by a hash of 16 bits */

	/* Translated code; see native.c. */
	struct native *native; /* NULL: only the interpreter */
	uint64_t native_linear, native_value, native_host_rsp;
	uint64_t native_parked[NATIVE_PARKED]; /* addresses of groups of operands; see group.c */
	uint64_t native_kept[2]; /* operands of what has set the flags; see recipe.c */
	const uint8_t *native_code;
	uint64_t native_else, native_seen; /* of kept.c */
	uint64_t native_shift;             /* from where code runs to where it is written */
	uint32_t native_site;
	uint32_t irq_waits;    /* interrupts were off when one had come: look again */
	struct direct *direct; /* NULL: programs never run directly */
	const struct direct_hooks *direct_hooks; /* likewise */
	uint32_t direct_waits;                   /* this one would: ring 3 is the loop's */
	uint64_t direct_epoch; /* bumped whenever pages of the user's may have changed */
	_Atomic uint64_t
		direct_look_ns; /* when to look whether one would, if no timer of the guest's does; 0: not */
	bool has_masked; /* programs with interrupts off were seen */
	uint32_t
		checks_alignment; /* accesses of ring 3 are slow, so that each is checked; see cpu_wants_alignment() */
	uint32_t direct_tells; /* DIRECT_TELLS_..., by what the host cannot do */
	uint8_t lacks;         /* LIVE_... that the host's registers do not hold */
	uint8_t lacked;        /* when translated code was left */
	/* Code was fetched by the kernel from the user's half, or from the kernel's through an entry not global. */
	bool has_local_kernel;
	bool has_user_code; /* code was fetched from the user's half, or by the user, since this was forgotten last */
	/* Hashes of pages and of large pages in each half that code was fetched from. */
	uint64_t fetched[2][FETCH_BITS / 64], fetched_large[2];
	uint64_t native_used[NATIVE_MODES][NATIVE_JUMPS / 64]; /* bits of entries that are in use */
	struct crossing crossing;
	_Alignas(64) struct native_jump native_jumps[NATIVE_MODES][NATIVE_JUMPS];
	struct kept_jump kept_jumps[KEPT_JUMPS];

	struct walk_table walk_tables[WALK_TABLES];
	struct fetch_entry fetch_user[FETCH_USER], fetch_kernel[FETCH_KERNEL];
	struct jump_entry jumps[JUMP_SIZE];
	uint32_t writers[WRITERS];
	struct tlb tlbs[TLB_KINDS];
};

enum { LEAVE_FAULT = 1, LEAVE_EXIT, LEAVE_AGAIN, LEAVE_BROKEN };

/* Where cpu->cold_seen counts the code at an address. */
static inline uint32_t cold_slot(guest_addr physical)
{
	return (uint32_t)physical * 0x9e3779b1u >> 16;
}

/* One instruction at a time, with everything that counts only between two. */
static inline bool cpu_must_step(const struct cpu *cpu)
{
	return (cpu->rflags_rest & (FLAG_TF | FLAG_RF)) || cpu->shadow || cpu->io_count ||
		cpu->has_code_breakpoints || cpu->has_data_breakpoints;
}

/* Registers by their byte offset. Narrow views may alias. */
typedef uint8_t __attribute__((__may_alias__)) reg8;
typedef uint16_t __attribute__((__may_alias__)) reg16;
typedef uint32_t __attribute__((__may_alias__)) reg32;
typedef uint64_t __attribute__((__may_alias__)) reg64;
#define REG8(cpu, at)  (*(reg8 *)((uintptr_t)(cpu) + (at)))
#define REG16(cpu, at) (*(reg16 *)((uintptr_t)(cpu) + (at)))
#define REG32(cpu, at) (*(reg32 *)((uintptr_t)(cpu) + (at)))
#define REG64(cpu, at) (*(reg64 *)((uintptr_t)(cpu) + (at)))

/* Of ring 3, where it runs now. */
static inline bool cpu_wants_alignment(const struct cpu *cpu)
{
	return (cpu->cr0 & CR0_AM) && (cpu->rflags_rest & FLAG_AC);
}

static inline uint64_t op_rip(const struct cpu *cpu, const struct op *op)
{
	return cpu->r[R_CODE] + op->offset;
}

static inline uint64_t mask_of(uint32_t bytes)
{
	return bytes == 8 ? UINT64_MAX : (UINT64_C(1) << (8 * bytes)) - 1;
}

static inline uint64_t rip_mask(const struct cpu *cpu)
{
	return cpu->code_bytes == 8 ? UINT64_MAX : 0xffffffff;
}

static inline uint64_t op_next_rip(const struct cpu *cpu, const struct op *op)
{
	return (cpu->r[R_CODE] + op->offset + op->length) & rip_mask(cpu);
}

static inline bool is_long(const struct cpu *cpu)
{
	return cpu->efer & EFER_LMA;
}

static inline bool is_protected(const struct cpu *cpu)
{
	return (cpu->cr0 & CR0_PE) && !(cpu->rflags_rest & FLAG_VM);
}

static inline bool is_v86(const struct cpu *cpu)
{
	return cpu->rflags_rest & FLAG_VM;
}

static inline uint32_t cpu_iopl(const struct cpu *cpu)
{
	return cpu->rflags_rest >> 12 & 3;
}

static inline bool is_canonical(uint64_t linear)
{
	return (uint64_t)((int64_t)(linear << 16) >> 16) == linear;
}

static inline uint32_t cpu_rflags(const struct cpu *cpu)
{
	return cpu->rflags_rest | (cpu->flags >> 8 & 0xd5) | (cpu->flags & 1) << 11;
}

static inline void cpu_set_arithmetic(struct cpu *cpu, uint32_t rflags)
{
	cpu->flags = (uint16_t)((rflags & 0xd5) << 8 | (rflags >> 11 & 1));
}

/* Ends the instruction at `op` (NULL: cpu->rip is right already) with an exception. */
_Noreturn void cpu_fault(struct cpu *cpu, const struct op *op, uint32_t vector, uint32_t code);

/* #UD, #GP(0) and so on. */
#define fault_ud(cpu, op) cpu_fault(cpu, op, FAULT_UD, 0)
#define fault_gp(cpu, op) cpu_fault(cpu, op, FAULT_GP, 0)

/* Leaves run() with *cpu->exit filled in; the instruction at `op` is done again. */
_Noreturn void cpu_leave(struct cpu *cpu, const struct op *op);

static inline void cpu_call(struct cpu *cpu, uint32_t why)
{
	atomic_fetch_or_explicit(&cpu->attention, why, memory_order_seq_cst);
}

/* As cpu_call() from another thread: also ends HLT. */
void cpu_wake(struct cpu *cpu, uint32_t why);

/* Ends an op that changed the mode, interrupts or pages: the loop looks around. */
static inline const struct op *op_look(struct cpu *cpu, uint64_t rip)
{
	cpu->rip = rip;
	return NULL;
}

static inline const struct op *op_end(struct cpu *cpu, const struct op *op)
{
	return op_look(cpu, op_next_rip(cpu, op));
}

/* Works out what follows from CPL, CR0, CR4, EFER, CS and EFLAGS.AC. */
void cpu_update_mode(struct cpu *cpu);
void cpu_set_cpl(struct cpu *cpu, uint32_t cpl);

/* Takes all flags of `mask` from `rflags`; IF and TF changes are noticed. */
void cpu_set_rflags(struct cpu *cpu, uint64_t rflags, uint32_t mask);

/* After DR7 has changed; the TLB must be flushed, too. */
void cpu_update_breakpoints(struct cpu *cpu);

/* Time. */
uint64_t cpu_now(void); /* CLOCK_MONOTONIC, ns */
uint64_t cpu_tsc(const struct cpu *cpu);
