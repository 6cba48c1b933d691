/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine_state.c - a unikernel's machine in a file of snapshot_file.h, and from it.
 *
 * Theory of operation. Between two instructions of the guest a machine is its memory and a few registers; vector registers
 * are in its memory, since the library OS puts them there before it calls. So the file has the registers where that of a
 * process has variables, then the whole memory, with holes where nothing was. Nothing of it is believed: registers go to KVM,
 * memory is the guest's.
 */
#include "tender/machine_state.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tender/snapshot_file.h"

#define PAGE         4096u
#define PART_MOST    (256u * KIB)
#define XCRS_MISSING 0u

extern const uint8_t machine_kernel[], machine_kernel_end[]; /* of the build: berth-unikernel */

/* Of system calls and of the base that swapgs takes; all others are as KVM makes them, or of no use to the guest. */
static const uint32_t models[] = { 0xc0000081, 0xc0000082, 0xc0000084, 0xc0000102 };

struct model_list {
	struct kvm_msrs head;
	struct kvm_msr_entry entries[ARRAY_SIZE(models)];
};

struct registers_kept {
	struct kvm_regs usual;
	struct kvm_sregs special;
	struct kvm_xcrs extended;
	struct model_list models;
};

/* Worked out once: the kernel's bytes do not change, and a start from a state asks several times. */
static const struct snapshot_build *build_of(void)
{
	static struct snapshot_build build;
	if (build.end)
		return &build;
	uint64_t sum = UINT64_C(14695981039346656037);
	for (const uint8_t *at = machine_kernel; at < machine_kernel_end; at++)
		sum = (sum ^ *at) * UINT64_C(1099511628211);
	build.sum = sum;
	build.end = (uint64_t)(machine_kernel_end - machine_kernel);
	return &build;
}

static int read_head(int fd, struct snapshot_head *ret, struct error *e)
{
	return snapshot_read_head(fd, build_of(), SNAPSHOT_KVM, ret, e);
}

int machine_state_read(int fd, struct snapshot_place *ret, struct error *e)
{
	struct snapshot_head head;
	int r = read_head(fd, &head, e);
	if (r == 0)
		*ret = head.place;
	return r;
}

static struct snapshot_place place_of(const struct machine *machine)
{
	struct snapshot_place place = machine->options->place;
	place.memory_bytes = machine->options->memory_bytes;
	place.volume_bytes = machine->options->volume_bytes;
	place.vdso = place.clock_ns = 0; /* its own, which goes on wherever it is */
	return place;
}

int machine_state_map(struct machine *machine, struct error *e)
{
	struct snapshot_head head;
	struct stat status;
	int fd = machine->options->from_fd;
	const struct snapshot_place place = place_of(machine);
	int r = read_head(fd, &head, e);
	if (r == 0)
		r = snapshot_check_place(&head.place, &place, e);
	if (r < 0)
		return r;
	if (head.memory_at > INT64_MAX - machine->memory_bytes || fstat(fd, &status) < 0 ||
		(uint64_t)status.st_size < head.memory_at + machine->memory_bytes)
		return error_set(e, -EINVAL, "its state ends early");
	if (mmap(machine->memory, machine->memory_bytes, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd,
		    (off_t)head.memory_at) == MAP_FAILED)
		return error_errno(e, "map its memory");
	machine->shows_state = true;
	return 0;
}

int machine_state_load(const struct machine *machine, struct error *e)
{
	struct snapshot_head head;
	struct registers_kept kept;
	int fd = machine->options->from_fd;
	int r = read_head(fd, &head, e);
	if (r < 0)
		return r;
	if (pread(fd, &kept, sizeof(kept), (off_t)(head.data_at & INT64_MAX)) != sizeof(kept))
		return error_set(e, -EINVAL, "its state ends early");
	for (size_t i = 0; i < ARRAY_SIZE(models); i++)
		kept.models.entries[i].index = models[i];
	kept.models.head.nmsrs = ARRAY_SIZE(models);
	kept.special.apic_base = machine->apic_base;
	memset(kept.special.interrupt_bitmap, 0, sizeof(kept.special.interrupt_bitmap));
	if (kept.extended.nr_xcrs != XCRS_MISSING &&
		(kept.extended.nr_xcrs > KVM_MAX_XCRS ||
			ioctl(machine->cpu, KVM_SET_XCRS, &kept.extended) < 0))
		return error_errno(e, "its state: the vector registers of another processor");
	if (ioctl(machine->cpu, KVM_SET_SREGS, &kept.special) < 0 ||
		ioctl(machine->cpu, KVM_SET_REGS, &kept.usual) < 0 ||
		ioctl(machine->cpu, KVM_SET_MSRS, &kept.models) != (int)ARRAY_SIZE(models))
		return error_errno(e, "its state: set the CPU's registers");
	return 0;
}

