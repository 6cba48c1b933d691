/* SPDX-License-Identifier: Apache-2.0 */
/*
 * facts.c - cpus and memory.
 */
#include "host/facts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include "base/file.h"
#include "base/text.h"
#include "host/facts_devices.h"
#include "model/json.h"

#define CACHES_MAX   8
#define CPUINFO_MAX  (4 * MIB)
#define MEMINFO_MAX  65536
#define CPU_PATH_MAX 128

static int read_cpus(struct cpu_set_mask *ret, struct error *e)
{
	char line[1024];
	ssize_t r = file_read_line(AT_FDCWD, "/sys/devices/system/cpu/online", line, sizeof(line));
	if (r < 0)
		return error_code(e, (int)r, "read /sys/devices/system/cpu/online");
	return cpu_set_mask_read(line, ret, e);
}

/* "MemTotal:  24683412 kB" -> bytes; 0 if it is not there. */
static uint64_t meminfo(const char *text, const char *field)
{
	const char *at = strstr(text, field);
	if (!at)
		return 0;
	at += strlen(field);
	at += strspn(at, ": ");
	cleanup(free) char *digits = alloc_text_n(at, strspn(at, "0123456789"));
	uint64_t number;
	if (text_to_u64(digits, &number) < 0)
		return 0;
	/* HugePages_ are counts. */
	return text_starts(field, "HugePages_") ? number : number * KIB;
}

int facts_read(struct facts *ret, struct error *e)
{
	struct facts facts = {};
	int r = read_cpus(&facts.cpus, e);
	if (r < 0)
		return r;
	cleanup(free) char *text = NULL;
	r = file_read(AT_FDCWD, "/proc/meminfo", MEMINFO_MAX, &text, NULL, e);
	if (r < 0)
		return r;
	facts.memory_bytes = meminfo(text, "MemTotal");
	facts.available_bytes = meminfo(text, "MemAvailable");
	facts.swap_bytes = meminfo(text, "SwapTotal");
	*ret = facts;
	return 0;
}

static uint64_t cpu_number(int sys, uint32_t cpu, const char *file)
{
	char path[2 * CPU_PATH_MAX];
	uint64_t number = 0;
	snprintf(path, sizeof(path), "devices/system/cpu/cpu%u/%s", cpu, file);
	return file_read_u64(sys, path, &number) < 0 ? 0 : number;
}

static json_t *caches(int sys, uint32_t cpu)
{
	json_t *list = json_array();
	for (unsigned int i = 0; i < CACHES_MAX; i++) {
		char path[CPU_PATH_MAX], type[32], size[32];
		uint64_t level, bytes;
		snprintf(path, sizeof(path), "cache/index%u/level", i);
		level = cpu_number(sys, cpu, path);
		if (level == 0)
			break;
		snprintf(path, sizeof(path), "devices/system/cpu/cpu%u/cache/index%u/type", cpu, i);
		if (file_read_line(sys, path, type, sizeof(type)) < 0)
			continue;
		snprintf(path, sizeof(path), "devices/system/cpu/cpu%u/cache/index%u/size", cpu, i);
		ssize_t length = file_read_line(sys, path, size, sizeof(size));
		/* "512K" */
		if (length < 2)
			continue;
		size[length - 1] = '\0';
		if (text_to_u64(size, &bytes) < 0)
			continue;
		json_t *cache = json_pack("{s:I,s:s}", "level", (json_int_t)level, "type", type);
		json_set_u64(cache, "size", bytes * KIB);
		json_array_append_new(list, cache);
	}
	return list;
}

static json_t *find_by(json_t *list, const char *field, uint64_t number)
{
	size_t i;
	json_t *item;
	json_array_foreach(list, i, item)
	{
		if (json_integer_value(json_object_get(item, field)) == (json_int_t)number)
			return item;
	}
	return NULL;
}

/* "model name\t: AMD EPYC" of /proc/cpuinfo; the caller owns it; "" if it is not there. */
static char *cpuinfo(const char *text, const char *field)
{
	const char *at = text ? strstr(text, field) : NULL;
	at = at ? strchr(at, ':') : NULL;
	if (!at)
		return alloc_text("");
	at += strspn(at, ": \t");
	return alloc_text_n(at, strcspn(at, "\n"));
}

static uint64_t frequency_mhz(const char *text)
{
	cleanup(free) char *number = cpuinfo(text, "cpu MHz");
	number[strcspn(number, ".")] = '\0';
	uint64_t mhz;
	return text_to_u64(number, &mhz) < 0 ? 0 : mhz;
}

