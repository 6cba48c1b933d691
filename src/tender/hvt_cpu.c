/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hvt_cpu.c - the machine and CPU of an hvt unikernel, in ring 0 or in ring 3.
 *
 * Theory of operation. The guest's memory is mapped one to one from 0x10000 on, in pages of 2 MiB but the
 * first; the tables stand in memory of ours behind it, which the guest finds far above its own. All pages are
 * open to ring 3, too. Where KVM interprets ring 0 the guest sets itself up there, and at its first hypercall
 * its code and stack segments become those of ring 3: it runs natively from there on. Its ports stay open
 * because the task register points to a copy of its task segment with an I/O bitmap of zeroes. Setting the base
 * of FS is the one privileged thing that a unikernel does later: `wrmsr` becomes an `out` of the same length.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "base/loop.h"
#include "tender/hvt_machine.h"

#define PAGE        4096u
#define BIG_PAGE    (UINT64_C(2) << 20)
#define PRESENT     1u
#define WRITABLE    2u
#define FOR_ALL     4u
#define BIG         0x80u
#define OPEN_TO_ALL (PRESENT | WRITABLE | FOR_ALL)

/* Pages of our memory. */
#define TOP      0u /* of the page tables */
#define LOW      1u /* of the guest's memory, a GiB an entry */
#define HIGH     2u /* of our memory, as the guest sees it: three levels */
#define FIRST    5u /* the first 2 MiB of the guest, a page an entry */
#define BIGS     6u /* four of them: a GiB each */
#define SEGMENTS 10u
#define TASK     11u /* three: a task segment and its bitmap */
#define CODE     14u /* of the measurement */

#define TASK_BYTES     104u
#define TASK_BITMAP    102u /* where its offset stands */
#define BITMAP_BYTES   8193u
#define CODE_SELECTOR  8u
#define DATA_SELECTOR  16u
#define TASK_SELECTOR  24u
#define CODE_SEGMENT   UINT64_C(0x00af9b000000ffff)
#define DATA_SEGMENT   UINT64_C(0x00cf93000000ffff)
#define CR0            0x80010033u /* PG WP NE ET MP PE */
#define CR4            0x620u      /* OSXMMEXCPT OSFXSR PAE */
#define EFER           0x500u      /* LMA LME */
#define MSR_FS_BASE    0xc0000100u
#define MEASURE_LOOPS  20000u
#define INTERPRETED_NS (10u * MEASURE_LOOPS) /* twenty times what any hardware takes */

static uint64_t *table(const struct hvt *hvt, uint32_t page)
{
	return (uint64_t *)(void *)(hvt->own + (size_t)page * PAGE);
}

static uint64_t entry(uint32_t page)
{
	return (HVT_OWN_BASE + (uint64_t)page * PAGE) | OPEN_TO_ALL;
}

static void make_tables(struct hvt *hvt)
{
	table(hvt, TOP)[0] = entry(LOW);
	table(hvt, TOP)[HVT_OWN_AT >> 39] = entry(HIGH);
	table(hvt, HIGH)[0] = entry(HIGH + 1);
	table(hvt, HIGH + 1)[0] = entry(HIGH + 2);
	for (uint32_t i = 0; i < HVT_OWN_BYTES / PAGE; i++)
		table(hvt, HIGH + 2)[i] = entry(i);
	for (uint64_t at = 0; at < hvt->memory_bytes; at += BIG_PAGE) {
		uint32_t gib = (uint32_t)(at >> 30);
		table(hvt, LOW)[gib] = entry(BIGS + gib);
		table(hvt, BIGS + gib)[(at >> 21) % 512] = at | OPEN_TO_ALL | BIG;
	}
	table(hvt, BIGS)[0] = entry(FIRST);
	for (uint64_t at = SOLO5_HVT_BOOT_INFO; at < BIG_PAGE && at < hvt->memory_bytes; at += PAGE)
		table(hvt, FIRST)[at / PAGE] = at | OPEN_TO_ALL;
}

static int add_memory(
	const struct hvt *hvt, uint32_t slot, uint64_t at, void *memory, uint64_t bytes)
{
	struct kvm_userspace_memory_region region = { .slot = slot,
		.guest_phys_addr = at,
		.memory_size = bytes,
		.userspace_addr = (uint64_t)(uintptr_t)memory };
	return kvm_call(hvt->vm, KVM_SET_USER_MEMORY_REGION, &region);
}

static int set_cpuid(const struct hvt *hvt)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[128];
	} cpuid = { .head.nent = 128 };
	if (kvm_call(hvt->kvm, KVM_GET_SUPPORTED_CPUID, &cpuid) < 0)
		return -1;
	return kvm_call(hvt->cpu, KVM_SET_CPUID2, &cpuid);
}

