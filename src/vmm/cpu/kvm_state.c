/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvm_state.c - registers, MSRs, extended state, LAPIC, PIC, IOAPIC and PIT by KVM's ioctls.
 */
#include "vmm/cpu/kvm_state.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

struct msr_field {
	uint32_t number;
	size_t offset;
};
#define FIELD(number, field) \
	{ \
		number, offsetof(struct cpu_state, field) \
	}

/* In the order in which they are set: the deadline timer comes after the TSC. */
static const struct msr_field msr_fields[] = {
	FIELD(0xc0000081, star),
	FIELD(0xc0000082, lstar),
	FIELD(0xc0000083, cstar),
	FIELD(0xc0000084, fmask),
	FIELD(0xc0000102, kernel_gs_base),
	FIELD(0x174, sysenter_cs),
	FIELD(0x175, sysenter_esp),
	FIELD(0x176, sysenter_eip),
	FIELD(0x277, pat),
	FIELD(0x1a0, misc_enable),
	FIELD(0x48, spec_ctrl),
	FIELD(0xc0000103, tsc_aux),
	FIELD(0xda0, xss),
	FIELD(0x2ff, mtrr_default),
	FIELD(0x250, mtrr_fixed[0]),
	FIELD(0x258, mtrr_fixed[1]),
	FIELD(0x259, mtrr_fixed[2]),
	FIELD(0x268, mtrr_fixed[3]),
	FIELD(0x269, mtrr_fixed[4]),
	FIELD(0x26a, mtrr_fixed[5]),
	FIELD(0x26b, mtrr_fixed[6]),
	FIELD(0x26c, mtrr_fixed[7]),
	FIELD(0x26d, mtrr_fixed[8]),
	FIELD(0x26e, mtrr_fixed[9]),
	FIELD(0x26f, mtrr_fixed[10]),
	FIELD(0x3b, tsc_adjust),
	FIELD(0x10, tsc),
	FIELD(0x6e0, tsc_deadline),
	FIELD(0x4b564d00, kvm_wall_clock),
	FIELD(0x4b564d01, kvm_system_time),
};
#define MTRR_VARIABLE 0x200

#define MSRS (ARRAY_SIZE(msr_fields) + ARRAY_SIZE(((struct cpu_state *)NULL)->mtrr_variable))

struct msr_list {
	struct kvm_msrs head;
	struct kvm_msr_entry entries[MSRS];
};

static uint64_t *field_of(struct cpu_state *state, const struct msr_field *field)
{
	return (uint64_t *)(void *)((uint8_t *)state + field->offset);
}

/* In the order in which they are set. */
static void list_msrs(
	struct cpu_state *state, struct kvm_msr_entry entries[MSRS], uint64_t *fields[MSRS])
{
	size_t n = 0;
	for (uint32_t i = 0; i < ARRAY_SIZE(state->mtrr_variable); i++, n++) {
		entries[n] = (struct kvm_msr_entry){ .index = MTRR_VARIABLE + i };
		fields[n] = &state->mtrr_variable[i];
	}
	for (size_t i = 0; i < ARRAY_SIZE(msr_fields); i++, n++) {
		entries[n] = (struct kvm_msr_entry){ .index = msr_fields[i].number };
		fields[n] = field_of(state, &msr_fields[i]);
	}
}

/* How many of `count` KVM took or gave before the first that it does not know; or -errno. */
static int exchange_msrs(int fd, unsigned long request, struct kvm_msr_entry *entries, size_t count)
{
	struct msr_list list = { .head = { .nmsrs = (uint32_t)count } };
	memcpy(list.entries, entries, count * sizeof(*entries));
	int r = ioctl(fd, request, &list);
	if (r > 0)
		memcpy(entries, list.entries, (size_t)r * sizeof(*entries));
	return r < 0 ? -errno : r;
}