static uint64_t numa_node(int sys, uint32_t cpu)
{
	char path[CPU_PATH_MAX];
	for (unsigned int node = 0; node < 64; node++) {
		snprintf(path, sizeof(path), "devices/system/cpu/cpu%u/node%u", cpu, node);
		if (faccessat(sys, path, F_OK, 0) == 0)
			return node;
	}
	return 0;
}

static void add_thread(json_t *sockets, int sys, uint32_t cpu, const char *info)
{
	uint64_t package = cpu_number(sys, cpu, "topology/physical_package_id");
	uint64_t core_id = cpu_number(sys, cpu, "topology/core_id");
	uint64_t mhz = frequency_mhz(info);
	json_t *socket = find_by(sockets, "socket", package);
	if (!socket) {
		cleanup(free) char *name = cpuinfo(info, "model name");
		cleanup(free) char *vendor = cpuinfo(info, "vendor_id");
		socket = json_pack("{s:s,s:s,s:I,s:o,s:[],s:I}", "name", name, "vendor", vendor,
			"socket", (json_int_t)package, "cache", caches(sys, cpu), "cores",
			"frequency", (json_int_t)mhz);
		json_array_append_new(sockets, socket);
	}
	json_t *cores = json_object_get(socket, "cores");
	json_t *core = find_by(cores, "core", core_id);
	if (!core) {
		core = json_pack("{s:I,s:I,s:[],s:I}", "core", (json_int_t)core_id, "die",
			(json_int_t)cpu_number(sys, cpu, "topology/die_id"), "threads", "frequency",
			(json_int_t)mhz);
		json_array_append_new(cores, core);
	}
	json_t *threads = json_object_get(core, "threads");
	json_array_append_new(threads,
		json_pack("{s:i,s:I,s:I,s:b,s:b}", "id", (int)cpu, "numa_node",
			(json_int_t)numa_node(sys, cpu), "thread",
			(json_int_t)json_array_size(threads), "online", 1, "isolated", 0));
}

static json_t *cpu_json(int sys, const struct cpu_set_mask *cpus)
{
	struct utsname uts;
	uname(&uts);
	cleanup(free) char *info = NULL;
	if (file_read(AT_FDCWD, "/proc/cpuinfo", CPUINFO_MAX, &info, NULL, NULL) < 0)
		info = NULL;
	json_t *sockets = json_array();
	for (uint32_t cpu = 0; cpu < RESOURCES_CPUS_MAX; cpu++)
		if (cpu_set_mask_has(cpus, cpu))
			add_thread(sockets, sys, cpu, info);
	return json_pack("{s:s,s:o,s:I}", "architecture", uts.machine, "sockets", sockets, "total",
		(json_int_t)cpu_set_mask_count(cpus));
}

static json_t *memory_json(const struct facts *facts)
{
	cleanup(free) char *text = NULL;
	struct error e = {};
	if (file_read(AT_FDCWD, "/proc/meminfo", MEMINFO_MAX, &text, NULL, &e) < 0)
		return json_object();
	uint64_t page = meminfo(text, "Hugepagesize");
	uint64_t pages = meminfo(text, "HugePages_Total"),
		 free_pages = meminfo(text, "HugePages_Free");
	json_t *memory = json_pack("{s:[]}", "nodes");
	json_set_u64(memory, "hugepages_total", pages * page);
	json_set_u64(memory, "hugepages_used", (pages - free_pages) * page);
	json_set_u64(memory, "hugepages_size", page);
	json_set_u64(memory, "used", facts->memory_bytes - facts->available_bytes);
	json_set_u64(memory, "total", facts->memory_bytes);
	return memory;
}

static json_t *load_json(void)
{
	double loads[3];
	struct sysinfo info;
	if (getloadavg(loads, ARRAY_SIZE(loads)) != ARRAY_SIZE(loads) || sysinfo(&info) < 0)
		return json_object();
	return json_pack("{s:f,s:f,s:f,s:i}", "Average1Min", loads[0], "Average5Min", loads[1],
		"Average10Min", loads[2], "Processes", (int)info.procs);
}

int facts_resources(json_t **ret, struct error *e)
{
	struct facts facts;
	int r = facts_read(&facts, e);
	if (r < 0)
		return r;
	cleanup(close) int sys = open("/sys", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (sys < 0)
		return error_errno(e, "open /sys");
	*ret = json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:{s:[],s:i}}", "cpu",
		cpu_json(sys, &facts.cpus), "memory", memory_json(&facts), "gpu", facts_gpu(sys),
		"network", facts_network(sys), "storage", facts_storage(sys), "pci", facts_pci(sys),
		"system", facts_system(sys), "usb", "devices", "total", 0);
	json_object_set_new(*ret, "load", load_json());
	return 0;
}
