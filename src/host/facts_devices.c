/* SPDX-License-Identifier: Apache-2.0 */
/*
 * facts_devices.c - devices of /sys.
 */
#include "host/facts_devices.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "model/json.h"

#define DEVICES_MAX   1024
#define SECTOR_BYTES  512
#define TEXT_MAX      256
#define LOOP_MAJOR    "7:"
#define RAM_MAJOR     "1:"
#define PCI_GPU_CLASS "0x03"

/* The sorted names in a directory that `call` gets. */
static void each_in(int sys, const char *path,
	void (*call)(int sys, const char *name, json_t *list), json_t *list)
{
	struct dirent **entries;
	int count = scandirat(sys, path, &entries, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		if (entries[i]->d_name[0] != '.' && i < DEVICES_MAX)
			call(sys, entries[i]->d_name, list);
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
}

/* Sets `field` to the content of a file if there is one that is a text. */
static bool set_from(json_t *object, const char *field, int sys, const char *format, ...)
	printf_like(4, 5);

static bool set_from(json_t *object, const char *field, int sys, const char *format, ...)
{
	char path[PATH_MAX], line[TEXT_MAX];
	va_list args;
	va_start(args, format);
	vsnprintf(path, sizeof(path), format, args);
	va_end(args);
	if (file_read_line(sys, path, line, sizeof(line)) <= 0)
		return false;
	size_t length = strlen(line);
	while (length > 0 && line[length - 1] == ' ')
		line[--length] = '\0';
	json_t *value = json_string(line);
	return value && json_object_set_new(object, field, value) == 0;
}

static uint64_t number_of(int sys, const char *format, ...) printf_like(2, 3);

static uint64_t number_of(int sys, const char *format, ...)
{
	char path[PATH_MAX];
	va_list args;
	va_start(args, format);
	vsnprintf(path, sizeof(path), format, args);
	va_end(args);
	uint64_t number;
	return file_read_u64(sys, path, &number) < 0 ? 0 : number;
}

/* The last part of a link: the driver's, the bus's, the device's name. */
static bool link_name(int sys, const char *path, char name[TEXT_MAX])
{
	char target[PATH_MAX];
	ssize_t length = readlinkat(sys, path, target, sizeof(target) - 1);
	if (length <= 0)
		return false;
	target[length] = '\0';
	const char *slash = strrchr(target, '/');
	snprintf(name, TEXT_MAX, "%.250s", slash ? slash + 1 : target);
	return true;
}

static void add_partition(json_t *disk, int sys, const char *name, const char *disk_name)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "class/block/%s/partition", name);
	uint64_t partition;
	if (file_read_u64(sys, path, &partition) < 0)
		return;
	json_t *json = json_pack("{s:s,s:I,s:b}", "id", name, "partition", (json_int_t)partition,
		"read_only", number_of(sys, "class/block/%s/ro", name) != 0);
	json_set_u64(json, "size", number_of(sys, "class/block/%s/size", name) * SECTOR_BYTES);
	set_from(json, "device", sys, "block/%s/%s/dev", disk_name, name);
	json_array_append_new(json_object_get(disk, "partitions"), json);
}

static void add_disk(int sys, const char *name, json_t *disks)
{
	json_t *disk = json_pack("{s:s,s:b,s:b,s:I,s:I,s:i,s:[]}", "id", name, "read_only",
		number_of(sys, "block/%s/ro", name) != 0, "removable",
		number_of(sys, "block/%s/removable", name) != 0, "block_size",
		(json_int_t)number_of(sys, "block/%s/queue/logical_block_size", name), "rpm",
		(json_int_t)number_of(sys, "block/%s/queue/rotational", name), "numa_node", 0,
		"partitions");
	json_set_u64(disk, "size", number_of(sys, "block/%s/size", name) * SECTOR_BYTES);
	set_from(disk, "device", sys, "block/%s/dev", name);
	const char *device = json_text(disk, "device");
	if (!device || text_starts(device, LOOP_MAJOR) || text_starts(device, RAM_MAJOR) ||
		text_starts(name, "zram")) {
		json_decref(disk);
		return;
	}
	char path[PATH_MAX], bus[TEXT_MAX];
	snprintf(path, sizeof(path), "block/%s/device/subsystem", name);
	if (link_name(sys, path, bus))
		json_set_text(disk, "type", bus);
	set_from(disk, "model", sys, "block/%s/device/model", name);
	if (!set_from(disk, "serial", sys, "block/%s/serial", name))
		set_from(disk, "serial", sys, "block/%s/device/serial", name);
	set_from(disk, "firmware_version", sys, "block/%s/device/firmware_rev", name);
	set_from(disk, "wwn", sys, "block/%s/device/wwid", name);
	for (unsigned int i = 1; i <= 128; i++) {
		char part[NAME_MAX + 8];
		bool ends_in_digit = strpbrk(name + strlen(name) - 1, "0123456789") != NULL;
		snprintf(part, sizeof(part), "%.250s%s%u", name, ends_in_digit ? "p" : "", i);
		add_partition(disk, sys, part, name);
	}
	json_array_append_new(disks, disk);
}

