/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine.c - the library OS as the kernel of a virtual machine of this process.
 *
 * Theory of operation. The machine has memory, one CPU and no device: a write to a port is a call (abi/machine.h). Behind
 * its memory it sees the image, which is the page cache's own and read-only, and the report. The kernel is part of this
 * program (berth-unikernel). Before it runs the process closes what is not its and locks itself: what is left is to run
 * the CPU and what the calls need. The guest's bytes are read only after that.
 */
#include "tender/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/text.h"
#include "model/elf64.h"
#include "tender/filter.h"
#include "tender/machine_parts.h"
#include "tender/machine_state.h"
#include "tender/outside.h"

#define PAGE         4096u
#define BIG_PAGE     (2 * MIB)
#define START_INFO   0x6000u
#define START_PLACE  0x8000u /* struct machine_start */
#define COMMAND_LINE 0x7800u
#define WORDS        0x10000u
#define WORDS_END    0xf0000u
#define KERNEL_ROOM  (4 * MIB)
#define MEMORY_MOST  (256 * GIB)
#define START_MAGIC  0x336ec578u
#define CR0_START    0x11u
#define RAM          1u

extern const uint8_t machine_kernel[], machine_kernel_end[]; /* of the build: berth-unikernel */

/* What PVH tells. */
struct start {
	struct {
		uint32_t magic, version, flags, module_count;
		uint64_t modules_at, command_line_at, rsdp_at, map_at;
		uint32_t map_count, reserved;
	} info;
	struct {
		uint64_t at, bytes, command_line_at, reserved;
	} module;
	struct {
		uint64_t at, bytes;
		uint32_t type, reserved;
	} map;
};

static struct machine machine = { .vm = -1, .cpu = -1 }; /* a handler of signals needs it */

int machine_probe(int *ret_fd, struct error *e)
{
	cleanup(close) int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return error_errno(e, "the engine kvm: open /dev/kvm");
	if (ioctl(fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return error_set(e, -ENOTSUP, "the engine kvm: this KVM is of another version");
	if (ret_fd)
		*ret_fd = TAKE_FD(fd);
	return 0;
}

static uint64_t round_up(uint64_t value, uint64_t unit)
{
	return (value + unit - 1) / unit * unit;
}

static int add_memory(uint32_t slot, uint64_t at, const void *memory, uint64_t bytes, bool is_read)
{
	struct kvm_userspace_memory_region region = { .slot = slot,
		.flags = is_read ? KVM_MEM_READONLY : 0,
		.guest_phys_addr = at,
		.memory_size = bytes,
		.userspace_addr = (uint64_t)(uintptr_t)memory };
	return ioctl(machine.vm, KVM_SET_USER_MEMORY_REGION, &region);
}

static int make_memory(struct error *e)
{
	const struct unikernel_options *options = machine.options;
	/* The library OS, its tables (two for each 2 MiB) and what was asked for. */
	uint64_t bytes = round_up(
		options->memory_bytes + options->memory_bytes / 256 + KERNEL_ROOM, BIG_PAGE);
	if (options->memory_bytes > MEMORY_MOST)
		return error_set(e, -EINVAL, "the engine kvm: a unikernel has 256 GiB at most");
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return error_errno(e, "map %" PRIu64 " bytes of memory", bytes);
	machine.memory = memory;
	machine.memory_bytes = bytes;
	if (options->from_fd) {
		int r = machine_state_map(&machine, e);
		if (r < 0)
			return r;
	}
	machine.image_at = bytes;
	machine.image_bytes = round_up(options->root_bytes, PAGE);
	if (add_memory(0, 0, memory, bytes, false) < 0 ||
		add_memory(1, machine.image_at, options->root, machine.image_bytes, true) < 0)
		return error_errno(e, "give the machine its memory");
	if (!options->report)
		return 0;
	machine.report_at = round_up(machine.image_at + machine.image_bytes, BIG_PAGE);
	if (add_memory(2, machine.report_at, options->report, PAGE, false) < 0)
		return error_errno(e, "give the machine its report");
	return 0;
}

static int set_cpuid(int kvm)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[128];
	} cpuid = { .head.nent = 128 };
	if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid) < 0)
		return -1;
	return ioctl(machine.cpu, KVM_SET_CPUID2, &cpuid);
}

static int make_cpu(int kvm, struct error *e)
{
	machine.cpu = ioctl(machine.vm, KVM_CREATE_VCPU, 0);
	if (machine.cpu < 0 || set_cpuid(kvm) < 0)
		return error_errno(e, "make a CPU");
	int khz = ioctl(machine.cpu, KVM_GET_TSC_KHZ, 0);
	machine.cycles_per_second = khz > 0 ? (uint64_t)khz * 1000 : 0;
	int bytes = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (bytes < (int)sizeof(struct kvm_run))
		return error_errno(e, "KVM's run structure");
	void *run = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, machine.cpu, 0);
	if (run == MAP_FAILED)
		return error_errno(e, "map KVM's run structure");
	machine.run = run;
	struct kvm_sregs special;
	if (ioctl(machine.cpu, KVM_GET_SREGS, &special) < 0)
		return error_errno(e, "read the CPU's registers");
	machine.apic_base = special.apic_base;
	return 0;
}

