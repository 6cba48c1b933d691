/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_metal.c - what only an instance on a server of its own can: another image on it, and rescue.
 */
#include <errno.h>

#include "daemon/api.h"
#include "daemon/collections.h"
#include "daemon/images.h"
#include "daemon/server_instance.h"
#include "daemon/task.h"
#include "model/json.h"

static int of_request(
	struct service *service, struct request *request, struct instance **ret, struct error *e)
{
	int r = instance_get(
		service, request_project(request), request_param(request, "name"), ret, e);
	if (r == 0 && !((*ret)->kind->can & KIND_IS_SERVER))
		r = error_set(e, -EOPNOTSUPP, "A %s has no server of its own", (*ret)->kind->name);
	return r;
}

static int reply_task(struct request *request, struct task *task, int r,
	const struct instance *instance, const char *description)
{
	return task_reply(task, r, request,
		&(struct operation_options){ .description = description,
			.project = instance ? instance->project : NULL,
			.resources = instance ? instance_resources(instance) : NULL });
}

/* {"source": {"type": "image", "alias" or "fingerprint"}} */
static int post_rebuild(struct service *service, struct request *request, struct error *e)
{
	struct instance *instance = NULL;
	json_t *source = NULL, *image = NULL;
	int r = of_request(service, request, &instance, e);
	if (r == 0)
		r = json_read_object(request_json(request), "", "source", &source, e);
	if (r < 0)
		return r;
	const char *name = json_text(source, "fingerprint") ?: json_text(source, "alias");
	if (!name || !name[0])
		return error_set(e, -EINVAL, "source: needs a fingerprint or an alias of an image");
	r = images_find(service->images, instance->project, name, &image, e);
	if (r < 0)
		return r;
	cleanup(free) char *disk = images_disk_path(service->images, image);
	if (!disk)
		return error_set(e, -EINVAL, "source: the image is of type %s, not of a disk",
			json_text(image, "type"));
	struct task *task = task_new(service);
	r = server_instance_rebuild(
		instance, disk, json_text(image, "fingerprint"), task_done, task, e);
	return reply_task(request, task, r, instance, "Rebuilding instance");
}

/* {"end": false} */
static int post_rescue(struct service *service, struct request *request, struct error *e)
{
	struct instance *instance = NULL;
	bool is_end = false;
	int r = of_request(service, request, &instance, e);
	if (r == 0)
		r = json_read_bool(request_json(request), "", "end", &is_end, e);
	if (r < 0)
		return r;
	struct task *task = task_new(service);
	r = is_end ? server_instance_unrescue(instance, task_done, task, e)
		   : server_instance_rescue(instance, task_done, task, e);
	return reply_task(
		request, task, r, instance, is_end ? "Ending the rescue" : "Rescuing instance");
}

const struct route metal_routes[] = {
	{ "POST", "/1.0/instances/{name}/rebuild", REQUEST_JSON, post_rebuild, 0 },
	{ "POST", "/1.0/instances/{name}/rescue", REQUEST_JSON, post_rescue, 0 },
	{},
};