static struct kvm_segment to_kvm(const struct cpu_segment *segment)
{
	uint16_t a = segment->attributes;
	return (struct kvm_segment){
		.base = segment->base,
		.limit = segment->limit,
		.selector = segment->selector,
		.type = a & 15,
		.s = a >> 4 & 1,
		.dpl = a >> 5 & 3,
		.present = a >> 7 & 1,
		.avl = a >> 12 & 1,
		.l = a >> 13 & 1,
		.db = a >> 14 & 1,
		.g = a >> 15 & 1,
		.unusable = !(a & CPU_ATTRIBUTE_PRESENT),
	};
}

static struct cpu_segment from_kvm(const struct kvm_segment *segment)
{
	struct cpu_segment ours = {
		.selector = segment->selector,
		.limit = segment->limit,
		.base = segment->base,
	};
	uint32_t present = segment->present && !segment->unusable;
	ours.attributes = (uint16_t)((uint32_t)segment->type | (uint32_t)segment->s << 4 |
		(uint32_t)segment->dpl << 5 | present << 7 | (uint32_t)segment->avl << 12 |
		(uint32_t)segment->l << 13 | (uint32_t)segment->db << 14 |
		(uint32_t)segment->g << 15);
	return ours;
}

static int load_sregs(int fd, const struct cpu_state *state)
{
	struct kvm_sregs sregs;
	if (ioctl(fd, KVM_GET_SREGS, &sregs) < 0)
		return -errno;
	sregs.es = to_kvm(&state->segments[CPU_ES]);
	sregs.cs = to_kvm(&state->segments[CPU_CS]);
	sregs.ss = to_kvm(&state->segments[CPU_SS]);
	sregs.ds = to_kvm(&state->segments[CPU_DS]);
	sregs.fs = to_kvm(&state->segments[CPU_FS]);
	sregs.gs = to_kvm(&state->segments[CPU_GS]);
	sregs.ldt = to_kvm(&state->segments[CPU_LDT]);
	sregs.tr = to_kvm(&state->segments[CPU_TR]);
	sregs.gdt.base = state->gdt.base;
	sregs.gdt.limit = (uint16_t)state->gdt.limit;
	sregs.idt.base = state->idt.base;
	sregs.idt.limit = (uint16_t)state->idt.limit;
	sregs.cr0 = state->cr0;
	sregs.cr2 = state->cr2;
	sregs.cr3 = state->cr3;
	sregs.cr4 = state->cr4;
	sregs.cr8 = state->cr8;
	sregs.efer = state->efer;
	sregs.apic_base = state->apic_base;
	memset(sregs.interrupt_bitmap, 0, sizeof(sregs.interrupt_bitmap));
	return ioctl(fd, KVM_SET_SREGS, &sregs) < 0 ? -errno : 0;
}

static int save_sregs(int fd, struct cpu_state *state)
{
	struct kvm_sregs sregs;
	if (ioctl(fd, KVM_GET_SREGS, &sregs) < 0)
		return -errno;
	state->segments[CPU_ES] = from_kvm(&sregs.es);
	state->segments[CPU_CS] = from_kvm(&sregs.cs);
	state->segments[CPU_SS] = from_kvm(&sregs.ss);
	state->segments[CPU_DS] = from_kvm(&sregs.ds);
	state->segments[CPU_FS] = from_kvm(&sregs.fs);
	state->segments[CPU_GS] = from_kvm(&sregs.gs);
	state->segments[CPU_LDT] = from_kvm(&sregs.ldt);
	state->segments[CPU_TR] = from_kvm(&sregs.tr);
	state->gdt = (struct cpu_table){ .base = sregs.gdt.base, .limit = sregs.gdt.limit };
	state->idt = (struct cpu_table){ .base = sregs.idt.base, .limit = sregs.idt.limit };
	state->cr0 = sregs.cr0;
	state->cr2 = sregs.cr2;
	state->cr3 = sregs.cr3;
	state->cr4 = sregs.cr4;
	state->cr8 = sregs.cr8;
	state->efer = sregs.efer;
	state->apic_base = sregs.apic_base;
	return 0;
}

