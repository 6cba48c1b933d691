/* SPDX-License-Identifier: Apache-2.0 */
/*
 * measure.c - what a call to the host costs: from a process, and from a virtual machine of it.
 *
 * That is what separates the two engines of unikernels: all else is the same library OS at the same speed. The smallest of
 * some rounds counts, since a busy host makes them longer and never shorter.
 */
#include "tender/measure.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS        5
#define PROCESS_CALLS 500u
#define MACHINE_CALLS 20u
#define PAGE          4096u

static uint64_t now_ns(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t measure_process(void)
{
	uint64_t best = UINT64_MAX;
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t start = now_ns();
		for (uint32_t i = 0; i < PROCESS_CALLS; i++)
			(void)syscall(SYS_getppid);
		uint64_t took = (now_ns() - start) / PROCESS_CALLS;
		best = took < best ? took : best;
	}
	return best;
}

static int start_cpu(int vm, int cpu, uint8_t *memory)
{
	/* In real mode: out %eax to a port, for ever. */
	static const uint8_t code[] = { 0xba, 0x10, 0x05, 0x66, 0xef, 0xeb, 0xfc };
	const struct kvm_userspace_memory_region region = { .memory_size = PAGE,
		.userspace_addr = (uint64_t)(uintptr_t)memory };
	const struct kvm_regs usual = { .rflags = 2 };
	struct kvm_sregs special;
	memcpy(memory, code, sizeof(code));
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0 ||
		ioctl(cpu, KVM_GET_SREGS, &special) < 0)
		return -errno;
	special.cs.base = special.cs.selector = 0;
	if (ioctl(cpu, KVM_SET_SREGS, &special) < 0 || ioctl(cpu, KVM_SET_REGS, &usual) < 0)
		return -errno;
	return 0;
}

static int time_calls(int cpu, const struct kvm_run *run, uint64_t *ret)
{
	uint64_t best = UINT64_MAX;
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t start = now_ns();
		for (uint32_t i = 0; i < MACHINE_CALLS; i++)
			if (ioctl(cpu, KVM_RUN, 0) < 0)
				return -errno;
			else if (run->exit_reason != KVM_EXIT_IO)
				return -EIO;
		uint64_t took = (now_ns() - start) / MACHINE_CALLS;
		best = took < best ? took : best;
	}
	*ret = best;
	return 0;
}

int measure_machine(uint64_t *ret, struct error *e)
{
	cleanup(close) int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		return error_errno(e, "open /dev/kvm");
	cleanup(close) int vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		return error_errno(e, "make a virtual machine");
	(void)ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000);
	cleanup(close) int cpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	int bytes = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (cpu < 0 || bytes < (int)sizeof(struct kvm_run))
		return error_errno(e, "make a CPU");
	void *memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *run = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
	int r = memory == MAP_FAILED || run == MAP_FAILED ? -errno : start_cpu(vm, cpu, memory);
	if (r == 0)
		r = time_calls(cpu, run, ret);
	if (memory != MAP_FAILED)
		munmap(memory, PAGE);
	if (run != MAP_FAILED)
		munmap(run, (size_t)bytes);
	return r < 0 ? error_code(e, r, "time calls of a virtual machine") : 0;
}