static int load_kernel(uint64_t *ret_entry, struct error *e)
{
	struct elf elf;
	int r = elf_open(machine_kernel, (size_t)(machine_kernel_end - machine_kernel), &elf, e);
	for (uint32_t i = 0; r == 0 && i < elf.segment_count; i++) {
		const Elf64_Phdr *segment = &elf.segments[i];
		if (segment->p_type != PT_LOAD)
			continue;
		if (segment->p_paddr + segment->p_memsz > KERNEL_ROOM)
			return error_set(e, -ENOEXEC, "the library OS does not fit");
		memcpy(machine.memory + segment->p_paddr, elf.data + segment->p_offset,
			segment->p_filesz);
	}
	*ret_entry = elf.entry;
	return r;
}

/* 32-bit, flat, without paging: as PVH has it. */
static int set_entry(uint64_t entry, struct error *e)
{
	struct kvm_sregs special;
	if (ioctl(machine.cpu, KVM_GET_SREGS, &special) < 0)
		return error_errno(e, "read the CPU's registers");
	const struct kvm_segment data = { .limit = UINT32_MAX,
		.selector = 0x18,
		.type = 3,
		.present = 1,
		.db = 1,
		.s = 1,
		.g = 1 };
	special.ds = special.es = special.fs = special.gs = special.ss = data;
	special.cs = data;
	special.cs.selector = 0x10;
	special.cs.type = 11;
	special.cr0 = CR0_START;
	special.cr4 = special.efer = 0;
	const struct kvm_regs usual = { .rip = entry, .rbx = START_INFO, .rflags = 2 };
	if (ioctl(machine.cpu, KVM_SET_SREGS, &special) < 0 ||
		ioctl(machine.cpu, KVM_SET_REGS, &usual) < 0)
		return error_errno(e, "set the CPU's registers");
	return 0;
}

static int add_words(char **list, uint32_t count, uint64_t *at, struct error *e)
{
	for (uint32_t i = 0; i < count; i++) {
		size_t length = strlen(list[i]) + 1;
		if (length > WORDS_END - *at)
			return error_set(e, -E2BIG,
				"the engine kvm: the arguments and the environment are too long");
		memcpy(machine.memory + *at, list[i], length);
		*at += length;
	}
	return 0;
}

static int write_boot(struct machine_start *start, struct error *e)
{
	const struct unikernel_options *options = machine.options;
	uint64_t at = WORDS;
	int r = add_words(options->arguments, options->argument_count, &at, e);
	if (r == 0)
		r = add_words(options->environment, options->environment_count, &at, e);
	if (r < 0)
		return r;
	start->boot = (struct boot){ .version = BOOT_VERSION,
		.size = sizeof(struct boot),
		.words_address = WORDS,
		.words_bytes = (uint32_t)(at - WORDS),
		.argument_count = options->argument_count,
		.environment_count = options->environment_count,
		.flags = (isatty(STDIN_FILENO) ? BOOT_IN_TERMINAL : 0) |
			(isatty(STDOUT_FILENO) ? BOOT_OUT_TERMINAL : 0) |
			(options->is_verbose ? BOOT_VERBOSE : 0) |
			(options->card->fd ? BOOT_NET : 0) |
			(options->card->has_header ? BOOT_NET_OFFLOAD : 0),
		.volume_bytes = options->volume_bytes,
		.net = options->card->net };
	char *directory = (char *)(uintptr_t)options->directory;
	if (directory) {
		start->boot.directory_address = at;
		r = add_words(&directory, 1, &at, e);
	}
	if (getrandom(start->boot.random, sizeof(start->boot.random), 0) !=
		sizeof(start->boot.random))
		return error_errno(e, "random bytes");
	return r;
}

