/* SPDX-License-Identifier: Apache-2.0 */
/*
 * launch.c - cpus, memory, bandwidth and storage in the words of the API: config keys and devices.
 *
 * A limit of bandwidth or storage belongs to a device, and a device of an instance replaces the one of
 * the same name that its profiles have. So the profiles' device is read, and sent back with the limit.
 */
#include "cli/launch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cells.h"
#include "cli/object.h"

#define OPTIONS_OF_ALL \
	{ "type", '\0', "TYPE", "container, virtual-machine, microvm, unikernel or bare-metal" }, \
		{ "class", '\0', "CLASS", \
			"of server: its class, or at least c8-m32 (CPUs and GiB)" }, \
		{ "cpus", '\0', "COUNT", "CPUs: 2, 0.5 or a set as 0-3" }, \
		{ "memory", 'm', "SIZE", "memory: 1GiB, or 10% of the host's" }, \
		{ "bandwidth", '\0', "RATE", "network rate in each direction: 100Mbit" }, \
		{ "storage", '\0', "SIZE", "size of the root volume: 10GiB" }, \
		{ "pool", '\0', "POOL", "storage pool of the root volume", WORDS_POOL }, \
		{ "network", 'n', "NETWORK", "attach eth0 to this network", WORDS_NETWORK }, \
		{ "profile", 'p', "PROFILE", "apply this profile; may be given again", \
			WORDS_PROFILE }, \
		{ "no-profiles", '\0', NULL, "apply no profile, not even the default one" }, \
		{ "config", 'c', "KEY=VALUE", "set a config key; may be given again" }, \
		{ "device", 'd', "DEVICE,KEY=VALUE", \
			"set a key of a device; may be given again" }, \
		{ "description", '\0', "TEXT", "say what it is for" }, \
		{ "ephemeral", 'e', NULL, "delete it when it stops" }, \
	{ \
		"empty", '\0', NULL, "without an image; the only argument is then the name" \
	}

const struct option launch_options[] = { OPTIONS_OF_ALL, {} };
const struct option create_options[] = { OPTIONS_OF_ALL, {} };

struct wish {
	struct context *context;
	json_t *body, *config, *devices;
	json_t *inherited; /* devices of the profiles, once somebody asked */
};

static void wish_done_cleanup(struct wish *wish)
{
	json_decref(wish->body);
	json_decref(wish->inherited);
}

static void set_string(json_t *object, const char *key, const char *value)
{
	json_object_set_new(object, key, json_string(value));
}

/* The devices of the profiles that will be applied, the later ones over the earlier. */
static int inherit(struct wish *wish, struct error *e)
{
	if (wish->inherited)
		return 0;
	wish->inherited = json_object();
	json_t *profiles = json_object_get(wish->body, "profiles");
	cleanup(json_decref) json_t *fallback = json_pack("[s]", "default");
	if (!json_is_array(profiles))
		profiles = fallback;
	size_t i;
	json_t *name;
	json_array_foreach(profiles, i, name)
	{
		cleanup(free) char *path = path_format("/1.0/profiles/%s", json_string_value(name));
		cleanup(json_decref) json_t *profile = NULL;
		int r = context_get(wish->context, path, &profile, NULL, e);
		if (r < 0)
			return error_prefix(e, r, "profile %s", json_string_value(name));
		json_object_update(wish->inherited, json_object_get(profile, "devices"));
	}
	return 0;
}

/* The instance's own device of that name, made from the profiles' if need be. */
static int own_device(struct wish *wish, const char *name, json_t **ret, struct error *e)
{
	json_t *device = json_object_get(wish->devices, name);
	if (!device) {
		int r = inherit(wish, e);
		if (r < 0)
			return r;
		json_t *inherited = json_object_get(wish->inherited, name);
		device = inherited ? json_copy(inherited) : json_object();
		json_object_set_new(wish->devices, name, device);
	}
	*ret = device;
	return 0;
}

static const char *find_device(json_t *devices, const char *type, const char *path)
{
	const char *name;
	json_t *device;
	json_object_foreach(
		devices, name, device) if (text_equal(object_text(device, "type"), type) &&
		(!path || text_equal(object_text(device, "path"), path))) return name;
	return NULL;
}

/* The name of the root disk or first nic, own or inherited; NULL if there is none. */
static int device_like(
	struct wish *wish, const char *type, const char *path, const char **ret, struct error *e)
{
	*ret = find_device(wish->devices, type, path);
	if (*ret)
		return 0;
	int r = inherit(wish, e);
	*ret = find_device(wish->inherited, type, path);
	return r;
}

static int set_network(struct wish *wish, const char *network)
{
	json_t *nic =
		json_pack("{s:s, s:s, s:s}", "type", "nic", "name", "eth0", "network", network);
	return json_object_set_new(wish->devices, "eth0", nic);
}

