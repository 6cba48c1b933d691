/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spt.c - a Solo5 unikernel in a locked process.
 *
 * Theory of operation. The guest's memory is mapped at its own addresses, from 0x10000 up to its size (the
 * pages below stay unmapped, so that a null pointer faults); the tender itself lies far above, being a
 * PIE. The ELF segments are copied to where they want to be and get their rights, never writable and
 * executable at once. Boot information, manifest and command line stand in the low pages. Then all
 * descriptors but the guest's are closed, the filter is installed, the stack pointer is set to the end of
 * the guest's memory and its entry is jumped to. From there on the filter is the only wall: the guest
 * makes its few system calls itself.
 */
#include "tender/spt.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>

#include "tender/filter.h"
#include "tender/segments.h"

#define PAGE_BYTES       4096u
#define ARCH_SET_FS_CODE 0x1002
#define PERSONALITY_ASK  0xffffffffu

struct spt {
	struct solo5 *solo5;
	uint64_t memory_bytes;
	uint64_t kernel_end;
	int epoll_fd;
	int timer_fd;
};

/* The guest's addresses are this process's. */
static void *at(uint64_t address)
{
	return (void *)(uintptr_t)address;
}

static int map_memory(const struct spt *spt, struct error *e)
{
	/* With this old switch of a process, readable would mean executable. */
	if (personality(PERSONALITY_ASK) & READ_IMPLIES_EXEC)
		return error_set(e, -EPERM, "the process runs with READ_IMPLIES_EXEC");
	if (mmap(at(SOLO5_SPT_LOW_BASE), spt->memory_bytes - SOLO5_SPT_LOW_BASE,
		    PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1,
		    0) == MAP_FAILED)
		return error_errno(e, "map %" PRIu64 " bytes of memory", spt->memory_bytes);
	return 0;
}

static int load_kernel(struct spt *spt, struct error *e)
{
	const struct segments_memory memory = { 0, spt->memory_bytes, SOLO5_SPT_KERNEL_MIN };
	int r = segments_load(&spt->solo5->elf, &memory, &spt->kernel_end, e);
	return r < 0 ? r : segments_protect(&spt->solo5->elf, &memory, false, e);
}

static int watch(int epoll_fd, int fd, uint64_t data)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = data };
	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static int open_waiting(struct spt *spt, struct error *e)
{
	spt->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	spt->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (spt->epoll_fd < 0 || spt->timer_fd < 0 ||
		watch(spt->epoll_fd, spt->timer_fd, SOLO5_SPT_TIMER_EVENT) < 0)
		return error_errno(e, "epoll and timer");
	const struct solo5_manifest *manifest = &spt->solo5->manifest;
	for (uint32_t i = 0; i < manifest->count; i++) {
		const struct solo5_device *device = &manifest->devices[i];
		if (device->is_attached && device->type == SOLO5_DEVICE_NET &&
			watch(spt->epoll_fd, (int)device->host, i) < 0)
			return error_errno(e, "watch %s", device->name);
	}
	return 0;
}

static int write_boot_info(const struct spt *spt, const char *command_line, struct error *e)
{
	size_t length = strlen(command_line) + 1;
	if (length > SOLO5_COMMAND_LINE_SIZE)
		return error_set(e, -E2BIG, "the command line has %zu bytes, more than %d", length,
			SOLO5_COMMAND_LINE_SIZE);
	uint64_t manifest = SOLO5_SPT_BOOT_INFO + sizeof(struct solo5_spt_boot);
	uint64_t text = manifest + solo5_manifest_size(spt->solo5);
	struct solo5_spt_boot boot = {
		.memory_bytes = spt->memory_bytes,
		.kernel_end = spt->kernel_end,
		.command_line = text,
		.manifest = manifest,
		.epoll_fd = spt->epoll_fd,
		.timer_fd = spt->timer_fd,
	};
	memcpy(at(SOLO5_SPT_BOOT_INFO), &boot, sizeof(boot));
	memcpy(at(manifest), &spt->solo5->manifest, solo5_manifest_size(spt->solo5));
	memcpy(at(text), command_line, length);
	return 0;
}

#define ONLY(filter, call, ...) \
	do { \
		static_assert(sizeof((struct filter_condition[]){ __VA_ARGS__ }) > 0, "empty"); \
		const struct filter_condition only[] = { __VA_ARGS__ }; \
		filter_allow(filter, call, only, ARRAY_SIZE(only)); \
	} while (0)