static int put_all(const void *from, uint64_t bytes)
{
	const char *start = from;
	while (bytes > 0) {
		ssize_t put = write(MACHINE_CHANNEL_FD, start, bytes);
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put < 0 ? -errno : -EIO;
		start += put;
		bytes -= (uint64_t)put;
	}
	return 0;
}

static int put(uint64_t at, const void *from, uint64_t bytes)
{
	const struct snapshot_piece piece = { at, bytes };
	int r = put_all(&piece, sizeof(piece));
	return r < 0 ? r : put_all(from, bytes);
}

static bool is_zero(const uint8_t *page)
{
	return page[0] == 0 && memcmp(page, page + 1, PAGE - 1) == 0;
}

/* Runs of pages that are not zero, none of them too long. */
static int put_memory(const struct machine *machine, uint64_t at)
{
	int r = 0;
	for (uint64_t next = 0, bytes; r == 0 && next < machine->memory_bytes; next += bytes) {
		bytes = 0;
		while (bytes < PART_MOST && next + bytes < machine->memory_bytes &&
			!is_zero(machine->memory + next + bytes))
			bytes += PAGE;
		if (bytes)
			r = put(at + next, machine->memory + next, bytes);
		else
			bytes = PAGE;
	}
	return r;
}

static int read_registers(const struct machine *machine, struct registers_kept *ret)
{
	*ret = (struct registers_kept){};
	ret->models.head.nmsrs = ARRAY_SIZE(models);
	for (size_t i = 0; i < ARRAY_SIZE(models); i++)
		ret->models.entries[i].index = models[i];
	/* The instruction of the call is completed by the next run, which is none. */
	machine->run->immediate_exit = 1;
	if (ioctl(machine->cpu, KVM_RUN, 0) == 0 || errno != EINTR)
		return -EIO;
	if (ioctl(machine->cpu, KVM_GET_REGS, &ret->usual) < 0 ||
		ioctl(machine->cpu, KVM_GET_SREGS, &ret->special) < 0 ||
		ioctl(machine->cpu, KVM_GET_MSRS, &ret->models) != (int)ARRAY_SIZE(models))
		return -EIO;
	if (ioctl(machine->cpu, KVM_GET_XCRS, &ret->extended) < 0)
		ret->extended.nr_xcrs = XCRS_MISSING;
	return 0;
}

static int put_state(const struct machine *machine)
{
	struct registers_kept kept;
	struct snapshot_head head = { .magic = SNAPSHOT_MAGIC,
		.version = SNAPSHOT_VERSION,
		.build = *build_of(),
		.place = place_of(machine),
		.data_at = PAGE,
		.memory_at = (sizeof(kept) / PAGE + 2) * PAGE,
		.engine = SNAPSHOT_KVM };
	int r = read_registers(machine, &kept);
	if (r == 0)
		r = put(head.data_at, &kept, sizeof(kept));
	if (r == 0)
		r = put_memory(machine, head.memory_at);
	/* The end of the memory may be a hole: the file has it all the same. */
	if (r == 0)
		r = put(head.memory_at + machine->memory_bytes, "", 1);
	/* The head last: what has one is whole. */
	return r < 0 ? r : put(0, &head, sizeof(head));
}

void machine_state_send(struct machine *machine, struct machine_call *at, int code)
{
	char word;
	ssize_t got;
	int r = -code;
	if (r == 0) {
		at->result = 1;
		r = put_state(machine);
	}
	const struct snapshot_piece end = { (uint64_t)(int64_t)r, 0 };
	(void)put_all(&end, sizeof(end));
	do
		got = read(MACHINE_CHANNEL_FD, &word, 1);
	while (got < 0 && errno == EINTR);
}
