/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backup_index.c - what an instance's archive says of itself.
 */
#include "daemon/instance/backup_index.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"
#include "daemon/instance/snapshots.h"
#include "model/json.h"
#include "model/template.h"

#define NEVER "0001-01-01T00:00:00Z"

/* -- written --------------------------------------------------------------------------------------- */

/*
 * JSON is YAML but for the characters that YAML wants escaped: U+007F to U+009F and U+FEFF. They can stand
 * in texts only.
 */
static char *as_yaml(const json_t *object)
{
	cleanup(free) char *json = json_dumps(object, JSON_INDENT(1) | JSON_SORT_KEYS);
	cleanup(text_done) struct text text = {};
	for (const char *at = json ?: "{}"; *at; at++) {
		unsigned char byte = (unsigned char)*at, next = (unsigned char)at[1];
		if (byte == 0x7f) {
			text_add(&text, "\\u007f");
		} else if (byte == 0xc2 && next < 0xa0) {
			text_printf(&text, "\\u%04x", next);
			at++;
		} else if (byte == 0xef && next == 0xbb && (unsigned char)at[2] == 0xbf) {
			text_add(&text, "\\ufeff");
			at += 2;
		} else {
			text_add_char(&text, *at);
		}
	}
	text_add(&text, "\n");
	return text_take(&text);
}

static json_t *pick(const json_t *from, const char *const *fields, size_t count)
{
	json_t *object = json_object();
	for (size_t i = 0; i < count; i++) {
		json_t *value = json_object_get(from, fields[i]);
		if (value)
			json_object_set(object, fields[i], value);
	}
	return object;
}

static json_t *instance_told(const struct instance *instance)
{
	static const char *const fields[] = { "name", "type", "description", "architecture",
		"config", "devices", "profiles", "ephemeral", "created_at", "last_used_at" };
	json_t *told = pick(instance->object, fields, ARRAY_SIZE(fields));
	json_object_set(told, "expanded_config", instance->expanded_config);
	json_object_set(told, "expanded_devices", instance->expanded_devices);
	json_set_bool(told, "stateful", false);
	json_set_text(told, "status", "Stopped");
	json_object_set_new(told, "status_code", json_integer(102));
	return told;
}

/* The state of a machine stays where it is: another server could not go on from it. */
static json_t *snapshots_told(const struct instance *instance, const char *left_out, json_t *names)
{
	json_t *told = json_array();
	for (size_t i = 0; i < json_array_size(instance->snapshots); i++) {
		const json_t *kept = json_array_get(instance->snapshots, i);
		if (text_equal(json_text(kept, "name"), left_out))
			continue;
		json_t *snapshot = json_copy(json_mutable(kept));
		json_array_append(names, json_object_get(snapshot, "name"));
		json_set_bool(snapshot, "stateful", false);
		json_array_append_new(told, snapshot);
	}
	return told;
}

static json_t *pool_told(const struct instance *instance)
{
	return json_pack("{s:s, s:s, s:s, s:{}}", "name", instance->storage_pool ?: "default",
		"description", "", "driver", "dir", "config");
}

static json_t *volume_told(const struct instance *instance)
{
	bool is_machine = instance->kind->can & KIND_IS_MACHINE;
	return json_pack("{s:s, s:s, s:s, s:s, s:{}}", "name", instance->name, "description", "",
		"type", is_machine ? "virtual-machine" : "container", "content_type",
		is_machine ? "block" : "filesystem", "config");
}

void backup_index_write(const struct instance *instance, bool with_snapshots, const char *left_out,
	char **ret, char **ret_config)
{
	json_t *names = json_array();
	json_t *config = json_pack("{s:o, s:o, s:o}", "container", instance_told(instance), "pool",
		pool_told(instance), "volume", volume_told(instance));
	if (with_snapshots)
		json_object_set_new(config, "snapshots", snapshots_told(instance, left_out, names));
	cleanup(json_decref) json_t *index = json_pack("{s:s, s:s, s:s, s:s, s:b, s:b, s:o, s:o}",
		"name", instance->name, "backend", "dir", "pool",
		instance->storage_pool ?: "default", "type", instance->kind->name, "optimized", 0,
		"optimized_header", 0, "snapshots", names, "config", config);
	*ret = as_yaml(index);
	*ret_config = as_yaml(config);
}

char *backup_metadata_write(const struct instance *instance)
{
	const json_t *templates = json_object_get(instance->object, "templates");
	const char *path;
	json_t *template;
	if (json_object_size(templates) == 0)
		return NULL;
	json_t *told = json_object();
	json_object_foreach(json_mutable(templates), path, template)
	{
		json_t *shown = json_copy(template);
		json_object_del(shown, "content");
		json_object_set_new(told, path, shown);
	}
	cleanup(json_decref) json_t *metadata = json_pack("{s:O, s:i, s:o}", "architecture",
		json_object_get(instance->object, "architecture"), "creation_date", 0, "templates",
		told);
	return as_yaml(metadata);
}