static int load_regs(int fd, const struct cpu_state *state)
{
	struct kvm_regs regs = {
		.rax = state->gpr[CPU_RAX],
		.rbx = state->gpr[CPU_RBX],
		.rcx = state->gpr[CPU_RCX],
		.rdx = state->gpr[CPU_RDX],
		.rsi = state->gpr[CPU_RSI],
		.rdi = state->gpr[CPU_RDI],
		.rsp = state->gpr[CPU_RSP],
		.rbp = state->gpr[CPU_RBP],
		.r8 = state->gpr[8],
		.r9 = state->gpr[9],
		.r10 = state->gpr[10],
		.r11 = state->gpr[11],
		.r12 = state->gpr[12],
		.r13 = state->gpr[13],
		.r14 = state->gpr[14],
		.r15 = state->gpr[15],
		.rip = state->rip,
		.rflags = state->rflags,
	};
	return ioctl(fd, KVM_SET_REGS, &regs) < 0 ? -errno : 0;
}

static int save_regs(int fd, struct cpu_state *state)
{
	struct kvm_regs regs;
	if (ioctl(fd, KVM_GET_REGS, &regs) < 0)
		return -errno;
	const uint64_t gpr[16] = { regs.rax, regs.rcx, regs.rdx, regs.rbx, regs.rsp, regs.rbp,
		regs.rsi, regs.rdi, regs.r8, regs.r9, regs.r10, regs.r11, regs.r12, regs.r13,
		regs.r14, regs.r15 };
	memcpy(state->gpr, gpr, sizeof(gpr));
	state->rip = regs.rip;
	state->rflags = regs.rflags;
	return 0;
}

static int load_extended(int fd, const struct cpu_state *state)
{
	struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs = { { .xcr = 0, .value = state->xcr0 } } };
	struct kvm_xsave xsave;
	if (state->xcr0 && ioctl(fd, KVM_SET_XCRS, &xcrs) < 0)
		return errno == EINVAL ? -ENOTSUP : -errno;
	static_assert(sizeof(xsave) == CPU_XSAVE_BYTES, "layout");
	memcpy(&xsave, state->xsave, sizeof(xsave));
	return ioctl(fd, KVM_SET_XSAVE, &xsave) < 0 ? -errno : 0;
}

static int save_extended(int fd, struct cpu_state *state)
{
	struct kvm_xcrs xcrs;
	struct kvm_xsave xsave;
	state->xcr0 = 1;
	if (ioctl(fd, KVM_GET_XCRS, &xcrs) == 0 && xcrs.nr_xcrs > 0)
		state->xcr0 = xcrs.xcrs[0].value;
	if (ioctl(fd, KVM_GET_XSAVE, &xsave) < 0)
		return -errno;
	memcpy(state->xsave, &xsave, sizeof(xsave));
	return 0;
}

static int load_events(int fd, const struct cpu_state *state)
{
	struct kvm_vcpu_events events;
	struct kvm_debugregs debug = { .dr6 = state->dr[6], .dr7 = state->dr[7] };
	memcpy(debug.db, state->dr, sizeof(debug.db));
	if (ioctl(fd, KVM_SET_DEBUGREGS, &debug) < 0 && errno != ENOTTY)
		return -errno;
	if (ioctl(fd, KVM_GET_VCPU_EVENTS, &events) < 0)
		return -errno;
	events.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
	events.exception.injected = (state->blocked & CPU_EXCEPTION_PENDING) != 0;
	events.exception.nr = (uint8_t)state->exception;
	events.exception.has_error_code = (state->blocked & CPU_EXCEPTION_HAS_CODE) != 0;
	events.exception.error_code = state->exception_code;
	events.interrupt.injected = 0;
	events.interrupt.shadow = (uint8_t)(((state->blocked & CPU_BLOCKED_BY_STI) ? 1 : 0) |
		((state->blocked & CPU_BLOCKED_BY_SS) ? 2 : 0));
	events.nmi.pending = (state->blocked & CPU_NMI_PENDING) != 0;
	events.nmi.masked = (state->blocked & CPU_BLOCKED_BY_NMI) != 0;
	events.nmi.injected = 0;
	return ioctl(fd, KVM_SET_VCPU_EVENTS, &events) < 0 ? -errno : 0;
}

