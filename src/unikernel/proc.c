/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proc.c - /proc and /sys as far as programs look.
 */
#include "unikernel/proc.h"

#include "unikernel/descriptors.h"
#include "unikernel/heap.h"
#include "unikernel/kept.h"
#include "unikernel/net/net.h"
#include "unikernel/process.h"
#include "unikernel/writer.h"

static struct program_place program;
static struct node *fd_directory;

typedef void write_text(struct writer *w);

static void write_meminfo(struct writer *w)
{
	uint64_t total = memory_total() / 1024, left = memory_left() / 1024;
	writer_put(w, "MemTotal:       $ kB\nMemFree:        $ kB\nMemAvailable:   $ kB\n", total,
		left, left);
	writer_put(w,
		"Buffers:        0 kB\nCached:         0 kB\nSwapTotal:      0 kB\n"
		"SwapFree:       0 kB\nHugePages_Total:       0\nHugepagesize:       2048 kB\n");
}

static void write_cpuinfo(struct writer *w)
{
	writer_put(w,
		"processor\t: 0\nvendor_id\t: berth\ncpu family\t: 6\nmodel\t\t: 0\n"
		"model name\t: berth unikernel\ncpu cores\t: 1\nflags\t\t: fpu sse sse2\n\n");
}

static void write_stat(struct writer *w)
{
	uint64_t ticks = platform_clock_monotonic() / 10000000;
	writer_put(w, "cpu  $ 0 0 0 0 0 0 0 0 0\ncpu0 $ 0 0 0 0 0 0 0 0 0\nbtime $\nprocesses 1\n",
		ticks, ticks,
		(platform_clock_realtime() - platform_clock_monotonic()) / 1000000000);
}

static void write_uptime(struct writer *w)
{
	uint64_t now = platform_clock_monotonic();
	writer_put(w, "$.00 0.00\n", now / 1000000000);
}

static void write_loadavg(struct writer *w)
{
	writer_put(w, "0.00 0.00 0.00 1/1 1\n");
}

static void write_version(struct writer *w)
{
	writer_put(w, "Linux version 6.1.0-berth (berth) #1 berth\n");
}

static void write_maps(struct writer *w)
{
	const struct program *now = process_program();
	writer_put(w, "#-# r-xp 00000000 00:01 1 @\n", now->start, now->end, now->path);
	writer_put(w, "#-# rw-p 00000000 00:00 0 [heap]\n", memory_start(), program.stack_start);
	writer_put(
		w, "#-# rw-p 00000000 00:00 0 [stack]\n", program.stack_start, program.stack_end);
}

static void write_self_stat(struct writer *w)
{
	writer_put(w,
		"1 (@) R 0 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 0 $ $ 18446744073709551615 $ $ $",
		current_thread->name, memory_total(),
		(memory_total() - memory_left()) / KERNEL_PAGE, process_program()->start,
		process_program()->end, program.stack_end);
	writer_put(w, " 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n");
}

static void write_self_statm(struct writer *w)
{
	uint64_t used = (memory_total() - memory_left()) / KERNEL_PAGE;
	writer_put(w, "$ $ 0 0 0 $ 0\n", memory_total() / KERNEL_PAGE, used, used);
}

static void write_self_status(struct writer *w)
{
	uint64_t used = (memory_total() - memory_left()) / 1024;
	writer_put(w, "Name:\t@\nState:\tR (running)\nTgid:\t1\nPid:\t1\nPPid:\t0\n",
		current_thread->name);
	writer_put(w,
		"Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nVmSize:\t$ kB\nVmRSS:\t$ kB\nThreads:\t1\n",
		memory_total() / 1024, used);
}

static void write_cmdline(struct writer *w)
{
	const struct program *now = process_program();
	writer_bytes(w, at(now->arguments), now->arguments_end - now->arguments);
}

static void write_mounts(struct writer *w)
{
	writer_put(w, "@ / @ rw 0 0\nproc /proc proc rw 0 0\ndev /dev devtmpfs rw 0 0\n",
		kept_is_there() ? "/dev/vda" : "root", kept_is_there() ? "ext2" : "tmpfs");
}

static void write_comm(struct writer *w)
{
	writer_put(w, "@\n", current_thread->name);
}

static void write_one(struct writer *w)
{
	writer_put(w, "1\n");
}

static void write_cpu_list(struct writer *w)
{
	writer_put(w, "0\n");
}

static void write_somaxconn(struct writer *w)
{
	writer_put(w, "4096\n");
}

static void write_never(struct writer *w)
{
	writer_put(w, "always madvise [never]\n");
}

static void write_host_name(struct writer *w)
{
	writer_put(w, "@\n", net_host_name());
}

static void write_system(struct writer *w)
{
	writer_put(w, "Linux\n");
}

static void write_release(struct writer *w)
{
	writer_put(w, "6.1.0-berth\n");
}

static void write_processes_most(struct writer *w)
{
	writer_put(w, "32768\n");
}

static void write_file_systems(struct writer *w)
{
	writer_put(w, "nodev\tproc\nnodev\ttmpfs\nnodev\tdevtmpfs\n\text2\n");
}

static void write_cgroup(struct writer *w)
{
	writer_put(w, "0::/\n");
}