static int map_run(struct hvt *hvt, struct error *e)
{
	int bytes = kvm_call(hvt->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (bytes < (int)sizeof(struct kvm_run))
		return error_errno(e, "KVM's run structure");
	void *run = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, hvt->cpu, 0);
	if (run == MAP_FAILED)
		return error_errno(e, "map KVM's run structure");
	hvt->run = run;
	return 0;
}

int hvt_open_machine(struct hvt *hvt, struct error *e)
{
	hvt->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (hvt->kvm < 0)
		return error_errno(e, "a unikernel of the target hvt needs KVM: open /dev/kvm");
	hvt->own = mmap(
		NULL, HVT_OWN_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (hvt->own == MAP_FAILED)
		return error_errno(e, "map memory");
	make_tables(hvt);
	hvt->vm = kvm_call(hvt->kvm, KVM_CREATE_VM, 0);
	if (hvt->vm < 0)
		return error_errno(e, "make a virtual machine");
	(void)fcntl(hvt->vm, F_SETFD, FD_CLOEXEC);
	if (add_memory(hvt, 0, 0, hvt->memory, hvt->memory_bytes) < 0 ||
		add_memory(hvt, 1, HVT_OWN_BASE, hvt->own, HVT_OWN_BYTES) < 0)
		return error_errno(e, "give the machine its memory");
	hvt->cpu = kvm_call(hvt->vm, KVM_CREATE_VCPU, 0);
	if (hvt->cpu < 0 || set_cpuid(hvt) < 0)
		return error_errno(e, "make a CPU");
	int khz = kvm_call(hvt->cpu, KVM_GET_TSC_KHZ, 0);
	if (khz <= 0)
		return error_errno(e, "the speed of the time stamp counter");
	hvt->cycles_per_second = (uint64_t)khz * 1000;
	return map_run(hvt, e);
}

void hvt_close_machine(struct hvt *hvt)
{
	const int fds[] = { hvt->cpu, hvt->vm, hvt->kvm };
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static struct kvm_segment segment(uint16_t selector, uint8_t type, uint8_t level)
{
	return (struct kvm_segment){ .limit = UINT32_MAX,
		.selector = (uint16_t)(selector | level),
		.type = type,
		.present = 1,
		.dpl = level,
		.db = type < 8,
		.s = 1,
		.l = type >= 8,
		.g = 1 };
}

static int set_registers(
	const struct hvt *hvt, uint64_t rip, uint64_t rsp, uint64_t rdi, struct error *e)
{
	struct kvm_sregs special;
	if (kvm_call(hvt->cpu, KVM_GET_SREGS, &special) < 0)
		return error_errno(e, "read the CPU's registers");
	table(hvt, SEGMENTS)[CODE_SELECTOR / 8] = CODE_SEGMENT;
	table(hvt, SEGMENTS)[DATA_SELECTOR / 8] = DATA_SEGMENT;
	struct kvm_segment data = segment(DATA_SELECTOR, 3, 0);
	special.cs = segment(CODE_SELECTOR, 11, 0);
	special.ds = special.es = special.fs = special.gs = special.ss = data;
	special.gdt.base = HVT_OWN_AT + SEGMENTS * PAGE;
	special.gdt.limit = TASK_SELECTOR - 1;
	special.cr0 = CR0;
	special.cr3 = HVT_OWN_BASE + TOP * PAGE;
	special.cr4 = CR4;
	special.efer = EFER;
	struct kvm_regs usual = { .rip = rip, .rsp = rsp, .rdi = rdi, .rflags = 2 };
	if (kvm_call(hvt->cpu, KVM_SET_SREGS, &special) < 0 ||
		kvm_call(hvt->cpu, KVM_SET_REGS, &usual) < 0)
		return error_errno(e, "set the CPU's registers");
	return 0;
}

int hvt_set_entry(struct hvt *hvt, struct error *e)
{
	return set_registers(
		hvt, hvt->solo5->elf.entry, hvt->memory_bytes - 8, SOLO5_HVT_BOOT_INFO, e);
}

int hvt_measure_ring_0(struct hvt *hvt, bool *ret_is_interpreted, struct error *e)
{
	/* mov $LOOPS, %ecx; 1: dec %ecx; jnz 1b; out %eax, $0x80 */
	const uint8_t code[] = { 0xb9, MEASURE_LOOPS & 0xff, MEASURE_LOOPS >> 8, 0, 0, 0xff, 0xc9,
		0x75, 0xfc, 0xe7, 0x80 };
	uint64_t best = UINT64_MAX;
	memcpy(hvt->own + CODE * PAGE, code, sizeof(code));
	for (int i = 0; i < 2; i++) {
		int r = set_registers(
			hvt, HVT_OWN_AT + CODE * PAGE, HVT_OWN_AT + (CODE + 1) * PAGE, 0, e);
		uint64_t start = loop_now();
		if (r < 0)
			return r;
		if (kvm_call(hvt->cpu, KVM_RUN, 0) < 0 || hvt->run->exit_reason != KVM_EXIT_IO)
			return error_set(e, -EIO, "KVM does not run a loop in ring 0");
		uint64_t took = loop_now() - start;
		best = took < best ? took : best;
	}
	*ret_is_interpreted = best > INTERPRETED_NS;
	return 0;
}

/* `mov $MSR_FS_BASE, %ecx` and soon after it `wrmsr`: then it is the one instruction, not a number. */
void hvt_patch_for_ring_3(struct hvt *hvt)
{
	static const uint8_t load[] = { 0xb9, 0x00, 0x01, 0x00, 0xc0 };
	const struct elf *elf = &hvt->solo5->elf;
	for (uint32_t i = 0; i < elf->segment_count; i++) {
		const Elf64_Phdr *text = &elf->segments[i];
		if (text->p_type != PT_LOAD || !(text->p_flags & PF_X))
			continue;
		uint8_t *at = hvt->memory + text->p_vaddr, *end = at + text->p_filesz;
		while ((at = memmem(at, (size_t)(end - at), load, sizeof(load)))) {
			at += sizeof(load);
			size_t near = (size_t)(end - at) < 32 ? (size_t)(end - at) : 32;
			uint8_t *set = memmem(at, near, "\x0f\x30", 2);
			if (set) {
				set[0] = 0xe7;
				set[1] = HVT_PORT_FS;
			}
		}
	}
}

/* What the guest made its task register point to, and behind it the bitmap that opens all ports. */
static void copy_task(const struct hvt *hvt, const struct kvm_sregs *special)
{
	uint8_t *task = hvt->own + TASK * PAGE;
	const void *theirs = hvt_at(hvt, special->tr.base, TASK_BYTES);
	const uint16_t bitmap = TASK_BYTES;
	if (theirs && special->tr.base >= SOLO5_HVT_BOOT_INFO)
		memcpy(task, theirs, TASK_BYTES);
	memcpy(task + TASK_BITMAP, &bitmap, sizeof(bitmap));
	memset(task + TASK_BYTES, 0, BITMAP_BYTES - 1);
	task[TASK_BYTES + BITMAP_BYTES - 1] = 0xff;
}

/* Lets KVM end the instruction that it left for us; the guest goes on with the next run. */
static int finish_instruction(const struct hvt *hvt, struct error *e)
{
	hvt->run->immediate_exit = 1;
	int r = kvm_call(hvt->cpu, KVM_RUN, 0);
	hvt->run->immediate_exit = 0;
	if (r == 0 || errno != EINTR)
		return error_set(e, -EIO, "KVM does not stop at once");
	return 0;
}

int hvt_enter_ring_3(struct hvt *hvt, struct error *e)
{
	struct kvm_sregs special;
	int r = finish_instruction(hvt, e);
	if (r < 0)
		return r;
	if (kvm_call(hvt->cpu, KVM_GET_SREGS, &special) < 0)
		return error_errno(e, "read the CPU's registers");
	copy_task(hvt, &special);
	special.cs = segment(special.cs.selector, 11, 3);
	special.ss = segment(special.ss.selector, 3, 3);
	special.tr = (struct kvm_segment){ .base = HVT_OWN_AT + TASK * PAGE,
		.limit = TASK_BYTES + BITMAP_BYTES - 1,
		.selector = TASK_SELECTOR,
		.type = 11,
		.present = 1 };
	return kvm_call(hvt->cpu, KVM_SET_SREGS, &special) < 0
		? error_errno(e, "set the CPU's registers")
		: 0;
}

int hvt_set_fs(struct hvt *hvt, struct error *e)
{
	struct kvm_regs usual;
	struct kvm_sregs special;
	int r = finish_instruction(hvt, e);
	if (r < 0)
		return r;
	if (kvm_call(hvt->cpu, KVM_GET_REGS, &usual) < 0 ||
		kvm_call(hvt->cpu, KVM_GET_SREGS, &special) < 0)
		return error_errno(e, "read the CPU's registers");
	if ((uint32_t)usual.rcx != MSR_FS_BASE)
		return error_set(e, -EINVAL, "a register of the CPU that is not there");
	special.fs.base = usual.rdx << 32 | (uint32_t)usual.rax;
	return kvm_call(hvt->cpu, KVM_SET_SREGS, &special) < 0
		? error_errno(e, "set the base of FS")
		: 0;
}
