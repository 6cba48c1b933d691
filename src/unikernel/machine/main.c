/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - from what a PVH loader tells of the machine to the library OS.
 *
 * The image is the first module (an initial file system, for those who name it). The library OS gets the largest run of
 * memory that nothing stands in.
 */
#include "abi/machine.h"
#include "abi/report.h"
#include "unikernel/exit.h"
#include "unikernel/kernel.h"
#include "unikernel/machine/clock.h"
#include "unikernel/machine/command.h"
#include "unikernel/machine/console.h"
#include "unikernel/machine/entropy.h"
#include "unikernel/machine/host.h"
#include "unikernel/machine/keep.h"
#include "unikernel/machine/pages.h"
#include "unikernel/machine/parts.h"
#include "unikernel/machine/port.h"
#include "unikernel/machine/trap.h"
#include "unikernel/machine/wait.h"
#include "unikernel/missed.h"

#define START_MAGIC 0x336ec578u
#define MAP_MOST    64u
#define MAP_RAM     1u
#define MEMORY_MIN  (UINT64_C(4) << 20)
#define FIRMWARE    0xffff0u /* where a PC with a BIOS has its first instruction */
#define HAS_FSBASE  1u
#define HAS_XSAVE   (1u << 26)

struct start_info {
	uint32_t magic, version, flags, module_count;
	uint64_t modules_at, command_line_at, rsdp_at, map_at;
	uint32_t map_count, reserved;
};

struct start_module {
	uint64_t at, bytes, command_line_at, reserved;
};

struct start_map {
	uint64_t at, bytes;
	uint32_t type, reserved;
};

extern uint32_t machine_start_info;
extern char machine_image_end[];
void machine_main(uint32_t start_info) __attribute__((__noreturn__));

volatile uint64_t platform_signals;

/* Copies: what they are copies of stands in memory that is given out. */
static struct {
	char command_line[COMMAND_BYTES];
	uint64_t command_line_at;
	struct start_module image;
	struct pages_range map[MAP_MOST];
	uint32_t map_count;
	uint64_t end; /* of all memory */
	uint64_t rsdp;
} machine;

static uint64_t page_up(uint64_t value)
{
	return (value + KERNEL_PAGE - 1) & ~(uint64_t)(KERNEL_PAGE - 1);
}

static void copy_command_line(uint64_t from)
{
	const char *text = pages_see(from);
	size_t length = from ? strlen(text) : 0;
	if (length >= COMMAND_BYTES)
		kernel_panic("its command line is too long");
	if (length)
		memcpy(machine.command_line, text, length);
}

static void read_start(uint64_t physical)
{
	const struct start_info *info = pages_see(physical);
	if (info->magic != START_MAGIC || info->version < 1)
		kernel_panic("it was not started by the PVH protocol, version 1");
	const struct start_map *map = pages_see(info->map_at);
	const struct start_module *modules = pages_see(info->modules_at);
	machine.command_line_at = info->command_line_at;
	copy_command_line(info->command_line_at);
	machine.rsdp = info->rsdp_at;
	if (info->module_count)
		machine.image = modules[0];
	for (uint32_t i = 0; i < info->map_count && machine.map_count < MAP_MOST; i++) {
		if (map[i].type != MAP_RAM)
			continue;
		machine.map[machine.map_count++] = (struct pages_range){ map[i].at, map[i].bytes };
		if (map[i].at + map[i].bytes > machine.end)
			machine.end = map[i].at + map[i].bytes;
	}
}

static struct pages_range larger(struct pages_range a, struct pages_range b)
{
	return b.bytes > a.bytes ? b : a;
}

/* What is left of memory once [start, end) is taken: the larger side. */
static struct pages_range without(struct pages_range range, uint64_t start, uint64_t end)
{
	uint64_t range_end = range.start + range.bytes;
	if (end <= range.start || start >= range_end)
		return range;
	struct pages_range before = { range.start, start > range.start ? start - range.start : 0 };
	struct pages_range behind = { end, end < range_end ? range_end - end : 0 };
	return larger(before, behind);
}

static struct pages_range in_pages(struct pages_range range)
{
	uint64_t start = page_up(range.start);
	uint64_t end = (range.start + range.bytes) & ~(uint64_t)(KERNEL_PAGE - 1);
	return (struct pages_range){ start, end > start ? end - start : 0 };
}

/* The largest run of memory above the library OS and beside the image. */
static struct pages_range find_free(uint64_t kernel_end, uint64_t limit)
{
	struct pages_range best = {};
	for (uint32_t i = 0; i < machine.map_count; i++) {
		struct pages_range range = machine.map[i];
		if (range.start + range.bytes > limit)
			range.bytes = limit > range.start ? limit - range.start : 0;
		range = without(range, 0, kernel_end);
		range = without(
			range, machine.image.at, page_up(machine.image.at + machine.image.bytes));
		best = larger(best, in_pages(range));
	}
	return best;
}

/* Memory that a firmware used before us is not zero. */
static void clear_memory(struct pages_range region)
{
	const uint8_t *first = pages_see(FIRMWARE);
	void *to = pages_see(region.start);
	uint64_t words = region.bytes / sizeof(uint64_t);
	if (*first) /* by words: emulators go step by step */
		__asm__ volatile("rep stosq" : "+D"(to), "+c"(words) : "a"(0) : "memory");
}

