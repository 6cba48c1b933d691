/* SPDX-License-Identifier: Apache-2.0 */
/*
 * oci.c - reading OCI documents.
 */
#include "job/oci.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/text.h"

#define MANIFEST      "application/vnd.oci.image.manifest.v1+json"
#define INDEX         "application/vnd.oci.image.index.v1+json"
#define DOCKER        "application/vnd.docker.distribution.manifest.v2+json"
#define DOCKER_LIST   "application/vnd.docker.distribution.manifest.list.v2+json"
#define NAME_KEY      "org.opencontainers.image.ref.name"
#define BLOB_SIZE_MAX (UINT64_C(64) * GIB)
#define ENTRIES_MAX   256
#define TEXTS_MAX     1024

static const struct {
	const char *oci, *ours;
} architectures[] = {
	{ "amd64", "x86_64" },
	{ "386", "i686" },
	{ "arm64", "aarch64" },
	{ "arm", "armv7l" },
	{ "ppc64le", "ppc64le" },
	{ "riscv64", "riscv64" },
	{ "s390x", "s390x" },
};

const char *oci_architecture(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(architectures); i++)
		if (text_equal(architectures[i].oci, name))
			return architectures[i].ours;
	return name;
}

static const char *member_text(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

/* One reading only: no key twice, no bytes behind the end. */
static int load(const char *json, size_t length, const char *what, json_t **ret, struct error *e)
{
	if (length > OCI_DOCUMENT_MAX)
		return error_set(
			e, -E2BIG, "the %s has more than %d bytes", what, (int)OCI_DOCUMENT_MAX);
	json_error_t why;
	json_t *document = json_loadb(json, length, JSON_REJECT_DUPLICATES, &why);
	if (!json_is_object(document)) {
		json_decref(document);
		return error_set(e, -EINVAL, "the %s is no JSON object: %s", what, why.text);
	}
	*ret = document;
	return 0;
}

static void json_decref_cleanup(json_t **local)
{
	json_decref(*local);
}

static int read_blob(const json_t *object, const char *what, struct oci_blob *ret, struct error *e)
{
	const char *digest = member_text(object, "digest");
	const json_t *size = json_object_get(object, "size");
	if (!digest || !text_starts(digest, "sha256:") || !digest_is_hex(digest + 7))
		return error_set(e, -EINVAL, "the %s has no sha256 digest", what);
	if (!json_is_integer(size) || json_integer_value(size) < 0 ||
		(uint64_t)json_integer_value(size) > BLOB_SIZE_MAX)
		return error_set(e, -EINVAL, "the %s has no size that makes sense", what);
	if (json_array_size(json_object_get(object, "urls")) > 0)
		return error_set(e, -EINVAL, "the %s lies elsewhere (urls): refused", what);
	memcpy(ret->digest, digest + 7, DIGEST_HEX_SIZE);
	ret->size = (uint64_t)json_integer_value(size);
	return 0;
}

static bool is_for_this_machine(const json_t *manifest)
{
	const json_t *platform = json_object_get(manifest, "platform");
	const char *architecture = member_text(platform, "architecture");
	const char *system = member_text(platform, "os");
	struct utsname here;
	return (!system || text_equal(system, "linux")) &&
		(!architecture ||
			(uname(&here) == 0 &&
				text_equal(oci_architecture(architecture), here.machine)));
}

static bool is_called(const json_t *manifest, const char *name)
{
	return !name ||
		text_equal(member_text(json_object_get(manifest, "annotations"), NAME_KEY), name);
}

static int choose(const json_t *manifests, const char *name, json_t **ret, struct error *e)
{
	size_t index;
	json_t *manifest;
	bool has_name = false;
	json_array_foreach(manifests, index, manifest)
	{
		has_name |= is_called(manifest, name);
		if (is_called(manifest, name) && is_for_this_machine(manifest)) {
			*ret = manifest;
			return 0;
		}
	}
	if (!has_name)
		return error_set(e, -ENOENT, "the index names no image \"%s\"", name);
	return error_set(e, -ENOENT, "the index has no image for this machine's architecture");
}

int oci_find_manifest(const char *json, size_t length, const char *name, struct oci_blob *ret,
	bool *ret_is_index, struct error *e)
{
	cleanup(json_decref) json_t *document = NULL;
	int r = load(json, length, "index", &document, e);
	if (r < 0)
		return r;
	const json_t *manifests = json_object_get(document, "manifests");
	if (!json_is_array(manifests) || json_object_get(document, "layers") ||
		json_object_get(document, "config"))
		return error_set(e, -EINVAL, "the index is no list of manifests");
	if (json_array_size(manifests) == 0 || json_array_size(manifests) > ENTRIES_MAX)
		return error_set(
			e, -EINVAL, "the index lists %zu manifests", json_array_size(manifests));
	json_t *chosen = NULL;
	r = choose(manifests, name, &chosen, e);
	struct oci_blob blob;
	if (r == 0)
		r = read_blob(chosen, "manifest", &blob, e);
	if (r < 0)
		return r;
	const char *type = member_text(chosen, "mediaType");
	bool is_index = text_equal(type, INDEX) || text_equal(type, DOCKER_LIST);
	if (!is_index && !text_equal(type, MANIFEST) && !text_equal(type, DOCKER))
		return error_set(
			e, -EINVAL, "a manifest of the type \"%s\" is not known", type ? type : "");
	*ret = blob;
	*ret_is_index = is_index;
	return 0;
}

static bool is_layer_type(const char *type)
{
	static const char *const known[] = {
		"application/vnd.oci.image.layer.v1.tar",
		"application/vnd.oci.image.layer.v1.tar+gzip",
		"application/vnd.oci.image.layer.v1.tar+zstd",
		"application/vnd.docker.image.rootfs.diff.tar.gzip",
		"application/vnd.docker.image.rootfs.diff.tar",
	};
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (text_equal(known[i], type))
			return true;
	return false;
}

static int read_layers(const json_t *layers, struct oci_manifest *manifest, struct error *e)
{
	if (!json_is_array(layers) || json_array_size(layers) == 0 ||
		json_array_size(layers) > OCI_LAYERS_MAX)
		return error_set(e, -EINVAL, "the manifest has %zu layers, 1 to %d are taken",
			json_array_size(layers), OCI_LAYERS_MAX);
	size_t index;
	json_t *layer;
	json_array_foreach(layers, index, layer)
	{
		const char *type = member_text(layer, "mediaType");
		if (!is_layer_type(type))
			return error_set(e, -EINVAL, "layer %zu is of the type \"%s\", not known",
				index, type ? type : "");
		int r = read_blob(layer, "layer", &manifest->layers[index], e);
		if (r < 0)
			return r;
	}
	manifest->layer_count = json_array_size(layers);
	return 0;
}

int oci_read_manifest(const char *json, size_t length, struct oci_manifest *ret, struct error *e)
{
	cleanup(json_decref) json_t *document = NULL;
	int r = load(json, length, "manifest", &document, e);
	if (r < 0)
		return r;
	const json_t *version = json_object_get(document, "schemaVersion");
	const char *type = member_text(document, "mediaType");
	if (json_integer_value(version) != 2)
		return error_set(e, -EINVAL, "the manifest is not of schema version 2");
	if (json_object_get(document, "manifests"))
		return error_set(e, -EINVAL, "the manifest is an index at the same time");
	if (type && !text_equal(type, MANIFEST) && !text_equal(type, DOCKER))
		return error_set(e, -EINVAL, "the manifest says that it is a \"%s\"", type);
	cleanup(free) struct oci_manifest *manifest = alloc(struct oci_manifest);
	const json_t *config = json_object_get(document, "config");
	const char *config_type = member_text(config, "mediaType");
	if (!text_equal(config_type, "application/vnd.oci.image.config.v1+json") &&
		!text_equal(config_type, "application/vnd.docker.container.image.v1+json"))
		return error_set(e, -EINVAL, "the manifest's configuration is of the type \"%s\"",
			config_type ? config_type : "");
	r = read_blob(config, "configuration", &manifest->config, e);
	if (r == 0)
		r = read_layers(json_object_get(document, "layers"), manifest, e);
	if (r == 0)
		*ret = *manifest;
	return r;
}

/* A word as a shell would read it back. */
static void add_word(struct text *text, const char *word)
{
	if (text->length > 0)
		text_add_char(text, ' ');
	bool is_plain = *word != '\0';
	for (const char *at = word; *at; at++)
		is_plain &= isalnum((unsigned char)*at) || strchr("-_./:=@%+,", *at) != NULL;
	if (is_plain) {
		text_add(text, word);
		return;
	}
	text_add_char(text, '\'');
	for (const char *at = word; *at; at++) {
		if (*at == '\'')
			text_add(text, "'\\''");
		else
			text_add_char(text, *at);
	}
	text_add_char(text, '\'');
}

static int add_words(struct text *text, const json_t *words, const char *name, struct error *e)
{
	if (!words || json_is_null(words))
		return 0;
	if (!json_is_array(words) || json_array_size(words) > TEXTS_MAX)
		return error_set(e, -EINVAL, "config.%s: a list of at most %d texts was expected",
			name, TEXTS_MAX);
	size_t index;
	json_t *word;
	json_array_foreach(words, index, word)
	{
		if (!json_is_string(word))
			return error_set(e, -EINVAL, "config.%s: all must be texts", name);
		add_word(text, json_string_value(word));
	}
	return 0;
}

static int read_command(const json_t *from, json_t *config, struct error *e)
{
	cleanup(text_done) struct text words = {};
	int r = add_words(&words, json_object_get(from, "Entrypoint"), "Entrypoint", e);
	if (r == 0)
		r = add_words(&words, json_object_get(from, "Cmd"), "Cmd", e);
	if (r == 0 && words.length > 0)
		json_object_set_new(config, "oci.entrypoint", json_string(text_str(&words)));
	return r;
}

static bool is_variable_name(const char *name, size_t length)
{
	if (length == 0 || isdigit((unsigned char)name[0]))
		return false;
	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("_-.", name[i]))
			return false;
	return true;
}