static json_t *counted(const char *field, json_t *list)
{
	return json_pack("{s:o,s:I}", field, list, "total", (json_int_t)json_array_size(list));
}

json_t *facts_storage(int sys)
{
	json_t *disks = json_array();
	each_in(sys, "block", add_disk, disks);
	return counted("disks", disks);
}

static void set_pci(json_t *card, int sys, const char *device)
{
	char address[TEXT_MAX], driver[TEXT_MAX], path[PATH_MAX + 16];
	snprintf(path, sizeof(path), "%s/driver", device);
	if (link_name(sys, path, driver))
		json_set_text(card, "driver", driver);
	snprintf(path, sizeof(path), "%s/subsystem", device);
	char bus[TEXT_MAX];
	if (!link_name(sys, path, bus) || !text_equal(bus, "pci"))
		return;
	if (link_name(sys, device, address))
		json_set_text(card, "pci_address", address);
	set_from(card, "vendor_id", sys, "%s/vendor", device);
	set_from(card, "product_id", sys, "%s/device", device);
}

/* Ids stand in /sys as "0x1af4"; the API has them without "0x". */
static void strip_ids(json_t *card)
{
	static const char *const fields[] = { "vendor_id", "product_id" };
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		const char *text = json_text(card, fields[i]);
		if (text && text_starts(text, "0x")) {
			cleanup(free) char *id = alloc_text(text + 2);
			json_set_text(card, fields[i], id);
		}
	}
}

static void add_network(int sys, const char *name, json_t *cards)
{
	char path[PATH_MAX];
	/* Bridges, veths and tunnels have no device behind them. */
	snprintf(path, sizeof(path), "class/net/%s/device", name);
	if (faccessat(sys, path, F_OK, 0) < 0)
		return;
	json_t *port = json_pack("{s:s,s:i,s:s,s:b,s:b}", "id", name, "port", 0, "protocol",
		"ethernet", "auto_negotiation", 0, "link_detected",
		number_of(sys, "class/net/%s/carrier", name) != 0);
	set_from(port, "address", sys, "class/net/%s/address", name);
	uint64_t speed = number_of(sys, "class/net/%s/speed", name);
	if (speed > 0)
		json_set_u64(port, "link_speed", speed);
	json_t *card = json_pack("{s:[o],s:i}", "ports", port, "numa_node", 0);
	set_pci(card, sys, path);
	strip_ids(card);
	json_array_append_new(cards, card);
}

json_t *facts_network(int sys)
{
	json_t *cards = json_array();
	each_in(sys, "class/net", add_network, cards);
	return counted("cards", cards);
}

static void add_pci(int sys, const char *name, json_t *devices)
{
	char path[PATH_MAX], driver[TEXT_MAX];
	json_t *device = json_pack("{s:s,s:i,s:s,s:s,s:s,s:s,s:s,s:I}", "pci_address", name,
		"numa_node", 0, "driver", "", "driver_version", "", "vendor", "", "product", "",
		"product_id", "", "iommu_group", (json_int_t)0);
	set_from(device, "vendor_id", sys, "bus/pci/devices/%s/vendor", name);
	set_from(device, "product_id", sys, "bus/pci/devices/%s/device", name);
	strip_ids(device);
	snprintf(path, sizeof(path), "bus/pci/devices/%s/driver", name);
	if (link_name(sys, path, driver))
		json_set_text(device, "driver", driver);
	json_array_append_new(devices, device);
}

json_t *facts_pci(int sys)
{
	json_t *devices = json_array();
	each_in(sys, "bus/pci/devices", add_pci, devices);
	return counted("devices", devices);
}

static void add_gpu(int sys, const char *name, json_t *cards)
{
	char path[PATH_MAX], class[TEXT_MAX];
	snprintf(path, sizeof(path), "bus/pci/devices/%s/class", name);
	if (file_read_line(sys, path, class, sizeof(class)) <= 0 ||
		!text_starts(class, PCI_GPU_CLASS))
		return;
	add_pci(sys, name, cards);
}

json_t *facts_gpu(int sys)
{
	json_t *cards = json_array();
	each_in(sys, "bus/pci/devices", add_gpu, cards);
	return counted("cards", cards);
}

/* The processor says so itself. */
static bool is_virtual(void)
{
	cleanup(free) char *text = NULL;
	return file_read(AT_FDCWD, "/proc/cpuinfo", 4 * MIB, &text, NULL, NULL) == 0 &&
		strstr(text, " hypervisor") != NULL;
}

json_t *facts_system(int sys)
{
	static const struct {
		const char *field, *file;
	} files[] = {
		{ "uuid", "product_uuid" },
		{ "vendor", "sys_vendor" },
		{ "product", "product_name" },
		{ "family", "product_family" },
		{ "version", "product_version" },
		{ "sku", "product_sku" },
		{ "serial", "product_serial" },
	};
	json_t *system = json_object();
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		set_from(system, files[i].field, sys, "class/dmi/id/%s", files[i].file);
	json_set_text(system, "type", is_virtual() ? "virtual-machine" : "physical");
	return system;
}