/* -- read: every scalar of YAML is a text, or null ------------------------------------------------- */

static bool is_true(const json_t *value)
{
	return json_is_true(value) || text_equal(json_string_value(value), "true");
}

/* "2026-01-02T03:04:05.6Z" or with "+01:00"; clients refuse all else. */
static bool is_time(const char *text)
{
	static const char form[] = "dddd-dd-ddTdd:dd:dd", zone[] = "dd:dd";
	size_t i = 0;
	for (; form[i]; i++)
		if (form[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != form[i])
			return false;
	if (text[i] == '.')
		i += 1 + strspn(text + i + 1, "0123456789");
	if (text[i] == 'Z')
		return !text[i + 1];
	if (text[i] != '+' && text[i] != '-')
		return false;
	for (size_t z = 0; z <= strlen(zone); z++)
		if (zone[z] == 'd' ? text[i + 1 + z] < '0' || text[i + 1 + z] > '9'
				   : text[i + 1 + z] != zone[z])
			return false;
	return true;
}

static void set_time(json_t *object, const char *field, const json_t *from, const char *usual)
{
	const char *text = json_text(from, field);
	json_set_text(object, field, text && strlen(text) < 40 && is_time(text) ? text : usual);
}

static int set_map(json_t *object, const char *field, const json_t *from, const char *path,
	bool is_of_maps, struct error *e)
{
	json_t *map = NULL;
	const char *name;
	json_t *inner;
	int r = is_of_maps ? json_read_object(from, path, field, &map, e)
			   : json_read_text_map(from, path, field, &map, e);
	if (r == 0 && is_of_maps) {
		json_object_foreach(map, name, inner)
		{
			json_t *unused = NULL;
			if (r == 0)
				r = json_read_text_map(map, field, name, &unused, e);
		}
	}
	if (r == 0)
		json_object_set_new(object, field, map ? json_deep_copy(map) : json_object());
	return r;
}

/* What an instance and a snapshot have in common. */
static int read_common(const json_t *from, const char *path, json_t **ret, struct error *e)
{
	cleanup(json_decref) json_t *object = json_object();
	const char *description = "", *architecture = "x86_64";
	json_t *profiles = NULL;
	int r = json_read_text(from, path, "description", &description, e);
	if (r == 0)
		r = json_read_text(from, path, "architecture", &architecture, e);
	if (r == 0)
		r = set_map(object, "config", from, path, false, e);
	if (r == 0)
		r = set_map(object, "devices", from, path, true, e);
	if (r == 0)
		r = json_read_text_array(from, path, "profiles", &profiles, e);
	if (r < 0)
		return r;
	json_set_text(object, "description", description);
	json_set_text(object, "architecture", architecture);
	json_object_set_new(object, "profiles", profiles ? json_deep_copy(profiles) : json_array());
	json_set_bool(object, "ephemeral", is_true(json_object_get(from, "ephemeral")));
	*ret = TAKE_PTR(object);
	return 0;
}

static bool has_snapshot(const json_t *snapshots, const char *name)
{
	for (size_t i = 0; i < json_array_size(snapshots); i++)
		if (text_equal(json_text(json_array_get(snapshots, i), "name"), name))
			return true;
	return false;
}

/* Older servers wrote "c1/snap0". */
static const json_t *find_told(const json_t *all, const char *name)
{
	for (size_t i = 0; i < json_array_size(all); i++) {
		const json_t *one = json_array_get(all, i);
		const char *told = json_text(one, "name");
		const char *slash = told ? strrchr(told, '/') : NULL;
		if (told && text_equal(slash ? slash + 1 : told, name))
			return one;
	}
	return NULL;
}

static int read_snapshot(
	const json_t *told, const char *name, struct backup_index *index, struct error *e)
{
	char now[TEXT_TIME_SIZE];
	json_t *snapshot = NULL;
	cleanup(free) char *path = alloc_printf("config.snapshots.%.64s", name);
	int r = spec_check_snapshot_name(name, e);
	if (r < 0)
		return error_prefix(e, r, "snapshots");
	if (has_snapshot(index->snapshots, name))
		return error_set(e, -EINVAL, "snapshots: \"%s\" stands there twice", name);
	r = read_common(told ?: index->body, told ? path : "", &snapshot, e);
	if (r == 0)
		r = spec_check(json_object_get(snapshot, "config"),
			json_object_get(snapshot, "devices"), e);
	if (r < 0) {
		json_decref(snapshot);
		return error_prefix(e, r, "%s", path);
	}
	json_set_text(snapshot, "name", name);
	set_time(snapshot, "created_at", told, text_format_time(loop_wall_clock(), now));
	set_time(snapshot, "expires_at", told, NEVER);
	set_time(snapshot, "last_used_at", told, "1970-01-01T00:00:00Z");
	json_set_bool(snapshot, "stateful", false);
	json_object_set_new(snapshot, "size", json_integer(-1));
	json_array_append_new(index->snapshots, snapshot);
	return 0;
}

static int read_snapshots(
	const json_t *names, const json_t *told, struct backup_index *index, struct error *e)
{
	if (json_array_size(names) > SNAPSHOTS_MAX)
		return error_set(
			e, -EINVAL, "snapshots: more than %d, which is the limit", SNAPSHOTS_MAX);
	for (size_t i = 0; i < json_array_size(names); i++) {
		const char *name = json_string_value(json_array_get(names, i));
		if (!name)
			return error_set(e, -EINVAL, "snapshots: a name is no text");
		int r = read_snapshot(find_told(told, name), name, index, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_templates(const json_t *metadata, struct backup_index *index, struct error *e)
{
	json_t *templates = NULL, *template;
	const char *path;
	int r = json_read_object(metadata, "metadata.yaml", "templates", &templates, e);
	if (r < 0 || json_object_size(templates) == 0)
		return r;
	json_object_foreach(templates, path, template)
	{
		const char *content = json_text(template, "content");
		r = path[0] == '/' && content ? template_check(content, e)
					      : error_set(e, -EINVAL, "its path must be absolute");
		if (r < 0)
			return error_prefix(e, r, "metadata.yaml: templates.%.80s", path);
	}
	index->templates = json_deep_copy(templates);
	return 0;
}

int backup_told_read(int fd, size_t bytes_max, json_t **ret, struct error *e)
{
	struct stat status;
	if (fstat(fd, &status) < 0 || status.st_size > (off_t)bytes_max)
		return error_set(e, -EINVAL, "the backup's index is too long");
	size_t length = (size_t)status.st_size;
	cleanup(free) char *text = alloc_zeroed(1, length + 1);
	int r = file_read_at(fd, text, length, 0);
	return r < 0 ? error_code(e, r, "read the index") : json_parse(text, length, ret, e);
}

int backup_index_read(const json_t *told, struct backup_index *ret, struct error *e)
{
	const json_t *outer = json_object_get(told, "index"), *source = outer;
	const json_t *config = json_object_get(outer, "config");
	struct backup_index index = { .is_old = json_is_true(json_object_get(told, "is_old")),
		.snapshots = json_array() };
	const char *name = json_text(outer, "name"), *type = json_text(outer, "type");
	json_int_t root_bytes = json_integer_value(json_object_get(told, "root_bytes"));
	int r = 0;
	if (root_bytes > 0)
		index.root_bytes = (uint64_t)root_bytes;
	if (!index.is_old) {
		source =
			json_object_get(config, "container") ?: json_object_get(config, "instance");
		if (is_true(json_object_get(outer, "optimized")))
			r = error_set(e, -EINVAL,
				"it is in its pool's own format; export it again without "
				"--optimized-storage");
		else if (!json_is_object(source))
			r = error_set(e, -EINVAL, "config.container: is missing");
	}
	if (r == 0)
		r = read_common(source, index.is_old ? "" : "config.container", &index.body, e);
	if (r == 0) {
		json_set_text(index.body, "name", name ?: json_text(source, "name"));
		json_set_text(index.body, "type", type ?: "container");
		r = read_templates(json_object_get(told, "metadata"), &index, e);
	}
	if (r == 0 && !index.is_old)
		r = read_snapshots(json_object_get(outer, "snapshots"),
			json_object_get(config, "snapshots"), &index, e);
	if (r < 0) {
		backup_index_done(&index);
		return error_prefix(e, r, "the backup's index.yaml");
	}
	*ret = index;
	return 0;
}

void backup_index_done(struct backup_index *index)
{
	json_decref(index->body);
	json_decref(index->snapshots);
	json_decref(index->templates);
	*index = (struct backup_index){};
}

char *backup_prefix(const struct kind *kind, bool is_old, const char *snapshot)
{
	bool is_machine = kind->can & KIND_IS_MACHINE;
	if (is_old)
		return alloc_text("backup/container");
	if (snapshot && is_machine)
		return alloc_printf("backup/virtual-machine-snapshots/%s", snapshot);
	if (snapshot)
		return alloc_printf("backup/snapshots/%s/rootfs", snapshot);
	return alloc_text(is_machine ? "backup/virtual-machine" : "backup/container/rootfs");
}
