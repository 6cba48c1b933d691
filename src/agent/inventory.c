/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inventory.c - /sys and /proc as one JSON object.
 */
#include "agent/inventory.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "agent/disks.h"
#include "base/file.h"

#define NICS_MAX 64
#define PCRS     8

static void add_quoted(struct text *text, const char *value)
{
	text_add_char(text, '"');
	for (const char *c = value; *c; c++) {
		if (*c == '"' || *c == '\\')
			text_printf(text, "\\%c", *c);
		else if ((unsigned char)*c < 0x20 || (unsigned char)*c >= 0x7f)
			text_add_char(text, '?');
		else
			text_add_char(text, *c);
	}
	text_add_char(text, '"');
}

static void add_file(struct text *text, const char *name, const char *path)
{
	char line[256];
	text_printf(text, "\"%s\":", name);
	add_quoted(text, file_read_line(AT_FDCWD, path, line, sizeof(line)) > 0 ? line : "");
}

static void add_system(struct text *text)
{
	text_add(text, "\"system\":{");
	add_file(text, "vendor", "/sys/class/dmi/id/sys_vendor");
	text_add_char(text, ',');
	add_file(text, "product", "/sys/class/dmi/id/product_name");
	text_add_char(text, ',');
	add_file(text, "serial", "/sys/class/dmi/id/product_serial");
	text_add_char(text, ',');
	add_file(text, "uuid", "/sys/class/dmi/id/product_uuid");
	text_add_char(text, ',');
	add_file(text, "bios", "/sys/class/dmi/id/bios_version");
	text_printf(text, "},\"firmware\":\"%s\"",
		access("/sys/firmware/efi", F_OK) == 0 ? "uefi" : "bios");
}

static void add_cpus(struct text *text)
{
	cleanup(free) char *info = NULL;
	char model[128] = "";
	unsigned long sockets = 0;
	long count = sysconf(_SC_NPROCESSORS_ONLN);
	for (long i = 0; i < count; i++) {
		char path[96];
		uint64_t package;
		snprintf(path, sizeof(path),
			"/sys/devices/system/cpu/cpu%ld/topology/physical_package_id", i);
		if (file_read_u64(AT_FDCWD, path, &package) == 0 && package + 1 > sockets)
			sockets = package + 1;
	}
	if (file_read(AT_FDCWD, "/proc/cpuinfo", MIB, &info, NULL, NULL) == 0) {
		const char *at = strstr(info, "model name");
		if (at && (at = strchr(at, ':')))
			snprintf(model, sizeof(model), "%.*s", (int)strcspn(at + 2, "\n"), at + 2);
	}
	text_printf(
		text, ",\"cpus\":{\"count\":%ld,\"sockets\":%lu,\"model\":", count, sockets ?: 1);
	add_quoted(text, model);
	text_add_char(text, '}');
}

/* What the firmware says is there; the kernel has less. */
static uint64_t memory_bytes(void)
{
	uint64_t block = 0, total = 0;
	char line[32];
	if (file_read_line(AT_FDCWD, "/sys/devices/system/memory/block_size_bytes", line,
		    sizeof(line)) > 0)
		block = strtoull(line, NULL, 16);
	DIR *dir = block ? opendir("/sys/devices/system/memory") : NULL;
	for (const struct dirent *entry; dir && (entry = readdir(dir));) {
		char path[320], state[16];
		snprintf(path, sizeof(path), "/sys/devices/system/memory/%.200s/state",
			entry->d_name);
		if (text_starts(entry->d_name, "memory") &&
			file_read_line(AT_FDCWD, path, state, sizeof(state)) > 0 &&
			text_equal(state, "online"))
			total += block;
	}
	if (dir)
		closedir(dir);
	if (total == 0) {
		struct sysinfo info;
		if (sysinfo(&info) == 0)
			total = (uint64_t)info.totalram * info.mem_unit;
	}
	return total;
}

