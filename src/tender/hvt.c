/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hvt.c - a Solo5 unikernel in a virtual machine of this process.
 *
 * Theory of operation. The machine has memory, one CPU and no device: a write to a port is a hypercall. The
 * unikernel's segments are mapped with their rights on the host's side, never writable and executable at once,
 * so that a guest that breaks them ends with a fault of KVM. Before it runs the process closes what is not its and
 * locks itself: what is left is to run the CPU, its devices' descriptors, and to write to the console.
 */
#include "tender/hvt.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>

#include "tender/filter.h"
#include "tender/hvt_machine.h"
#include "tender/segments.h"

#define PAGE 4096u

/* Rights are those of the host's side: KVM cannot give the guest more than we have ourselves, and reads what it executes. */
static struct segments_memory memory_of(const struct hvt *hvt)
{
	return (struct segments_memory){ (uint64_t)(uintptr_t)hvt->memory, hvt->memory_bytes,
		SOLO5_HVT_KERNEL_MIN };
}

static int load_kernel(struct hvt *hvt, struct error *e)
{
	const struct segments_memory memory = memory_of(hvt);
	return segments_load(&hvt->solo5->elf, &memory, &hvt->kernel_end, e);
}

static int protect_kernel(const struct hvt *hvt, struct error *e)
{
	const struct segments_memory memory = memory_of(hvt);
	return segments_protect(&hvt->solo5->elf, &memory, true, e);
}

static int write_boot_info(struct hvt *hvt, const char *command_line, struct error *e)
{
	size_t length = strlen(command_line) + 1;
	if (length > SOLO5_COMMAND_LINE_SIZE)
		return error_set(e, -E2BIG, "the command line has %zu bytes, more than %d", length,
			SOLO5_COMMAND_LINE_SIZE);
	uint64_t manifest = SOLO5_HVT_BOOT_INFO + sizeof(struct solo5_hvt_boot);
	uint64_t text = manifest + solo5_manifest_size(hvt->solo5);
	const struct solo5_hvt_boot boot = {
		.memory_bytes = hvt->memory_bytes,
		.kernel_end = hvt->kernel_end,
		.cycles_per_second = hvt->cycles_per_second,
		.command_line = text,
		.manifest = manifest,
	};
	memcpy(hvt->memory + SOLO5_HVT_BOOT_INFO, &boot, sizeof(boot));
	memcpy(hvt->memory + manifest, &hvt->solo5->manifest, solo5_manifest_size(hvt->solo5));
	memcpy(hvt->memory + text, command_line, length);
	return 0;
}

#define ONLY(filter, call, ...) \
	do { \
		const struct filter_condition only[] = { __VA_ARGS__ }; \
		filter_allow(filter, call, only, ARRAY_SIZE(only)); \
	} while (0)

static void allow_device(struct filter *filter, const struct solo5_device *device)
{
	static const long of_cards[] = { SYS_read, SYS_write };
	static const long of_disks[] = { SYS_pread64, SYS_pwrite64 };
	const long *calls = device->type == SOLO5_DEVICE_NET ? of_cards : of_disks;
	for (size_t i = 0; i < 2; i++)
		ONLY(filter, calls[i], { 0, FILTER_EQUAL, device->host });
}

static int lock(const struct hvt *hvt, struct error *e)
{
	static const unsigned long requests[] = { KVM_RUN, KVM_GET_REGS, KVM_GET_SREGS,
		KVM_SET_SREGS };
	static struct filter filter; /* too large for a stack; used once */
	const struct solo5_manifest *manifest = &hvt->solo5->manifest;
	filter_begin(&filter);
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
		ONLY(&filter, SYS_ioctl, { 0, FILTER_EQUAL, (uint64_t)hvt->cpu },
			{ 1, FILTER_EQUAL, requests[i] });
	ONLY(&filter, SYS_write, { 0, FILTER_EQUAL, STDOUT_FILENO });
	ONLY(&filter, SYS_write, { 0, FILTER_EQUAL, STDERR_FILENO });
	ONLY(&filter, SYS_ppoll, { 1, FILTER_AT_MOST, SOLO5_DEVICES_MAX });
	ONLY(&filter, SYS_clock_gettime, { 0, FILTER_EQUAL, CLOCK_REALTIME });
	filter_allow(&filter, SYS_exit_group, NULL, 0);
	for (uint32_t i = 0; i < manifest->count; i++)
		if (manifest->devices[i].is_attached)
			allow_device(&filter, &manifest->devices[i]);
	int r = filter_end(&filter, e);
	const struct rlimit none = { 0, 0 };
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0);
	if (r == 0)
		r = filter_lock(&filter);
	return r < 0 ? error_code(e, r, "lock the process") : 0;
}