/* From whoever started the machine by hand: the image's words or those of the command line. */
static struct boot boot_of_command(const struct command *command)
{
	return (struct boot){
		.version = BOOT_VERSION,
		.size = sizeof(struct boot),
		.words_address = address_of(command->words),
		.words_bytes = command->words_bytes,
		.argument_count = command->argument_count,
		.environment_count = command->environment_count,
		.directory_address = address_of(command->directory),
		.flags = (command->is_plain ? 0 : BOOT_IN_TERMINAL | BOOT_OUT_TERMINAL) |
			(command->is_verbose ? BOOT_VERBOSE : 0),
		.net = command->net,
	};
}

/* A tender has filled it in; what it names is physical. */
static struct boot boot_of_tender(const struct machine_start *start)
{
	struct boot boot = start->boot;
	boot.words_address += MACHINE_BASE;
	if (boot.directory_address)
		boot.directory_address += MACHINE_BASE;
	return boot;
}

/* Tables in what the boot tables show, the region wherever there is most. */
static struct pages_range make_memory(const struct machine_start *start)
{
	uint64_t kernel_end = address_of(machine_image_end) - MACHINE_BASE;
	uint64_t end = machine.end, image_end = machine.image.at + machine.image.bytes;
	struct pages_range low = find_free(kernel_end, UINT64_C(1) << 30);
	if (image_end > end)
		end = image_end;
	if (start && start->report_at > end)
		end = start->report_at + KERNEL_PAGE;
	struct pages_range region = pages_init(end, low);
	return larger(region, find_free(low.start + low.bytes, machine.end));
}

static int64_t give_back(uint64_t physical, uint64_t bytes)
{
	return host_call(MACHINE_RELEASE, physical, bytes, 0);
}

static void take_tender(const struct machine_start *start, uint64_t start_at)
{
	host_start((start->boot.flags & BOOT_NET_OFFLOAD) != 0);
	pages_set_give_back(give_back);
	if (start->report_at) {
		struct report *report = pages_see(start->report_at);
		missed_count_in(report->missed);
	}
	if (start->keep_signal)
		keep_start(start_at, (int)start->keep_signal);
}

static void take_machine(const struct command *command)
{
	wait_init();
	console_init();
	console_set_exit_port(command->exit_port);
	if (command->report_at)
		missed_count_in(((struct report *)pages_see(command->report_at))->missed);
	if (command->keep_port)
		keep_start_by_port(command->keep_port, machine.command_line_at);
}

/* Devices of its own, and what they have to say of the start. */
static void find_parts(const struct command *command, struct pages_range *region, struct boot *boot)
{
	const struct parts_place place = { machine.rsdp, machine.end };
	struct pages_range image = {};
	parts_find(command, &place, region);
	if (!machine.image.bytes && parts_read_image(region, &image))
		machine.image = (struct start_module){ .at = image.start, .bytes = image.bytes };
	uint32_t card = parts_start_card(&boot->net);
	boot->flags |= command->has_no_card ? 0 : card;
	boot->volume_bytes = parts_volume() ? parts_volume()->bytes : 0;
}

void machine_main(uint32_t start_info)
{
	static struct boot boot;
	static struct machine_start copy;
	struct command command;
	trap_init();
	read_start(start_info);
	const char *wrong = command_read(machine.command_line, &command);
	const struct machine_start *start = NULL;
	if (command.start_at) {
		copy = *(const struct machine_start *)pages_see(command.start_at);
		start = &copy;
	}
	struct pages_range region = make_memory(start);
	if (start)
		take_tender(start, command.start_at);
	else
		take_machine(&command);
	if (wrong)
		kernel_panic(wrong);
	if (!(cpuid(1).c & HAS_XSAVE))
		kernel_panic("the processor has no XSAVE (QEMU: -cpu max)");
	clock_init(start ? start->cycles_per_second : 0, start ? start->realtime_ns : 0);
	boot = start ? boot_of_tender(start) : boot_of_command(&command);
	if (!start)
		find_parts(&command, &region, &boot);
	if (region.bytes < MEMORY_MIN)
		kernel_panic("the machine has less than 4 MiB of memory beside the library OS");
	if (!machine.image.bytes)
		kernel_panic("the machine has no image: an initial file system, or a disk, that "
			     "berth-tender made");
	if (!start)
		clear_memory(region);
	pages_set_image((struct pages_range){ machine.image.at, machine.image.bytes });
	if (cpuid(0).a >= 7 && (cpuid(7).b & HAS_FSBASE))
		boot.flags |= BOOT_FSGSBASE;
	boot.memory_address = MACHINE_BASE + region.start;
	boot.memory_bytes = region.bytes;
	uint64_t most = start ? start->memory_bytes : command.memory_bytes;
	if ((start || most) && most < region.bytes)
		boot.memory_bytes = most & ~(uint64_t)(KERNEL_PAGE - 1);
	boot.root_address = MACHINE_BASE + machine.image.at;
	boot.root_bytes = machine.image.bytes;
	if (boot.flags & BOOT_VERBOSE)
		trap_report_at_end();
	if (!start)
		entropy_make(boot.random, sizeof(boot.random));
	kernel_main(&boot);
}