static void add_disks(struct text *text)
{
	static struct disk_fact disks[DISKS_MAX];
	size_t count = disks_find(disks);
	text_add(text, ",\"disks\":[");
	for (size_t i = 0; i < count; i++) {
		text_add(text, i ? ",{\"name\":" : "{\"name\":");
		add_quoted(text, disks[i].name);
		text_add(text, ",\"model\":");
		add_quoted(text, disks[i].model);
		text_add(text, ",\"serial\":");
		add_quoted(text, disks[i].serial);
		text_printf(text, ",\"bytes\":%llu,\"kind\":\"%s\"}",
			(unsigned long long)disks[i].bytes,
			disks[i].is_nvme                 ? "nvme"
				: disks[i].is_rotational ? "hdd"
							 : "ssd");
	}
	text_add_char(text, ']');
}

static void add_nic(struct text *text, const char *name, bool is_first)
{
	char path[300], mac[32] = "", target[256] = "";
	uint64_t carrier = 0, speed = 0;
	snprintf(path, sizeof(path), "/sys/class/net/%.200s/address", name);
	(void)!file_read_line(AT_FDCWD, path, mac, sizeof(mac));
	snprintf(path, sizeof(path), "/sys/class/net/%.200s/carrier", name);
	(void)!file_read_u64(AT_FDCWD, path, &carrier);
	snprintf(path, sizeof(path), "/sys/class/net/%.200s/speed", name);
	(void)!file_read_u64(AT_FDCWD, path, &speed);
	snprintf(path, sizeof(path), "/sys/class/net/%.200s/device/driver", name);
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	target[n < 0 ? 0 : n] = '\0';
	const char *driver = strrchr(target, '/');
	text_add(text, is_first ? "{\"name\":" : ",{\"name\":");
	add_quoted(text, name);
	text_add(text, ",\"mac\":");
	add_quoted(text, mac);
	text_add(text, ",\"driver\":");
	add_quoted(text, driver ? driver + 1 : "");
	text_printf(text, ",\"speed_mbit\":%llu,\"has_link\":%s}",
		speed > 10000000 ? 0ULL : (unsigned long long)speed, carrier ? "true" : "false");
}

static void add_nics(struct text *text)
{
	DIR *dir = opendir("/sys/class/net");
	size_t count = 0;
	text_add(text, ",\"nics\":[");
	for (const struct dirent *entry; dir && count < NICS_MAX && (entry = readdir(dir));) {
		char path[300];
		snprintf(path, sizeof(path), "/sys/class/net/%.200s/device", entry->d_name);
		/* Only what is hardware. */
		if (access(path, F_OK) == 0)
			add_nic(text, entry->d_name, count++ == 0);
	}
	if (dir)
		closedir(dir);
	text_add_char(text, ']');
}

static void add_tpm(struct text *text)
{
	char line[160], path[64];
	if (access("/sys/class/tpm/tpm0", F_OK) < 0) {
		text_add(text, ",\"tpm\":null");
		return;
	}
	text_add(text, ",\"tpm\":{");
	add_file(text, "version", "/sys/class/tpm/tpm0/tpm_version_major");
	text_add(text, ",\"pcrs\":[");
	for (int i = 0; i < PCRS; i++) {
		snprintf(path, sizeof(path), "/sys/class/tpm/tpm0/pcr-sha256/%d", i);
		ssize_t n = file_read_line(AT_FDCWD, path, line, sizeof(line));
		if (i)
			text_add_char(text, ',');
		add_quoted(text, n > 0 ? line : "");
	}
	text_add(text, "]}");
}

void inventory_add(struct text *text)
{
	struct utsname names = {};
	struct timespec now = {};
	uname(&names);
	clock_gettime(CLOCK_MONOTONIC, &now);
	text_add_char(text, '{');
	add_system(text);
	add_cpus(text);
	text_printf(text, ",\"memory_bytes\":%llu", (unsigned long long)memory_bytes());
	add_disks(text);
	add_nics(text);
	add_tpm(text);
	text_printf(text, ",\"has_bmc\":%s,\"kernel\":",
		access("/sys/class/ipmi", F_OK) == 0 || access("/dev/ipmi0", F_OK) == 0 ? "true"
											: "false");
	add_quoted(text, names.release);
	text_printf(
		text, ",\"boot_ms\":%lld}", (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000);
}