static int read_environment(const json_t *from, json_t *config, struct error *e)
{
	const json_t *variables = json_object_get(from, "Env");
	if (!variables || json_is_null(variables))
		return 0;
	if (!json_is_array(variables) || json_array_size(variables) > TEXTS_MAX)
		return error_set(e, -EINVAL, "config.Env: a list of at most %d texts was expected",
			TEXTS_MAX);
	size_t index;
	json_t *variable;
	json_array_foreach(variables, index, variable)
	{
		const char *text = json_string_value(variable);
		const char *equals = text ? strchr(text, '=') : NULL;
		if (!equals || !is_variable_name(text, (size_t)(equals - text)))
			return error_set(
				e, -EINVAL, "config.Env: entry %zu is no NAME=VALUE", index);
		cleanup(free) char *key =
			alloc_printf("environment.%.*s", (int)(equals - text), text);
		json_object_set_new(config, key, json_string(equals + 1));
	}
	return 0;
}

/* "", "1000", "1000:1000" in numbers; names are looked up inside the root by who starts it. */
static int read_user(const json_t *from, json_t *config, struct error *e)
{
	const char *user = member_text(from, "User");
	if (!user || !*user) {
		json_object_set_new(config, "oci.uid", json_string("0"));
		json_object_set_new(config, "oci.gid", json_string("0"));
		return 0;
	}
	if (strlen(user) > 255)
		return error_set(e, -EINVAL, "config.User: too long");
	const char *colon = strchr(user, ':');
	cleanup(free) char *name =
		alloc_text_n(user, colon ? (size_t)(colon - user) : strlen(user));
	const char *group = colon ? colon + 1 : "0";
	uint64_t uid, gid;
	if (text_to_u64(name, &uid) < 0 || text_to_u64(group, &gid) < 0) {
		json_object_set_new(config, "oci.user", json_string(user));
		return 0;
	}
	json_object_set_new(config, "oci.uid", json_string(name));
	json_object_set_new(config, "oci.gid", json_string(group));
	return 0;
}

