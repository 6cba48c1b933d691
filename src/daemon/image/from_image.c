/* SPDX-License-Identifier: Apache-2.0 */
/*
 * from_image.c - what an instance takes from the image that it is made of, or made anew of.
 */
#include "daemon/image/from_image.h"

#include <errno.h>

#include "base/text.h"
#include "daemon/image/images.h"
#include "model/json.h"

void image_config_default(json_t *config, const json_t *more, const char *prefix)
{
	json_t *all = json_mutable(more);
	for (void *at = json_object_iter(all); at; at = json_object_iter_next(all, at)) {
		cleanup(free) char *key = alloc_printf("%s%s", prefix, json_object_iter_key(at));
		if (!json_object_get(config, key))
			json_object_set(config, key, json_object_iter_value(at));
	}
}

int image_of_source(struct service *service, const char *project, const json_t *source,
	const struct kind *kind, json_t **ret, struct error *e)
{
	const char *server = json_text(source, "server");
	const char *name = json_text(source, "fingerprint");
	json_t *image = NULL;
	if (server && server[0])
		return error_set(e, -EINVAL,
			"source.server: images come from this daemon; import or copy the image first");
	if (!name || !name[0])
		name = json_text(source, "alias");
	if (!name || !name[0])
		return error_set(e, -EINVAL, "source: needs a fingerprint or an alias of an image");
	int r = images_find(service->images, project, name, &image, e);
	if (r < 0)
		return r;
	const char *type = json_text(image, "type") ?: "container";
	/* A microVM's root is a container's image, or what was published of one. */
	if (!text_equal(type, kind->image) && !text_equal(type, kind->name))
		return error_set(e, -EINVAL, "type: the image is of type %s, not of type %s", type,
			kind->name);
	*ret = image;
	return 0;
}

void image_apply(
	struct service *service, const json_t *image, json_t *object, struct image_parts *ret)
{
	json_t *config = json_object_get(object, "config");
	*ret = (struct image_parts){ .layers = json_object_get(image, "layers"),
		.disk = images_disk_path(service->images, image),
		.disk_bytes = (uint64_t)json_integer_value(json_object_get(image, "disk_bytes")),
		.fingerprint = json_text(image, "fingerprint") };
	image_config_default(config, json_object_get(image, "properties"), "image.");
	image_config_default(config, json_object_get(image, "config"), "");
	json_set_text(config, "volatile.base_image", ret->fingerprint);
	json_set_text(config, "volatile.apply_template", "create");
	if (json_object_get(image, "templates"))
		json_object_set(object, "templates", json_object_get(image, "templates"));
	if (json_text(image, "architecture"))
		json_set_text(object, "architecture", json_text(image, "architecture"));
}

void image_unapply(struct service *service, const char *project, json_t *object)
{
	json_t *config = json_object_get(object, "config"), *image = NULL;
	const char *base = json_text(config, "volatile.base_image"), *key;
	const json_t *brought = NULL;
	json_t *value;
	void *next;
	if (base && images_find(service->images, project, base, &image, NULL) == 0)
		brought = json_object_get(image, "config");
	json_object_foreach_safe(config, next, key, value)
	{
		/* What the program is belongs to its image, whoever wrote it. */
		if (text_starts(key, "image.") || text_starts(key, "oci.") ||
			json_equal(json_object_get(brought, key), value))
			json_object_del(config, key);
	}
	json_object_del(config, "volatile.base_image");
	json_object_del(object, "templates");
}
