/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server_inventory.c - what a server says of itself, checked.
 */
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "model/json.h"
#include "model/server.h"

#define WORD_MAX  128
#define DISKS_MAX 64
#define NICS_MAX  64
#define PCRS_MAX  24

/* A text of what can be shown on a terminal, cut. */
static void copy_word(json_t *to, const json_t *from, const char *field)
{
	char word[WORD_MAX];
	const char *text = json_text(from, field) ?: "";
	size_t length = 0;
	for (; text[length] && length < WORD_MAX - 1; length++)
		word[length] = text[length] >= 0x20 && text[length] < 0x7f ? text[length] : '?';
	word[length] = '\0';
	json_set_text(to, field, word);
}

static int copy_number(
	json_t *to, const json_t *from, const char *path, const char *field, struct error *e)
{
	uint64_t value = 0;
	int r = json_read_u64(from, path, field, &value, e);
	if (r == 0 && value > INT64_MAX)
		r = error_set(e, -EINVAL, "%s.%s: is too large", path, field);
	if (r == 0)
		json_object_set_new(to, field, json_integer((json_int_t)value));
	return r;
}

static int read_disks(json_t *to, const json_t *told, struct error *e)
{
	json_t *list = NULL, *disks = json_array();
	int r = json_read_array(told, "", "disks", &list, e);
	json_object_set_new(to, "disks", disks);
	if (r == 0 && json_array_size(list) > DISKS_MAX)
		return error_set(e, -E2BIG, "disks: at most %d", DISKS_MAX);
	for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
		const json_t *one = json_array_get(list, i);
		json_t *disk = json_object();
		json_array_append_new(disks, disk);
		copy_word(disk, one, "name");
		copy_word(disk, one, "model");
		copy_word(disk, one, "serial");
		copy_word(disk, one, "kind");
		r = json_is_object(one) ? copy_number(disk, one, "disks", "bytes", e)
					: error_set(e, -EINVAL, "disks: objects are wanted");
	}
	return r;
}

static int read_nics(json_t *to, const json_t *told, struct error *e)
{
	json_t *list = NULL, *nics = json_array();
	int r = json_read_array(told, "", "nics", &list, e);
	json_object_set_new(to, "nics", nics);
	if (r == 0 && json_array_size(list) > NICS_MAX)
		return error_set(e, -E2BIG, "nics: at most %d", NICS_MAX);
	for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
		const json_t *one = json_array_get(list, i);
		json_t *nic = json_object();
		json_array_append_new(nics, nic);
		copy_word(nic, one, "name");
		copy_word(nic, one, "mac");
		copy_word(nic, one, "driver");
		json_set_bool(nic, "has_link", json_is_true(json_object_get(one, "has_link")));
		r = json_is_object(one) ? copy_number(nic, one, "nics", "speed_mbit", e)
					: error_set(e, -EINVAL, "nics: objects are wanted");
	}
	return r;
}

static void read_tpm(json_t *to, const json_t *told)
{
	const json_t *tpm = json_object_get(told, "tpm");
	const json_t *list = json_object_get(tpm, "pcrs");
	if (!json_is_object(tpm)) {
		json_object_set_new(to, "tpm", json_null());
		return;
	}
	json_t *copy = json_object(), *pcrs = json_array();
	copy_word(copy, tpm, "version");
	for (size_t i = 0; i < json_array_size(list) && i < PCRS_MAX; i++) {
		const char *value = json_string_value(json_array_get(list, i)) ?: "";
		cleanup(free) char *cut =
			alloc_text_n(value, strspn(value, "0123456789abcdefABCDEF"));
		if (strlen(cut) > WORD_MAX)
			cut[WORD_MAX] = '\0';
		json_array_append_new(pcrs, json_string(cut));
	}
	json_object_set_new(copy, "pcrs", pcrs);
	json_object_set_new(to, "tpm", copy);
}

int server_inventory_read(const json_t *told, json_t **ret, struct error *e)
{
	static const char *const of_system[] = { "vendor", "product", "serial", "uuid", "bios" };
	cleanup(json_decref) json_t *inventory = json_object();
	json_t *system = NULL, *cpus = NULL, *object;
	int r = json_read_object(told, "", "system", &system, e);
	if (r == 0)
		r = json_read_object(told, "", "cpus", &cpus, e);
	if (r < 0)
		return r;
	object = json_object();
	for (size_t i = 0; i < ARRAY_SIZE(of_system); i++)
		copy_word(object, system, of_system[i]);
	json_object_set_new(inventory, "system", object);
	object = json_object();
	json_object_set_new(inventory, "cpus", object);
	copy_word(object, cpus, "model");
	r = copy_number(object, cpus, "cpus", "count", e);
	if (r == 0)
		r = copy_number(object, cpus, "cpus", "sockets", e);
	if (r == 0)
		r = copy_number(inventory, told, "", "memory_bytes", e);
	if (r == 0)
		r = copy_number(inventory, told, "", "boot_ms", e);
	if (r == 0)
		r = read_disks(inventory, told, e);
	if (r == 0)
		r = read_nics(inventory, told, e);
	if (r < 0)
		return r;
	copy_word(inventory, told, "firmware");
	copy_word(inventory, told, "kernel");
	json_set_bool(inventory, "has_bmc", json_is_true(json_object_get(told, "has_bmc")));
	read_tpm(inventory, told);
	*ret = TAKE_PTR(inventory);
	return 0;
}

static uint64_t number(const json_t *object, const char *field)
{
	json_int_t value = json_integer_value(json_object_get(object, field));
	return value > 0 ? (uint64_t)value : 0;
}

void server_facts(const json_t *inventory, struct server_facts *ret)
{
	const json_t *disks = json_object_get(inventory, "disks");
	const json_t *nics = json_object_get(inventory, "nics");
	*ret = (struct server_facts){
		.cpus = number(json_object_get(inventory, "cpus"), "count"),
		.memory_bytes = number(inventory, "memory_bytes"),
	};
	for (size_t i = 0; i < json_array_size(disks); i++) {
		uint64_t bytes = number(json_array_get(disks, i), "bytes");
		if (bytes > ret->disk_bytes)
			ret->disk_bytes = bytes;
	}
	for (size_t i = 0; i < json_array_size(nics); i++) {
		const json_t *nic = json_array_get(nics, i);
		uint64_t speed = number(nic, "speed_mbit");
		if (json_is_true(json_object_get(nic, "has_link")) && speed > ret->nic_mbit)
			ret->nic_mbit = speed;
	}
}

int server_measures_differ(const json_t *before, const json_t *now)
{
	const json_t *old = json_object_get(json_object_get(before, "tpm"), "pcrs");
	const json_t *new = json_object_get(json_object_get(now, "tpm"), "pcrs");
	size_t count = json_array_size(old) > json_array_size(new) ? json_array_size(old)
								   : json_array_size(new);
	for (size_t i = 0; i < count; i++)
		if (!text_equal(json_string_value(json_array_get(old, i)),
			    json_string_value(json_array_get(new, i))))
			return (int)i;
	return -1;
}
