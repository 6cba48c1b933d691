/* SPDX-License-Identifier: Apache-2.0 */
/*
 * templates.c - fills in templates, and says what cloud-init finds.
 *
 * cloud-init reads NoCloud's seed directory. An image whose own templates write there says what it wants; for
 * any other the files are what the config has, at every start, so that a change of it is seen: cloud-init goes by
 * the instance's id, which changes with it.
 */
#include "daemon/instance/templates.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "model/json.h"
#include "model/template.h"

#define SEED "/var/lib/cloud/seed/nocloud-net"

static json_t *context_make(
	struct instance *instance, const char *trigger, const char *path, const json_t *template)
{
	bool is_privileged = instance_config_is(instance, "security.privileged");
	json_t *self = json_pack("{s:s, s:O?, s:s, s:s, s:s}", "name", instance->name,
		"architecture", json_object_get(instance->object, "architecture"), "privileged",
		is_privileged ? "true" : "false", "ephemeral",
		instance_is_ephemeral(instance) ? "true" : "false", "type", instance->kind->name);
	json_t *properties = json_object_get(template, "properties");
	json_t *context = json_pack("{s:s, s:s, s:O, s:O, s:O, s:O?}", "trigger", trigger, "path",
		path, "config", instance->expanded_config, "devices", instance->expanded_devices,
		"container", self, "properties", properties);
	json_object_set_new(context, "instance", self);
	return context;
}

/* The trigger that makes this template due now, or NULL. */
static const char *trigger_of(const json_t *template, const char *first)
{
	const char *found = NULL;
	const json_t *when = json_object_get(template, "when");
	for (size_t i = 0; i < json_array_size(when); i++) {
		const char *word = json_string_value(json_array_get(when, i));
		if (word && first && text_equal(word, first))
			return first;
		if (text_equal(word, "start"))
			found = "start";
	}
	return found;
}

static int add_templates(
	struct instance *instance, json_t *files, bool *ret_has_seed, struct error *e)
{
	const char *first = instance_config(instance, "volatile.apply_template");
	const char *path;
	json_t *template;
	json_object_foreach(json_object_get(instance->object, "templates"), path, template)
	{
		const char *content = json_text(template, "content");
		const char *trigger = trigger_of(template, first);
		*ret_has_seed |= text_starts(path, SEED);
		if (!trigger || !content)
			continue;
		cleanup(free) char *text = NULL;
		cleanup(json_decref) json_t *context =
			context_make(instance, trigger, path, template);
		int r = template_render(content, context, &text, e);
		if (r < 0)
			return error_prefix(e, r, "template of %s", path);
		json_t *only = json_object_get(template, "create_only");
		json_array_append_new(files,
			json_pack("{s:s, s:s, s:b}", "path", path, "content", text, "create_only",
				json_is_true(only) || text_equal(json_string_value(only), "true")));
	}
	return 0;
}

static void add_file(json_t *files, const char *name, const char *content)
{
	if (content)
		json_array_append_new(files,
			json_pack("{s:o, s:s, s:i}", "path", json_sprintf(SEED "/%s", name),
				"content", content, "mode", 0600));
}

/* meta-data and user-data must both be there, or NoCloud takes the directory for none. */
static void add_seed(struct instance *instance, const struct spec *spec, json_t *files)
{
	const char *id = instance_config(instance, "volatile.cloud-init.instance-id");
	const char *more = spec->user_meta_data;
	cleanup(free) char *meta = alloc_printf("instance-id: %s\nlocal-hostname: %s\n%s",
		id ? id : instance->name, instance->name, more ? more : "");
	add_file(files, "meta-data", meta);
	add_file(files, "user-data",
		spec->cloud_user_data ? spec->cloud_user_data : "#cloud-config\n{}\n");
	add_file(files, "vendor-data", spec->cloud_vendor_data);
	add_file(files, "network-config", spec->cloud_network);
}

int templates_plan(
	struct instance *instance, const struct spec *spec, json_t **ret, struct error *e)
{
	cleanup(json_decref) json_t *files = json_array();
	bool has_seed = false;
	int r = add_templates(instance, files, &has_seed, e);
	if (r < 0)
		return r;
	if (!has_seed && !spec->entrypoint &&
		(spec->cloud_user_data || spec->cloud_vendor_data || spec->cloud_network ||
			spec->user_meta_data))
		add_seed(instance, spec, files);
	*ret = json_array_size(files) ? TAKE_PTR(files) : NULL;
	return 0;
}
