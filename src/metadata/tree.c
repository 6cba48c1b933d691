/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree.c - what the metadata service says of one instance, as a tree of files.
 */
#include "metadata/tree.h"

#include <string.h>

#include "base/text.h"
#include "model/json.h"

#define PATH_MAX_BYTES 256

typedef char *make_call(const json_t *document, const char *key);

static char *copy(const json_t *document, const char *key)
{
	const char *text = json_text(document, key);
	return text ? alloc_text(text) : NULL;
}

static char *user_data(const json_t *document, const char *key)
{
	return alloc_text(json_text(document, key) ?: "#cloud-config\n{}\n");
}

/* There, and maybe empty: a seed without it is looked for again and again. */
static char *vendor_data(const json_t *document, const char *key)
{
	return alloc_text(json_text(document, key) ?: "");
}

static char *seed_meta_data(const json_t *document, const char *key)
{
	const char *more = json_text(document, key);
	return alloc_printf("instance-id: %s\nlocal-hostname: %s\n%s%s",
		json_text(document, "instance-id") ?: "", json_text(document, "name") ?: "",
		more ?: "", more ? "\n" : "");
}

static char *openstack_meta_data(const json_t *document, const char *key)
{
	(void)key;
	cleanup(json_decref) json_t *json = json_pack("{s:s*, s:s*, s:s*, s:s*, s:i, s:{}}", "uuid",
		json_text(document, "instance-id"), "name", json_text(document, "name"), "hostname",
		json_text(document, "name"), "project_id", json_text(document, "project"),
		"launch_index", 0, "meta");
	return json_dumps(json, JSON_INDENT(1));
}

static char *openstack_vendor_data(const json_t *document, const char *key)
{
	cleanup(json_decref) json_t *json =
		json_pack("{s:s*}", "cloud-init", json_text(document, key));
	return json_dumps(json, JSON_INDENT(1));
}

static char *launch_index(const json_t *document, const char *key)
{
	(void)document, (void)key;
	return alloc_text("0");
}

static const struct leaf {
	const char *path;
	make_call *make;
	const char *key;
} leaves[] = {
	{ "latest/meta-data/ami-id", copy, "image" },
	{ "latest/meta-data/ami-launch-index", launch_index, NULL },
	{ "latest/meta-data/hostname", copy, "name" },
	{ "latest/meta-data/instance-id", copy, "instance-id" },
	{ "latest/meta-data/instance-type", copy, "type" },
	{ "latest/meta-data/local-hostname", copy, "name" },
	{ "latest/meta-data/local-ipv4", copy, "ipv4" },
	{ "latest/meta-data/mac", copy, "mac" },
	{ "latest/user-data", copy, "user-data" },
	{ "nocloud/meta-data", seed_meta_data, "meta-data" },
	{ "nocloud/network-config", copy, "network-config" },
	{ "nocloud/user-data", user_data, "user-data" },
	{ "nocloud/vendor-data", vendor_data, "vendor-data" },
	{ "openstack/latest/meta_data.json", openstack_meta_data, NULL },
	{ "openstack/latest/user_data", copy, "user-data" },
	{ "openstack/latest/vendor_data.json", openstack_vendor_data, "vendor-data" },
};

/* "2009-04-04" */
static bool is_date(const char *part, size_t length)
{
	if (length != strlen("2009-04-04"))
		return false;
	for (size_t i = 0; i < length; i++)
		if ((i == 4 || i == 7) ? part[i] != '-' : part[i] < '0' || part[i] > '9')
			return false;
	return true;
}

/* Without slashes at its ends and without empty parts; a date is as good as "latest". */
static bool normalize(const char *path, char ret[PATH_MAX_BYTES])
{
	size_t used = 0;
	for (const char *at = path + strspn(path, "/"); *at; at += strspn(at, "/")) {
		size_t length = strcspn(at, "/");
		const char *part = is_date(at, length) ? "latest" : at;
		size_t count = part == at ? length : strlen(part);
		if (used + count + 2 > PATH_MAX_BYTES)
			return false;
		if (used)
			ret[used++] = '/';
		memcpy(ret + used, part, count);
		used += count;
		at += length;
	}
	ret[used] = '\0';
	return true;
}

/* The part of a leaf's path below the directory, or NULL. */
static const char *below(const char *leaf, const char *directory)
{
	size_t length = strlen(directory);
	if (length == 0)
		return leaf;
	return text_starts(leaf, directory) && leaf[length] == '/' ? leaf + length + 1 : NULL;
}

static char *list(const json_t *document, const char *directory)
{
	struct text names = {};
	const char *last = "";
	size_t last_length = 0;
	for (size_t i = 0; i < ARRAY_SIZE(leaves); i++) {
		const char *name = below(leaves[i].path, directory);
		size_t length = name ? strcspn(name, "/") : 0;
		if (!name || (length == last_length && strncmp(name, last, length) == 0))
			continue;
		cleanup(free) char *there = leaves[i].make(document, leaves[i].key);
		if (!there)
			continue;
		text_printf(&names, "%s%.*s%s", names.length ? "\n" : "", (int)length, name,
			name[length] ? "/" : "");
		last = name;
		last_length = length;
	}
	return names.length ? text_take(&names) : NULL;
}

char *tree_read(const json_t *document, const char *path)
{
	char plain[PATH_MAX_BYTES];
	if (!normalize(path, plain))
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(leaves); i++)
		if (text_equal(leaves[i].path, plain))
			return leaves[i].make(document, leaves[i].key);
	return list(document, plain);
}