static int write_start(struct error *e)
{
	struct timespec now;
	struct machine_start own = { .cycles_per_second = machine.cycles_per_second,
		.memory_bytes = machine.options->memory_bytes,
		.report_at = machine.report_at,
		.keep_signal = machine.options->channel_fd ? SUSPEND_SIGNAL : 0 };
	const struct start start = { .info = { .magic = START_MAGIC,
					     .version = 1,
					     .module_count = 1,
					     .modules_at =
						     START_INFO + offsetof(struct start, module),
					     .command_line_at = COMMAND_LINE,
					     .map_at = START_INFO + offsetof(struct start, map),
					     .map_count = 1 },
		.module = { .at = machine.image_at, .bytes = machine.options->root_bytes },
		.map = { .bytes = machine.memory_bytes, .type = RAM } };
	int r = write_boot(&own, e);
	(void)clock_gettime(CLOCK_REALTIME, &now);
	own.realtime_ns = (uint64_t)now.tv_sec * NS_PER_SEC + (uint64_t)now.tv_nsec;
	memcpy(machine.memory + START_PLACE, &own, sizeof(own));
	if (machine.options->from_fd) /* it has read the rest */
		return r;
	memcpy(machine.memory + START_INFO, &start, sizeof(start));
	(void)snprintf((char *)machine.memory + COMMAND_LINE, 64, MACHINE_WORD "%#x", START_PLACE);
	return r;
}

/* Somebody outside wants something. */
static void on_signal(int number)
{
	machine.signals |= UINT64_C(1) << (number - 1);
	machine.wait_left.tv_sec = machine.wait_left.tv_nsec = 0;
	machine.run->immediate_exit = 1;
}

static int catch_signal(int number)
{
	return sigaction(number, &(struct sigaction){ .sa_handler = on_signal }, NULL);
}

/* Nothing stays open but the console and what has a number of its own. */
static int settle_descriptors(struct error *e)
{
	const struct unikernel_options *options = machine.options;
	const int from[] = { options->card->fd ?: -1, options->volume_fd ?: -1,
		options->ready_fd ?: -1, machine.vm, machine.cpu, options->channel_fd ?: -1 };
	int high[ARRAY_SIZE(from)];
	for (size_t i = 0; i < ARRAY_SIZE(from); i++) {
		high[i] = from[i] < 0 ? -1 : fcntl(from[i], F_DUPFD, MACHINE_CHANNEL_FD + 1);
		if (from[i] >= 0 && high[i] < 0)
			return error_errno(e, "give a descriptor its number");
	}
	(void)syscall(SYS_close_range, MACHINE_CARD_FD, MACHINE_CHANNEL_FD, 0);
	for (size_t i = 0; i < ARRAY_SIZE(from); i++)
		if (high[i] >= 0 && dup2(high[i], MACHINE_CARD_FD + (int)i) < 0)
			return error_errno(e, "give a descriptor its number");
	if (syscall(SYS_close_range, MACHINE_CHANNEL_FD + 1, UINT32_MAX, 0) < 0)
		return error_errno(e, "close_range");
	machine.vm = MACHINE_VM_FD;
	machine.cpu = MACHINE_CPU_FD;
	return 0;
}

#define ONLY(filter, call, ...) \
	do { \
		const struct filter_condition only[] = { __VA_ARGS__ }; \
		filter_allow(filter, call, only, ARRAY_SIZE(only)); \
	} while (0)

static int lock(struct error *e)
{
	static struct filter filter; /* too large for a stack; used once */
	static const uint32_t kept[] = { KVM_GET_REGS, KVM_GET_SREGS, KVM_GET_MSRS, KVM_GET_XCRS };
	const struct unikernel_options *options = machine.options;
	filter_begin(&filter);
	ONLY(&filter, SYS_ioctl, { 0, FILTER_EQUAL, MACHINE_CPU_FD }, { 1, FILTER_EQUAL, KVM_RUN });
	ONLY(&filter, SYS_ioctl, { 0, FILTER_EQUAL, MACHINE_CPU_FD }, { 1, FILTER_EQUAL, KVM_NMI });
	ONLY(&filter, SYS_write, { 0, FILTER_EQUAL, STDOUT_FILENO });
	ONLY(&filter, SYS_write, { 0, FILTER_EQUAL, STDERR_FILENO });
	ONLY(&filter, SYS_read, { 0, FILTER_EQUAL, STDIN_FILENO });
	ONLY(&filter, SYS_ppoll, { 1, FILTER_AT_MOST, 2 });
	ONLY(&filter, SYS_clock_gettime, { 0, FILTER_EQUAL, CLOCK_MONOTONIC });
	ONLY(&filter, SYS_close, { 0, FILTER_EQUAL, MACHINE_READY_FD });
	ONLY(&filter, SYS_madvise, { 2, FILTER_EQUAL, MADV_DONTNEED });
	if (options->card->fd) {
		ONLY(&filter, SYS_read, { 0, FILTER_EQUAL, MACHINE_CARD_FD });
		ONLY(&filter, SYS_writev, { 0, FILTER_EQUAL, MACHINE_CARD_FD });
	}
	if (options->volume_fd) {
		ONLY(&filter, SYS_pread64, { 0, FILTER_EQUAL, MACHINE_VOLUME_FD });
		ONLY(&filter, SYS_pwrite64, { 0, FILTER_EQUAL, MACHINE_VOLUME_FD });
		ONLY(&filter, SYS_fdatasync, { 0, FILTER_EQUAL, MACHINE_VOLUME_FD });
	}
	if (options->channel_fd) {
		ONLY(&filter, SYS_write, { 0, FILTER_EQUAL, MACHINE_CHANNEL_FD });
		ONLY(&filter, SYS_read, { 0, FILTER_EQUAL, MACHINE_CHANNEL_FD });
		for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
			ONLY(&filter, SYS_ioctl, { 0, FILTER_EQUAL, MACHINE_CPU_FD },
				{ 1, FILTER_EQUAL, kept[i] });
	}
	if (machine.shows_state)
		ONLY(&filter, SYS_mmap, { 2, FILTER_EQUAL, PROT_READ | PROT_WRITE },
			{ 3, FILTER_EQUAL, MACHINE_FRESH });
	filter_allow(&filter, SYS_rt_sigreturn, NULL, 0);
	filter_allow(&filter, SYS_exit_group, NULL, 0);
	int r = filter_end(&filter, e);
	const struct rlimit none = { 0, 0 };
	setrlimit(RLIMIT_CORE, &none);
	const struct rlimit volume = { options->volume_bytes, options->volume_bytes };
	if (options->volume_bytes)
		setrlimit(RLIMIT_FSIZE, &volume);
	prctl(PR_SET_DUMPABLE, 0);
	if (r == 0)
		r = filter_lock(&filter);
	return r < 0 ? error_code(e, r, "lock the process") : 0;
}