static void allow_device(struct filter *filter, const struct solo5_device *device)
{
	if (device->type == SOLO5_DEVICE_NET) {
		ONLY(filter, SYS_read, { 0, FILTER_EQUAL, device->host });
		ONLY(filter, SYS_write, { 0, FILTER_EQUAL, device->host });
		return;
	}
	uint64_t last = device->block.capacity_bytes - device->block.block_bytes;
	static const long calls[] = { SYS_pread64, SYS_pwrite64 };
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		ONLY(filter, calls[i], { 0, FILTER_EQUAL, device->host },
			{ 2, FILTER_EQUAL, device->block.block_bytes },
			{ 3, FILTER_AT_MOST, last });
}

static int build_filter(const struct spt *spt, struct filter *filter, struct error *e)
{
	const struct solo5_manifest *manifest = &spt->solo5->manifest;
	filter_begin(filter);
	ONLY(filter, SYS_write, { 0, FILTER_EQUAL, STDOUT_FILENO });
	ONLY(filter, SYS_epoll_pwait, { 0, FILTER_EQUAL, (uint64_t)spt->epoll_fd });
	ONLY(filter, SYS_timerfd_settime, { 0, FILTER_EQUAL, (uint64_t)spt->timer_fd });
	ONLY(filter, SYS_clock_gettime, { 0, FILTER_EQUAL, CLOCK_MONOTONIC });
	ONLY(filter, SYS_clock_gettime, { 0, FILTER_EQUAL, CLOCK_REALTIME });
	ONLY(filter, SYS_arch_prctl, { 0, FILTER_EQUAL, ARCH_SET_FS_CODE });
	filter_allow(filter, SYS_exit_group, NULL, 0);
	for (uint32_t i = 0; i < manifest->count; i++)
		if (manifest->devices[i].is_attached)
			allow_device(filter, &manifest->devices[i]);
	return filter_end(filter, e);
}

static int compare_ints(const void *a, const void *b)
{
	const int *left = a, *right = b;
	return *left < *right ? -1 : *left > *right;
}

/* Closes all but standard output and error and the guest's own descriptors. */
static int close_others(const struct spt *spt, struct error *e)
{
	int kept[SOLO5_DEVICES_MAX + 4] = { STDOUT_FILENO, STDERR_FILENO, spt->epoll_fd,
		spt->timer_fd };
	size_t count = 4;
	const struct solo5_manifest *manifest = &spt->solo5->manifest;
	for (uint32_t i = 0; i < manifest->count; i++)
		if (manifest->devices[i].is_attached)
			kept[count++] = (int)manifest->devices[i].host;
	qsort(kept, count, sizeof(kept[0]), compare_ints);
	int next = 0;
	for (size_t i = 0; i <= count; i++) {
		unsigned last = i < count ? (unsigned)kept[i] - 1 : UINT32_MAX;
		if ((unsigned)next <= last && (i == count || kept[i] > next) &&
			syscall(SYS_close_range, (unsigned)next, last, 0) < 0)
			return error_errno(e, "close_range");
		if (i < count)
			next = kept[i] + 1;
	}
	return 0;
}

static void enter(uint64_t entry, uint64_t stack) __attribute__((__noreturn__));
static void enter(uint64_t entry, uint64_t stack)
{
	/* The guest returns to nobody: a zero word ends its call chain. */
	__asm__ volatile("mov %1, %%rsp\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "jmp *%0"
			 :
			 : "r"(entry), "r"(stack), "D"((uint64_t)SOLO5_SPT_BOOT_INFO)
			 : "memory");
	__builtin_unreachable();
}

int spt_run(struct solo5 *solo5, uint64_t memory_bytes, const char *command_line, struct error *e)
{
	static struct filter filter; /* too large for a stack; used once */
	struct spt spt = { .solo5 = solo5, .memory_bytes = memory_bytes };
	int r = map_memory(&spt, e);
	if (r == 0)
		r = load_kernel(&spt, e);
	if (r == 0)
		r = open_waiting(&spt, e);
	if (r == 0)
		r = write_boot_info(&spt, command_line, e);
	if (r == 0)
		r = build_filter(&spt, &filter, e);
	if (r == 0)
		r = close_others(&spt, e);
	if (r < 0)
		return r;

	const struct rlimit none = { 0, 0 };
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0);
	r = filter_lock(&filter);
	if (r < 0)
		return error_code(e, r, "lock the process");
	enter(solo5->elf.entry, memory_bytes - 8);
}
