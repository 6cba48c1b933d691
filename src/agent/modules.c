/* SPDX-License-Identifier: Apache-2.0 */
/*
 * modules.c - a modprobe of our own: an initial file system for any server has many drivers, of which one server
 * needs few, and each costs time (its signature is checked).
 */
#include "agent/modules.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "agent/init.h"
#include "base/file.h"
#include "base/text.h"

#define FOLDER      "/berth/lib"
#define MODULES_MAX 256
#define DEVICES_MAX 1024
#define DEPTH_MAX   16
#define ROUNDS_MAX  8

struct module {
	char name[64]; /* with '_' */
	char path[128];
	char *bytes;
	size_t length;
	bool is_loaded;
};

static struct {
	struct module modules[MODULES_MAX];
	size_t count;
	bool is_read;
} all;

/* "\0alias=pci:v00001AF4d*\0": a string of .modinfo. The next one at or behind `from`, or NULL. */
static const char *next_string(const char *bytes, size_t length, const char *from, const char *key)
{
	size_t key_length = strlen(key);
	while (from < bytes + length) {
		const char *at = memmem(from, (size_t)(bytes + length - from), key, key_length);
		if (!at || !memchr(at, '\0', (size_t)(bytes + length - at)))
			return NULL;
		if (at > bytes && at[-1] == '\0')
			return at + key_length;
		from = at + key_length;
	}
	return NULL;
}

bool modules_match(const char *bytes, size_t length, const char *device)
{
	const char *alias = bytes;
	while ((alias = next_string(bytes, length, alias, "alias=")))
		if (fnmatch(alias, device, 0) == 0)
			return true;
	return false;
}

const char *modules_depends(const char *bytes, size_t length)
{
	return next_string(bytes, length, bytes, "depends=") ?: "";
}

static void take_name(const char *file, char name[64])
{
	snprintf(name, 64, "%.*s", (int)strcspn(file, "."), file);
	for (char *c = name; *c; c++)
		if (*c == '-')
			*c = '_';
}

static void read_all(void)
{
	DIR *dir = all.is_read ? NULL : opendir(FOLDER);
	all.is_read = true;
	for (const struct dirent *entry;
		dir && all.count < MODULES_MAX && (entry = readdir(dir));) {
		struct module *module = &all.modules[all.count];
		struct stat status;
		if (!text_ends(entry->d_name, ".ko"))
			continue;
		snprintf(module->path, sizeof(module->path), FOLDER "/%.100s", entry->d_name);
		cleanup(close) int fd = open(module->path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || fstat(fd, &status) < 0 || status.st_size == 0)
			continue;
		void *bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (bytes == MAP_FAILED)
			continue;
		take_name(entry->d_name, module->name);
		module->bytes = bytes;
		module->length = (size_t)status.st_size;
		all.count++;
	}
	if (dir)
		closedir(dir);
}

static struct module *find(const char *name)
{
	char wanted[64];
	take_name(name, wanted);
	for (size_t i = 0; i < all.count; i++)
		if (strcmp(all.modules[i].name, wanted) == 0)
			return &all.modules[i];
	return NULL;
}

static void load(struct module *module, int depth)
{
	if (!module || module->is_loaded || depth > DEPTH_MAX)
		return;
	module->is_loaded = true;
	cleanup(free) char *depends = alloc_text(modules_depends(module->bytes, module->length));
	char *rest = NULL;
	for (char *name = strtok_r(depends, ",", &rest); name; name = strtok_r(NULL, ",", &rest))
		load(find(name), depth + 1);
	cleanup(close) int fd = open(module->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST))
		init_say("berth-agent: module %s: %s", module->name, strerror(errno));
}

void modules_load(const char *name)
{
	read_all();
	load(find(name), 0);
}

void modules_unload(const char *name)
{
	struct module *module = find(name);
	if (module && syscall(SYS_delete_module, module->name, O_NONBLOCK) == 0)
		module->is_loaded = false;
}

/* What the devices of one bus call themselves. */
static size_t read_bus(const char *bus, char (*devices)[256], size_t count)
{
	char path[700];
	snprintf(path, sizeof(path), "/sys/bus/%.200s/devices", bus);
	DIR *dir = opendir(path);
	for (const struct dirent *entry; dir && count < DEVICES_MAX && (entry = readdir(dir));) {
		snprintf(path, sizeof(path), "/sys/bus/%.200s/devices/%.255s/modalias", bus,
			entry->d_name);
		if (entry->d_name[0] != '.' &&
			file_read_line(AT_FDCWD, path, devices[count], sizeof(devices[0])) > 0)
			count++;
	}
	if (dir)
		closedir(dir);
	return count;
}

static size_t read_devices(char (*devices)[256])
{
	DIR *dir = opendir("/sys/bus");
	size_t count = 0;
	for (const struct dirent *entry; dir && (entry = readdir(dir));)
		if (entry->d_name[0] != '.')
			count = read_bus(entry->d_name, devices, count);
	if (dir)
		closedir(dir);
	return count;
}

size_t modules_for_devices(void)
{
	static char devices[DEVICES_MAX][256];
	size_t loaded = 0, before = SIZE_MAX;
	read_all();
	for (int round = 0; round < ROUNDS_MAX && loaded != before; round++) {
		size_t device_count = read_devices(devices);
		before = loaded;
		for (size_t i = 0; i < all.count; i++) {
			struct module *module = &all.modules[i];
			for (size_t j = 0; j < device_count && !module->is_loaded; j++)
				if (modules_match(module->bytes, module->length, devices[j])) {
					load(module, 0);
					loaded++;
				}
		}
	}
	return loaded;
}