static int read_diffs(const json_t *document, size_t layer_count, json_t *diffs, struct error *e)
{
	const json_t *ids = json_object_get(json_object_get(document, "rootfs"), "diff_ids");
	if (json_array_size(ids) != layer_count)
		return error_set(e, -EINVAL, "the configuration names %zu layers, the manifest %zu",
			json_array_size(ids), layer_count);
	size_t index;
	json_t *id;
	json_array_foreach(ids, index, id)
	{
		const char *text = json_string_value(id);
		if (!text || !text_starts(text, "sha256:") || !digest_is_hex(text + 7))
			return error_set(e, -EINVAL,
				"rootfs.diff_ids: entry %zu is no sha256 digest", index);
		json_array_append_new(diffs, json_string(text + 7));
	}
	return 0;
}

static json_t *read_volumes(const json_t *from)
{
	json_t *volumes = json_array();
	const char *path;
	json_t *nothing;
	json_t *map = json_object_get(from, "Volumes");
	json_object_foreach(map, path, nothing)
	{
		if (path[0] == '/' && json_array_size(volumes) < ENTRIES_MAX)
			json_array_append_new(volumes, json_string(path));
	}
	return volumes;
}

int oci_read_config(
	const char *json, size_t length, size_t layer_count, json_t **ret, struct error *e)
{
	cleanup(json_decref) json_t *document = NULL;
	int r = load(json, length, "configuration", &document, e);
	if (r < 0)
		return r;
	const char *architecture = member_text(document, "architecture");
	const char *system = member_text(document, "os");
	if (!architecture || (system && !text_equal(system, "linux")))
		return error_set(e, -EINVAL,
			"the configuration is for the system \"%s\" on \"%s\", not for linux",
			system ? system : "", architecture ? architecture : "");
	const json_t *from = json_object_get(document, "config");
	cleanup(json_decref) json_t *config = json_object();
	cleanup(json_decref) json_t *diffs = json_array();
	r = read_diffs(document, layer_count, diffs, e);
	if (r == 0)
		r = read_command(from, config, e);
	if (r == 0)
		r = read_environment(from, config, e);
	if (r == 0)
		r = read_user(from, config, e);
	if (r < 0)
		return r;
	const char *cwd = member_text(from, "WorkingDir");
	json_object_set_new(config, "oci.cwd", json_string(cwd && *cwd == '/' ? cwd : "/"));
	const char *signal = member_text(from, "StopSignal");
	if (signal && *signal)
		json_object_set_new(config, "oci.stop_signal", json_string(signal));
	const char *created = member_text(document, "created");
	*ret = json_pack("{sssssOsOso}", "architecture", oci_architecture(architecture), "created",
		created ? created : "", "diffs", diffs, "config", config, "volumes",
		read_volumes(from));
	return *ret ? 0 : error_set(e, -ENOMEM, "no memory for the configuration");
}