static int save_events(int fd, struct cpu_state *state)
{
	struct kvm_vcpu_events events;
	struct kvm_debugregs debug = {};
	if (ioctl(fd, KVM_GET_DEBUGREGS, &debug) == 0) {
		memcpy(state->dr, debug.db, sizeof(debug.db));
		state->dr[6] = debug.dr6;
		state->dr[7] = debug.dr7;
	}
	if (ioctl(fd, KVM_GET_VCPU_EVENTS, &events) < 0)
		return -errno;
	if (events.exception.injected || events.exception.pending) {
		state->blocked |= CPU_EXCEPTION_PENDING;
		state->exception = events.exception.nr;
		state->exception_code = events.exception.error_code;
		if (events.exception.has_error_code)
			state->blocked |= CPU_EXCEPTION_HAS_CODE;
	}
	if (events.interrupt.shadow & 1)
		state->blocked |= CPU_BLOCKED_BY_STI;
	if (events.interrupt.shadow & 2)
		state->blocked |= CPU_BLOCKED_BY_SS;
	if (events.nmi.pending || events.nmi.injected)
		state->blocked |= CPU_NMI_PENDING;
	if (events.nmi.masked)
		state->blocked |= CPU_BLOCKED_BY_NMI;
	return 0;
}

static const uint32_t mp_states[] = {
	[CPU_ACTIVE] = KVM_MP_STATE_RUNNABLE,
	[CPU_HALTED] = KVM_MP_STATE_HALTED,
	[CPU_WAITS_FOR_SIPI] = KVM_MP_STATE_UNINITIALIZED,
	[CPU_SHUT_DOWN] = KVM_MP_STATE_HALTED,
};

static int load_lapic(int fd, const struct cpu_state *state)
{
	struct kvm_lapic_state lapic;
	struct kvm_mp_state mp = { .mp_state = mp_states[state->activity] };
	static_assert(sizeof(lapic) == CPU_LAPIC_BYTES, "layout");
	memcpy(&lapic, state->lapic, sizeof(lapic));
	if (ioctl(fd, KVM_SET_LAPIC, &lapic) < 0 || ioctl(fd, KVM_SET_MP_STATE, &mp) < 0)
		return -errno;
	return 0;
}

static int save_lapic(int fd, struct cpu_state *state)
{
	struct kvm_lapic_state lapic;
	struct kvm_mp_state mp;
	if (ioctl(fd, KVM_GET_LAPIC, &lapic) < 0 || ioctl(fd, KVM_GET_MP_STATE, &mp) < 0)
		return -errno;
	memcpy(state->lapic, &lapic, sizeof(lapic));
	switch (mp.mp_state) {
	case KVM_MP_STATE_HALTED:
		state->activity = CPU_HALTED;
		break;
	case KVM_MP_STATE_UNINITIALIZED:
	case KVM_MP_STATE_INIT_RECEIVED:
		state->activity = CPU_WAITS_FOR_SIPI;
		break;
	default:
		state->activity = CPU_ACTIVE;
	}
	return 0;
}

static int load_msrs(int fd, const struct cpu_state *state)
{
	struct cpu_state copy = *state;
	struct kvm_msr_entry entries[MSRS];
	uint64_t *fields[MSRS];
	list_msrs(&copy, entries, fields);
	for (size_t i = 0; i < MSRS; i++)
		entries[i].data = *fields[i];
	for (size_t done = 0; done < MSRS; done++) {
		int r = exchange_msrs(fd, KVM_SET_MSRS, entries + done, MSRS - done);
		done += r > 0 ? (size_t)r : 0;
		/* A register that the host does not have need not be set to 0. */
		if (done < MSRS && entries[done].data != 0)
			return r < 0 ? r : -EINVAL;
	}
	return 0;
}