static int set_bandwidth(struct wish *wish, const char *rate, struct error *e)
{
	const char *name = NULL;
	json_t *nic = NULL;
	int r = device_like(wish, "nic", NULL, &name, e);
	if (r == 0 && !name)
		r = error_set(e, -EINVAL, "--bandwidth: it has no network; give --network");
	if (r == 0)
		r = own_device(wish, name, &nic, e);
	if (r < 0)
		return r;
	set_string(nic, "limits.ingress", rate);
	set_string(nic, "limits.egress", rate);
	return 0;
}

/* "default" or the only pool there is. */
static int find_pool(struct wish *wish, char **ret, struct error *e)
{
	cleanup(json_decref) json_t *pools = NULL;
	int r = context_get(wish->context, "/1.0/storage-pools?recursion=1", &pools, NULL, e);
	if (r < 0)
		return r;
	size_t i;
	json_t *pool;
	json_array_foreach(pools, i, pool) if (json_array_size(pools) == 1 ||
		text_equal(object_text(pool, "name"), "default"))
	{
		*ret = alloc_text(object_text(pool, "name"));
		return 0;
	}
	return error_set(e, -EINVAL, "--storage: give --pool, there is no pool named default");
}

static int set_storage(struct wish *wish, const char *size, const char *pool, struct error *e)
{
	const char *name = NULL;
	json_t *root = NULL;
	int r = device_like(wish, "disk", "/", &name, e);
	if (r == 0)
		r = own_device(wish, name ? name : "root", &root, e);
	if (r < 0)
		return r;
	cleanup(free) char *found = NULL;
	if (!pool && !object_text(root, "pool")) {
		r = find_pool(wish, &found, e);
		if (r < 0)
			return r;
		pool = found;
	}
	set_string(root, "type", "disk");
	set_string(root, "path", "/");
	if (pool)
		set_string(root, "pool", pool);
	if (size)
		set_string(root, "size", size);
	return 0;
}

/* "eth0,limits.max=1Gbit,mtu=9000" */
static int set_device(struct wish *wish, const char *word, struct error *e)
{
	size_t length = strcspn(word, ",");
	if (!word[length] || !length)
		return error_set(e, -EINVAL, "--device: '%s' is not DEVICE,KEY=VALUE", word);
	cleanup(free) char *name = alloc_text_n(word, length);
	json_t *device = NULL;
	int r = own_device(wish, name, &device, e);
	for (word += length + 1; r == 0 && *word;) {
		length = strcspn(word, ",");
		cleanup(free) char *pair = alloc_text_n(word, length);
		r = pair_set(device, pair, e);
		word += length + (word[length] == ',');
	}
	return r < 0 ? error_prefix(e, r, "--device") : 0;
}

/* What an image is called: an alias, or its fingerprint or the start of it. */
static int set_source(struct wish *wish, const char *image, struct error *e)
{
	cleanup(json_decref) json_t *alias = NULL;
	cleanup(free) char *path = path_format("/1.0/images/aliases/%s", image);
	int r = context_get(wish->context, path, &alias, NULL, e);
	if (r == -ENOENT && !remote_is_absent(wish->context->remote)) {
		cleanup(free) char *direct = path_format("/1.0/images/%s", image);
		r = context_get(wish->context, direct, &alias, NULL, e);
		if (r == -ENOENT)
			return error_set(e, -ENOENT,
				"there is no image '%s'; 'berth image list' shows those there are, "
				"'berth image pull' fetches more",
				image);
	}
	if (r < 0)
		return r;
	const char *target = object_text(alias, "target");
	const char *type = object_text(alias, "type");
	json_object_set_new(wish->body, "source",
		json_pack("{s:s, s:s}", "type", "image", "fingerprint",
			target ? target : object_text(alias, "fingerprint")));
	if (type && !json_object_get(wish->body, "type"))
		set_string(wish->body, "type", type);
	return 0;
}

static void set_profiles(struct wish *wish)
{
	const struct options *options = &wish->context->options;
	json_t *profiles = options_flag(options, "no-profiles") ? json_array() : json_null();
	size_t position = 0;
	for (const char *name; (name = options_next(options, "profile", &position));) {
		if (!json_is_array(profiles))
			profiles = json_array();
		json_array_append_new(profiles, json_string(name));
	}
	json_object_set_new(wish->body, "profiles", profiles);
}

static int set_limits(struct wish *wish, struct error *e)
{
	const struct options *options = &wish->context->options;
	const char *value = options_text(options, "cpus");
	if (value)
		set_string(wish->config, "limits.cpu", value);
	value = options_text(options, "memory");
	if (value)
		set_string(wish->config, "limits.memory", value);
	int r = pairs_of_option(wish->context, "config", wish->config, e);
	value = options_text(options, "network");
	if (value)
		set_network(wish, value);
	value = options_text(options, "storage");
	const char *pool = options_text(options, "pool");
	if (r == 0 && (value || pool))
		r = set_storage(wish, value, pool, e);
	value = options_text(options, "bandwidth");
	if (r == 0 && value)
		r = set_bandwidth(wish, value, e);
	size_t position = 0;
	while (r == 0 && (value = options_next(options, "device", &position)))
		r = set_device(wish, value, e);
	return r;
}