static const struct {
	const char *path;
	write_text *write;
} texts[] = {
	{ "/proc/meminfo", write_meminfo },
	{ "/proc/cpuinfo", write_cpuinfo },
	{ "/proc/stat", write_stat },
	{ "/proc/uptime", write_uptime },
	{ "/proc/loadavg", write_loadavg },
	{ "/proc/version", write_version },
	{ "/proc/filesystems", write_file_systems },
	{ "/proc/mounts", write_mounts },
	{ "/proc/1/maps", write_maps },
	{ "/proc/1/stat", write_self_stat },
	{ "/proc/1/statm", write_self_statm },
	{ "/proc/1/status", write_self_status },
	{ "/proc/1/cmdline", write_cmdline },
	{ "/proc/1/comm", write_comm },
	{ "/proc/1/mounts", write_mounts },
	{ "/proc/1/cgroup", write_cgroup },
	{ "/proc/sys/kernel/hostname", write_host_name },
	{ "/proc/sys/kernel/ostype", write_system },
	{ "/proc/sys/kernel/osrelease", write_release },
	{ "/proc/sys/kernel/pid_max", write_processes_most },
	{ "/proc/sys/vm/overcommit_memory", write_one },
	{ "/proc/sys/net/core/somaxconn", write_somaxconn },
	{ "/sys/devices/system/cpu/online", write_cpu_list },
	{ "/sys/devices/system/cpu/possible", write_cpu_list },
	{ "/sys/kernel/mm/transparent_hugepage/enabled", write_never },
};

static int64_t generate_text(struct node *node, char *to, uint64_t size)
{
	struct writer writer = { to, size, 0 };
	texts[node->private_data].write(&writer);
	return (int64_t)writer.length;
}

static const char *const net_texts[] = { "dev", "route", "if_inet6", "tcp", "tcp6", "udp", "udp6",
	"unix" };

static int64_t generate_net(struct node *node, char *to, uint64_t size)
{
	return net_proc(net_texts[node->private_data], to, size);
}

static int64_t generate_exe(struct node *node, char *to, uint64_t size)
{
	struct writer writer = { to, size, 0 };
	(void)node;
	writer_put(&writer, "@", process_program()->path);
	return (int64_t)writer.length;
}

static int64_t generate_descriptor(struct node *node, char *to, uint64_t size)
{
	const struct file *file = descriptor_file(node->private_data);
	struct writer writer = { to, size, 0 };
	if (!file)
		return -ENOENT;
	writer_put(&writer, "@", file->path ? file->path : "");
	return (int64_t)writer.length;
}

static int64_t generate_cwd(struct node *node, char *to, uint64_t size)
{
	(void)node;
	int64_t length = path_of(path_working, to, size);
	return length < 0 ? length : length - 1;
}

static int make(struct node *start, const char *path, uint32_t mode, struct node **ret)
{
	struct place place;
	int r = path_walk(start, path, false, &place);
	if (r == 0 && place.node) {
		*ret = place.node;
		return 0;
	}
	return r < 0 ? r : path_make(&place, mode, ret);
}

/* Makes what is missing above the last name, then the last name. */
static int make_all(const char *path, uint32_t mode, struct node **ret)
{
	char part[128] = {};
	for (size_t i = 1; path[i]; i++) {
		if (path[i] != '/')
			continue;
		memcpy(part, path, i);
		int r = make(path_root, part, S_IFDIR | 0555, ret);
		if (r < 0)
			return r;
	}
	return make(path_root, path, mode, ret);
}

/* The links of /proc/self/fd are made anew whenever somebody looks. */
static void fill_descriptors(struct node *directory)
{
	while (directory->directory.first)
		node_unlink(directory, directory->directory.first);
	for (uint64_t i = 0; i < descriptor_end(); i++) {
		char name[8];
		struct writer writer = { name, sizeof(name), 0 };
		if (!descriptor_file(i))
			continue;
		struct node *node = node_new(S_IFLNK | 0700);
		if (!node)
			return;
		writer_put(&writer, "$", i);
		node->generate = generate_descriptor;
		node->private_data = i;
		node->size = 64;
		directory->directory.next_cookie =
			i; /* the same every time: somebody may be listing */
		(void)node_link(directory, name, writer.length, node);
		node_drop(node);
	}
}

int proc_init(const struct program_place *place)
{
	struct node *node = NULL;
	int r = 0;
	program = *place;
	for (size_t i = 0; i < COUNT(texts) && r == 0; i++) {
		r = make_all(texts[i].path, S_IFREG | 0644, &node);
		if (r < 0)
			return r;
		node->generate = generate_text;
		node->private_data = i;
	}
	for (size_t i = 0; i < COUNT(net_texts) && r == 0; i++) {
		char path[32] = {};
		struct writer writer = { path, sizeof(path) - 1, 0 };
		writer_put(&writer, "/proc/net/@", net_texts[i]);
		r = make_all(path, S_IFREG | 0444, &node);
		if (r < 0)
			return r;
		node->generate = generate_net;
		node->private_data = i;
	}
	r = make_all("/proc/1/fd", S_IFDIR | 0500, &fd_directory);
	if (r == 0)
		r = make_all("/proc/1/exe", S_IFLNK | 0777, &node);
	if (r < 0)
		return r;
	fd_directory->fill = fill_descriptors;
	node->generate = generate_exe;
	r = make_all("/proc/1/cwd", S_IFLNK | 0777, &node);
	if (r < 0)
		return r;
	node->generate = generate_cwd;
	r = make_all("/proc/self", S_IFLNK | 0777, &node);
	if (r == 0)
		node->target = heap_text("1", 1);
	return r;
}