/* The guest finds them when its call is over; a program that makes none is interrupted. */
static void pass_signals(void)
{
	machine.run->immediate_exit = 0;
	if (!machine.signals_at)
		return;
	uint64_t bits = __atomic_exchange_n(&machine.signals, 0, __ATOMIC_SEQ_CST);
	if (!bits)
		return;
	__atomic_fetch_or(
		(uint64_t *)(void *)(machine.memory + machine.signals_at), bits, __ATOMIC_SEQ_CST);
	(void)ioctl(machine.cpu, KVM_NMI, 0);
}

static int take_exit(struct error *e)
{
	const struct kvm_run *run = machine.run;
	uint32_t address;
	if (run->exit_reason == KVM_EXIT_SHUTDOWN)
		return error_set(e, -EIO, "the library OS broke: its CPU shut down");
	if (run->exit_reason != KVM_EXIT_IO)
		return error_set(e, -EIO, "the CPU stopped for reason %u (%u)", run->exit_reason,
			run->exit_reason == KVM_EXIT_INTERNAL_ERROR ? run->internal.suberror : 0);
	if (run->io.direction != KVM_EXIT_IO_OUT || run->io.size != 4 || run->io.count != 1 ||
		run->io.port != MACHINE_PORT)
		return error_set(e, -EINVAL, "the program used the port %#x", run->io.port);
	memcpy(&address, (const uint8_t *)run + run->io.data_offset, sizeof(address));
	int r = machine_call(&machine, address);
	return r < 0 ? error_set(e, r, "a call names memory that the machine does not have") : r;
}

static int run_cpu(struct error *e)
{
	for (;;) {
		int r = ioctl(machine.cpu, KVM_RUN, 0) < 0 ? -errno : 0;
		if (r == -EINTR || r == -EAGAIN)
			r = 0;
		else if (r < 0)
			return error_code(e, r, "run the CPU");
		else
			r = take_exit(e);
		if (machine.signals || machine.run->immediate_exit)
			pass_signals();
		if (r != 0)
			return r < 0 ? r : 0;
	}
}

int machine_run(int kvm, const struct unikernel_options *options, struct error *e)
{
	uint64_t entry = 0;
	machine.options = options;
	machine.vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (machine.vm < 0)
		return error_errno(e, "make a virtual machine");
	int r = make_memory(e);
	if (r == 0)
		r = make_cpu(kvm, e);
	if (r == 0 && !options->from_fd)
		r = load_kernel(&entry, e);
	if (r == 0)
		r = write_start(e);
	if (r == 0)
		r = options->from_fd ? machine_state_load(&machine, e) : set_entry(entry, e);
	if (r == 0)
		r = outside_catch(catch_signal, machine.options->channel_fd != 0, e);
	if (r == 0)
		r = settle_descriptors(e);
	if (r == 0)
		r = lock(e);
	if (r < 0)
		return r;
	/* From here on the process is locked: nothing is let go of, and it ends at once. */
	if (run_cpu(e) < 0) {
		char sentence[ERROR_TEXT_SIZE + 32];
		int length = snprintf(sentence, sizeof(sentence), "berth-tender: %s\n", e->text);
		(void)!write(STDERR_FILENO, sentence, (size_t)length);
		machine.status = 255;
	}
	_exit(machine.status);
}