/* A register that the host does not have reads as 0. */
static void save_msrs(int fd, struct cpu_state *state)
{
	struct kvm_msr_entry entries[MSRS];
	uint64_t *fields[MSRS];
	list_msrs(state, entries, fields);
	for (size_t done = 0; done < MSRS; done++) {
		int r = exchange_msrs(fd, KVM_GET_MSRS, entries + done, MSRS - done);
		for (int i = 0; i < r; i++, done++)
			*fields[done] = entries[done].data;
		if (done < MSRS)
			*fields[done] = 0;
	}
}

int kvm_load_cpu(int vcpu_fd, const struct cpu_state *state)
{
	if (state->version != CPU_STATE_VERSION || state->bytes != sizeof(*state) ||
		state->activity >= ARRAY_SIZE(mp_states))
		return -EINVAL;
	int r = load_sregs(vcpu_fd, state);
	if (r == 0)
		r = load_extended(vcpu_fd, state);
	if (r == 0)
		r = load_lapic(vcpu_fd, state);
	if (r == 0)
		r = load_msrs(vcpu_fd, state);
	if (r == 0)
		r = load_regs(vcpu_fd, state);
	return r == 0 ? load_events(vcpu_fd, state) : r;
}

int kvm_save_cpu(int vcpu_fd, struct cpu_state *state)
{
	*state = (struct cpu_state){ .version = CPU_STATE_VERSION, .bytes = sizeof(*state) };
	int r = save_sregs(vcpu_fd, state);
	if (r == 0)
		r = save_regs(vcpu_fd, state);
	if (r == 0)
		r = save_extended(vcpu_fd, state);
	if (r == 0)
		r = save_lapic(vcpu_fd, state);
	if (r == 0)
		r = save_events(vcpu_fd, state);
	if (r < 0)
		return r;
	save_msrs(vcpu_fd, state);
	return 0;
}

static struct kvm_pic_state pic_to_kvm(const struct pic_state *pic, bool is_second)
{
	return (struct kvm_pic_state){
		.last_irr = pic->lines,
		.irr = pic->irr,
		.imr = pic->imr,
		.isr = pic->isr,
		.priority_add = pic->priority,
		.irq_base = pic->vector_base,
		.read_reg_select = pic->read_isr,
		.poll = pic->poll,
		.special_mask = pic->special_mask,
		.init_state = pic->init_step,
		.auto_eoi = pic->auto_eoi,
		.rotate_on_auto_eoi = pic->rotate,
		.special_fully_nested_mode = pic->fully_nested,
		.init4 = pic->has_icw4,
		.elcr = pic->elcr,
		.elcr_mask = is_second ? 0xde : 0xf8,
	};
}

static struct pic_state pic_from_kvm(const struct kvm_pic_state *pic)
{
	return (struct pic_state){
		.lines = pic->last_irr,
		.irr = pic->irr,
		.imr = pic->imr,
		.isr = pic->isr,
		.priority = pic->priority_add,
		.vector_base = pic->irq_base,
		.read_isr = pic->read_reg_select,
		.poll = pic->poll,
		.special_mask = pic->special_mask,
		.init_step = pic->init_state,
		.auto_eoi = pic->auto_eoi,
		.rotate = pic->rotate_on_auto_eoi,
		.fully_nested = pic->special_fully_nested_mode,
		.has_icw4 = pic->init4,
		.elcr = pic->elcr,
	};
}

/* The clock by which KVM notes when a PIT channel was loaded. */
static int64_t pit_now(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * (int64_t)NS_PER_SEC + now.tv_nsec;
}

