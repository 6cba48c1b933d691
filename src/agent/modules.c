/* SPDX-License-Identifier: Apache-2.0 */
/*
 * modules.c - a modprobe of our own: an initial file system for any server has many drivers, of which one server
 * needs few, and each costs time (its signature is checked).
 */
#include "agent/modules.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <pthread.h>
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
	const char *info; /* what it says of itself: strings, one behind the other */
	size_t info_length;
	const char **aliases; /* of those, which devices it drives */
	size_t alias_count;
	bool is_loaded;
	int code; /* of its loading beside others */
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
		if (at == bytes || at[-1] == '\0')
			return at + key_length;
		from = at + key_length;
	}
	return NULL;
}

/* Thousands of patterns are compared with hundreds of devices: most differ before their first special character. */
static bool is_alias_of(const char *alias, const char *device)
{
	size_t plain = strcspn(alias, "*?[\\");
	return strncmp(alias, device, plain) == 0 && fnmatch(alias, device, 0) == 0;
}

bool modules_match(const char *bytes, size_t length, const char *device)
{
	const char *alias = bytes;
	while ((alias = next_string(bytes, length, alias, "alias=")))
		if (is_alias_of(alias, device))
			return true;
	return false;
}

void modules_info(const char *bytes, size_t length, const char **ret, size_t *ret_length)
{
	Elf64_Ehdr head;
	Elf64_Shdr section, names;
	*ret = bytes;
	*ret_length = length;
	if (length < sizeof(head))
		return;
	memcpy(&head, bytes, sizeof(head));
	uint64_t table = (uint64_t)head.e_shnum * sizeof(section);
	if (memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_ident[EI_CLASS] != ELFCLASS64 ||
		head.e_shentsize != sizeof(section) || head.e_shoff > length ||
		table > length - head.e_shoff || head.e_shstrndx >= head.e_shnum)
		return;
	memcpy(&names, bytes + head.e_shoff + head.e_shstrndx * sizeof(names), sizeof(names));
	for (size_t i = 0; i < head.e_shnum; i++) {
		static const char wanted[] = ".modinfo";
		memcpy(&section, bytes + head.e_shoff + i * sizeof(section), sizeof(section));
		uint64_t name = names.sh_offset + section.sh_name;
		if (name < names.sh_offset || name > length || sizeof(wanted) > length - name ||
			memcmp(bytes + name, wanted, sizeof(wanted)) != 0 ||
			section.sh_offset > length || section.sh_size > length - section.sh_offset)
			continue;
		*ret = bytes + section.sh_offset;
		*ret_length = (size_t)section.sh_size;
		return;
	}
}

static void read_aliases(struct module *module)
{
	size_t count = 0;
	const char *alias = module->info;
	while ((alias = next_string(module->info, module->info_length, alias, "alias=")))
		count++;
	module->aliases = alloc_array(count + 1, const char *);
	alias = module->info;
	while ((alias = next_string(module->info, module->info_length, alias, "alias=")))
		module->aliases[module->alias_count++] = alias;
}

static bool drives(const struct module *module, const char *device)
{
	for (size_t i = 0; i < module->alias_count; i++)
		if (is_alias_of(module->aliases[i], device))
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
		modules_info(bytes, (size_t)status.st_size, &module->info, &module->info_length);
		read_aliases(module);
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

static int try_insert(const struct module *module)
{
	cleanup(close) int fd = open(module->path, O_RDONLY | O_CLOEXEC);
	return fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST) ? -errno : 0;
}

static void insert(const struct module *module)
{
	int r = try_insert(module);
	if (r < 0)
		init_say("berth-agent: module %s: %s", module->name, strerror(-r));
}

static void *insert_aside(void *data)
{
	struct module *module = data;
	module->code = try_insert(module);
	return NULL;
}

static void load(struct module *module, int depth);

static void load_needed(const struct module *module, int depth)
{
	cleanup(free) char *depends =
		alloc_text(modules_depends(module->info, module->info_length));
	char *rest = NULL;
	for (char *name = strtok_r(depends, ",", &rest); name; name = strtok_r(NULL, ",", &rest))
		load(find(name), depth + 1);
}

static void load(struct module *module, int depth)
{
	if (!module || module->is_loaded || depth > DEPTH_MAX)
		return;
	module->is_loaded = true;
	load_needed(module, depth);
	insert(module);
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

/* A controller's driver may take seconds to look for its disks: each has a thread of its own, once what it needs is there. */
static size_t load_round(char (*devices)[256], size_t device_count)
{
	static struct {
		pthread_t thread;
		struct module *module;
	} aside[MODULES_MAX];
	size_t count = 0, loaded = 0;
	for (size_t i = 0; i < all.count; i++) {
		struct module *module = &all.modules[i];
		for (size_t j = 0; j < device_count && !module->is_loaded; j++) {
			if (!drives(module, devices[j]))
				continue;
			module->is_loaded = true;
			loaded++;
			load_needed(module, 0);
			aside[count].module = module;
			if (pthread_create(&aside[count].thread, NULL, insert_aside, module) == 0)
				count++;
			else
				insert(module);
		}
	}
	for (size_t i = 0; i < count; i++)
		pthread_join(aside[i].thread, NULL);
	/* What another one of them had to be there for is there now. */
	for (size_t i = 0; i < count; i++)
		if (aside[i].module->code < 0)
			insert(aside[i].module);
	return loaded;
}

size_t modules_for_devices(void)
{
	static char devices[DEVICES_MAX][256];
	size_t loaded = 0, before = SIZE_MAX;
	read_all();
	for (int round = 0; round < ROUNDS_MAX && loaded != before; round++) {
		size_t device_count = read_devices(devices);
		before = loaded;
		loaded += load_round(devices, device_count);
	}
	return loaded;
}