/* What stands behind "--": the command of an application container, in a shell's quotes. */
static void set_command(struct wish *wish)
{
	const struct options *options = &wish->context->options;
	if (options->count_before_dashes >= options->argument_count)
		return;
	cleanup(text_done) struct text command = {};
	for (unsigned i = options->count_before_dashes; i < options->argument_count; i++) {
		text_add(&command, command.length ? " '" : "'");
		for (const char *c = options->arguments[i]; *c; c++) {
			if (*c == '\'')
				text_add(&command, "'\\'");
			text_add_char(&command, *c);
		}
		text_add_char(&command, '\'');
	}
	set_string(wish->config, "oci.entrypoint", command.data);
}

/* Builds the body of POST /1.0/instances. */
static int make_body(struct context *context, bool is_started, json_t **ret, struct error *e)
{
	const struct options *options = &context->options;
	unsigned count = options->argument_count < options->count_before_dashes
		? options->argument_count
		: options->count_before_dashes;
	bool is_empty = options_flag(options, "empty");
	if (count > (is_empty ? 1 : 2) || (count == 0 && !is_empty))
		return error_set(e, -EINVAL, "berth %s needs: %s", options->path,
			is_empty ? "--empty [NAME]" : options->verb->arguments);
	cleanup(wish_done) struct wish wish = { .context = context, .body = json_object() };
	const char *name = count > (is_empty ? 0 : 1) ? options->arguments[count - 1] : NULL;
	const char *type = options_text(options, "type");
	const char *description = options_text(options, "description");
	wish.config = json_object();
	json_object_set_new(wish.body, "config", wish.config);
	wish.devices = json_object();
	json_object_set_new(wish.body, "devices", wish.devices);
	set_string(wish.body, "name", name ? name : "");
	if (type)
		set_string(wish.body, "type", type);
	if (options_text(options, "class"))
		set_string(wish.body, "instance_type", options_text(options, "class"));
	if (description)
		set_string(wish.body, "description", description);
	json_object_set_new(
		wish.body, "ephemeral", json_boolean(options_flag(options, "ephemeral")));
	json_object_set_new(wish.body, "start", json_boolean(is_started));
	set_profiles(&wish);
	int r = 0;
	if (is_empty)
		json_object_set_new(wish.body, "source", json_pack("{s:s}", "type", "none"));
	else
		r = set_source(&wish, options->arguments[0], e);
	if (r == 0)
		r = set_limits(&wish, e);
	if (r < 0)
		return r;
	if (!json_object_get(wish.body, "type"))
		set_string(wish.body, "type", "container");
	set_command(&wish);
	*ret = TAKE_PTR(wish.body);
	return 0;
}

/* "/1.0/instances/c1?project=p" to "c1". */
static void add_created(struct text *text, const json_t *operation)
{
	json_t *urls = object_at(operation, "resources/instances");
	const char *url = json_string_value(json_array_get(urls, 0));
	const char *slash = url ? strrchr(url, '/') : NULL;
	if (slash)
		text_add_n(text, slash + 1, strcspn(slash + 1, "?"));
}

static int make_instance(struct context *context, bool is_started, struct error *e)
{
	cleanup(json_decref) json_t *body = NULL;
	int r = make_body(context, is_started, &body, e);
	if (r < 0)
		return r;
	cleanup(text_done) struct text name = {};
	text_add(&name, object_text(body, "name"));
	cleanup(free) char *what = alloc_printf("%s%s%s", is_started ? "launch" : "create",
		name.length ? " " : "", text_str(&name));
	cleanup(json_decref) json_t *operation = NULL;
	r = context_change(
		context, "POST", "/1.0/instances", json_incref(body), NULL, what, &operation, e);
	if (r < 0)
		return r;
	if (!name.length) {
		add_created(&name, operation);
		text_add_char(&name, '\n');
		return output_write(&name, e);
	}
	context_note(context, "%s is %s", text_str(&name), is_started ? "running" : "created");
	return 0;
}

int launch_run(struct context *context, struct error *e)
{
	return make_instance(context, true, e);
}

int create_run(struct context *context, struct error *e)
{
	return make_instance(context, false, e);
}

int plan_run(struct context *context, struct error *e)
{
	cleanup(json_decref) json_t *body = NULL;
	int r = make_body(context, true, &body, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *plan = NULL;
	r = context_change(
		context, "POST", "/1.0/berth/plan", json_incref(body), NULL, "plan", &plan, e);
	if (r < 0)
		return r;
	cleanup(text_done) struct text text = {};
	char *dump = json_dumps(plan, JSON_INDENT(2));
	text_printf(&text, "%s\n", dump ? dump : "null");
	free(dump);
	return output_write(&text, e);
}