static int load_pit(int fd, const struct chips_state *state)
{
	struct kvm_pit_state2 pit = {};
	int64_t now = pit_now();
	for (size_t i = 0; i < ARRAY_SIZE(pit.channels); i++) {
		const struct pit_channel_state *from = &state->pit[i];
		pit.channels[i] = (struct kvm_pit_channel_state){
			.count = from->count,
			.latched_count = from->latched,
			.count_latched = from->latch_state,
			.status_latched = from->status_latched,
			.status = from->status,
			.read_state = from->read_state,
			.write_state = from->write_state,
			.write_latch = from->write_low,
			.rw_mode = from->access,
			.mode = from->mode,
			.bcd = from->bcd,
			.gate = from->gate,
			.count_load_time = now - (int64_t)from->elapsed_ns,
		};
	}
	return ioctl(fd, KVM_SET_PIT2, &pit) < 0 ? -errno : 0;
}

static int save_pit(int fd, struct chips_state *state)
{
	struct kvm_pit_state2 pit;
	if (ioctl(fd, KVM_GET_PIT2, &pit) < 0)
		return -errno;
	int64_t now = pit_now();
	for (size_t i = 0; i < ARRAY_SIZE(pit.channels); i++) {
		const struct kvm_pit_channel_state *from = &pit.channels[i];
		int64_t elapsed = now - from->count_load_time;
		state->pit[i] = (struct pit_channel_state){
			.count = from->count,
			.latched = from->latched_count,
			.latch_state = from->count_latched,
			.status_latched = from->status_latched,
			.status = from->status,
			.read_state = from->read_state,
			.write_state = from->write_state,
			.write_low = from->write_latch,
			.access = from->rw_mode,
			.mode = from->mode,
			.bcd = from->bcd,
			.gate = from->gate,
			.elapsed_ns = elapsed > 0 ? (uint64_t)elapsed : 0,
		};
	}
	return 0;
}

int kvm_load_chips(int vm_fd, const struct chips_state *state)
{
	if (state->version != CHIPS_STATE_VERSION || state->bytes != sizeof(*state))
		return -EINVAL;
	for (uint32_t i = 0; i < 2; i++) {
		struct kvm_irqchip chip = { .chip_id = i };
		chip.chip.pic = pic_to_kvm(&state->pic[i], i == 1);
		if (ioctl(vm_fd, KVM_SET_IRQCHIP, &chip) < 0)
			return -errno;
	}
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };
	chip.chip.ioapic.base_address = 0xfec00000;
	chip.chip.ioapic.ioregsel = state->ioapic.select;
	chip.chip.ioapic.id = state->ioapic.id;
	chip.chip.ioapic.irr = state->ioapic.lines;
	for (uint32_t i = 0; i < KVM_IOAPIC_NUM_PINS; i++)
		chip.chip.ioapic.redirtbl[i].bits = state->ioapic.redirect[i];
	if (ioctl(vm_fd, KVM_SET_IRQCHIP, &chip) < 0)
		return -errno;
	return load_pit(vm_fd, state);
}

int kvm_save_chips(int vm_fd, struct chips_state *state)
{
	*state = (struct chips_state){ .version = CHIPS_STATE_VERSION, .bytes = sizeof(*state) };
	for (uint32_t i = 0; i < 2; i++) {
		struct kvm_irqchip chip = { .chip_id = i };
		if (ioctl(vm_fd, KVM_GET_IRQCHIP, &chip) < 0)
			return -errno;
		state->pic[i] = pic_from_kvm(&chip.chip.pic);
	}
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };
	if (ioctl(vm_fd, KVM_GET_IRQCHIP, &chip) < 0)
		return -errno;
	state->ioapic.select = chip.chip.ioapic.ioregsel;
	state->ioapic.id = chip.chip.ioapic.id;
	state->ioapic.lines = chip.chip.ioapic.irr;
	for (uint32_t i = 0; i < KVM_IOAPIC_NUM_PINS; i++)
		state->ioapic.redirect[i] = chip.chip.ioapic.redirtbl[i].bits;
	return save_pit(vm_fd, state);
}