static int end_by_fault(const struct hvt *hvt, struct error *e)
{
	struct kvm_regs usual;
	int code = errno;
	if (code != EFAULT || kvm_call(hvt->cpu, KVM_GET_REGS, &usual) < 0)
		return error_code(e, -code, "run the CPU");
	return error_set(
		e, -EFAULT, "host/guest translation fault: rip=%#" PRIx64, (uint64_t)usual.rip);
}

static int halt(const struct hvt *hvt, uint64_t address, int *ret_status, struct error *e)
{
	struct solo5_hvt_halt halt;
	const void *arguments = hvt_at(hvt, address, sizeof(halt));
	if (!arguments)
		return error_set(e, -EFAULT, "halt names memory that the guest does not have");
	memcpy(&halt, arguments, sizeof(halt));
	*ret_status = halt.status;
	return 0;
}

/* 1 at its end. */
static int take_exit(struct hvt *hvt, bool *leaves_ring_0, int *ret_status, struct error *e)
{
	const struct kvm_run *run = hvt->run;
	if (run->exit_reason != KVM_EXIT_IO)
		return error_set(e, -EIO, "the CPU stopped for reason %u (%u)", run->exit_reason,
			run->exit_reason == KVM_EXIT_INTERNAL_ERROR ? run->internal.suberror : 0);
	uint32_t port = run->io.port, value;
	if (run->io.direction != KVM_EXIT_IO_OUT || run->io.size != 4 || run->io.count != 1)
		return error_set(e, -EINVAL, "the guest used the port %#x", port);
	memcpy(&value, (const uint8_t *)run + run->io.data_offset, sizeof(value));
	if (port == HVT_PORT_FS)
		return hvt_set_fs(hvt, e);
	if (port <= SOLO5_HVT_PORT || port >= SOLO5_HVT_PORT + SOLO5_HVT_CALLS)
		return error_set(e, -EINVAL, "the guest used the port %#x", port);
	if (port == SOLO5_HVT_PORT + SOLO5_HVT_HALT)
		return halt(hvt, value, ret_status, e) < 0 ? -EFAULT : 1;
	int r = hvt_call(hvt, port - SOLO5_HVT_PORT, value, e);
	if (r == 0 && *leaves_ring_0) {
		*leaves_ring_0 = false;
		r = hvt_enter_ring_3(hvt, e);
	}
	return r;
}

static int run_cpu(struct hvt *hvt, bool leaves_ring_0, int *ret_status, struct error *e)
{
	for (;;) {
		if (kvm_call(hvt->cpu, KVM_RUN, 0) < 0) {
			if (errno == EINTR)
				continue;
			return end_by_fault(hvt, e);
		}
		int r = take_exit(hvt, &leaves_ring_0, ret_status, e);
		if (r != 0)
			return r < 0 ? r : 0;
	}
}

static int prepare(struct hvt *hvt, const char *command_line, enum hvt_ring ring,
	bool *ret_leaves_ring_0, struct error *e)
{
	bool is_interpreted = ring == HVT_RING_3;
	int r = load_kernel(hvt, e);
	if (r == 0)
		r = hvt_open_machine(hvt, e);
	if (r == 0 && ring == HVT_RING_MEASURED)
		r = hvt_measure_ring_0(hvt, &is_interpreted, e);
	if (r == 0)
		r = hvt_set_entry(hvt, e);
	if (r == 0 && is_interpreted)
		hvt_patch_for_ring_3(hvt);
	if (r == 0)
		r = write_boot_info(hvt, command_line, e);
	if (r == 0)
		r = protect_kernel(hvt, e);
	*ret_leaves_ring_0 = is_interpreted;
	return r;
}

int hvt_run(struct solo5 *solo5, uint64_t memory_bytes, const char *command_line,
	enum hvt_ring ring, int *ret_status, struct error *e)
{
	struct hvt hvt = {
		.solo5 = solo5, .memory_bytes = memory_bytes, .kvm = -1, .vm = -1, .cpu = -1
	};
	bool leaves_ring_0 = false;
	if (memory_bytes > HVT_MEMORY_MAX)
		return error_set(e, -EINVAL, "a unikernel of the target hvt has 4096 MiB at most");
	void *memory = mmap(NULL, memory_bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return error_errno(e, "map %" PRIu64 " bytes of memory", memory_bytes);
	hvt.memory = memory;
	int r = prepare(&hvt, command_line, ring, &leaves_ring_0, e);
	if (r == 0)
		r = lock(&hvt, e);
	if (r == 0)
		r = run_cpu(&hvt, leaves_ring_0, ret_status, e);
	return r;
}
