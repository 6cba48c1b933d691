/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redfish_media.c - a disc into the virtual drive, and out of it.
 *
 * Where the drive stands has moved: newer services have it at the system, older ones at its manager; both are looked at.
 * A disc that is in it already goes out first. What was written is read back until the BMC says that it is so: some fetch
 * the disc before they do.
 */
#include <errno.h>

#include "base/text.h"
#include "metal/quirk.h"
#include "metal/redfish_session.h"
#include "model/json.h"

#define LOOK_NS (250 * NS_PER_MS)

static void next_drive(struct redfish *redfish);

static void media_end(struct redfish *redfish, int code, const struct error *e)
{
	redfish->done.plain(redfish->data, code, e);
}

static void unsupported(struct redfish *redfish, const char *why)
{
	struct error e = {};
	error_set(&e, -EOPNOTSUPP, "%s", why);
	redfish_end(redfish, -EOPNOTSUPP, &e);
}

static bool takes_discs(const json_t *drive)
{
	const json_t *types = json_object_get(drive, "MediaTypes");
	for (size_t i = 0; i < json_array_size(types); i++) {
		const char *type = json_string_value(json_array_get(types, i));
		if (text_equal(type, "CD") || text_equal(type, "DVD"))
			return true;
	}
	return json_array_size(types) == 0;
}

/* An image may be named long after it was taken out: what counts is whether it is in. */
static bool has_disc(const struct redfish *redfish, const json_t *drive)
{
	const json_t *inserted = json_object_get(drive, "Inserted");
	const char *image = json_text(drive, "Image");
	if (json_is_boolean(inserted))
		return json_is_true(inserted);
	return image && image[0] && (redfish->url || !(redfish->bmc.quirks & QUIRK_STALE_MEDIA));
}

static const char *target_of(const json_t *drive, const char *action)
{
	return json_text(json_object_get(json_object_get(drive, "Actions"), action), "target");
}

static void look(struct redfish *redfish, json_t *drive)
{
	if (has_disc(redfish, drive) == (redfish->url != NULL))
		redfish_end(redfish, 0, NULL);
	else
		timer_set_after(redfish->again, LOOK_NS);
}

void redfish_look_again(void *data)
{
	struct redfish *redfish = data;
	redfish_get(redfish, redfish->drive, look);
}

static void is_written(struct redfish *redfish, json_t *json)
{
	(void)json;
	redfish_look_again(redfish);
}

static void insert(struct redfish *redfish, json_t *drive)
{
	cleanup(free) char *path = alloc_text(target_of(drive, "#VirtualMedia.InsertMedia"));
	redfish_send(redfish, "POST", path,
		json_pack("{s:s, s:b, s:b}", "Image", redfish->url, "Inserted", 1, "WriteProtected",
			1),
		is_written);
}

static void is_ejected(struct redfish *redfish, json_t *json)
{
	(void)json;
	redfish_get(redfish, redfish->drive, insert);
}

static void drive_came(struct redfish *redfish, json_t *drive)
{
	cleanup(free) char *eject = alloc_text(target_of(drive, "#VirtualMedia.EjectMedia"));
	if (!takes_discs(drive) || !eject || !target_of(drive, "#VirtualMedia.InsertMedia")) {
		next_drive(redfish);
		return;
	}
	free(redfish->drive);
	redfish->drive = alloc_text(redfish->path);
	if (has_disc(redfish, drive))
		redfish_send(redfish, "POST", eject, json_object(),
			redfish->url ? is_ejected : is_written);
	else if (redfish->url)
		insert(redfish, drive);
	else
		redfish_end(redfish, 0, NULL);
}

static void drives_came(struct redfish *redfish, json_t *json)
{
	json_decref(redfish->list);
	redfish->list = json_deep_copy(json_object_get(json, "Members"));
	redfish->index = 0;
	next_drive(redfish);
}

static void at_manager(struct redfish *redfish, json_t *json)
{
	cleanup(free) char *path = alloc_text(redfish_link(json, "VirtualMedia"));
	if (path)
		redfish_get(redfish, path, drives_came);
	else
		unsupported(redfish, "the BMC has no virtual media");
}

static void look_at_manager(struct redfish *redfish)
{
	redfish->is_at_manager = true;
	if (redfish->manager)
		redfish_get(redfish, redfish->manager, at_manager);
	else
		unsupported(redfish, "the BMC has no virtual media");
}

static void next_drive(struct redfish *redfish)
{
	const json_t *member = json_array_get(redfish->list, redfish->index++);
	cleanup(free) char *path = alloc_text(json_text(member, "@odata.id"));
	if (path)
		redfish_get(redfish, path, drive_came);
	else if (!redfish->is_at_manager)
		look_at_manager(redfish);
	else
		unsupported(redfish, "the BMC has no virtual CD");
}

static void at_system(struct redfish *redfish, json_t *json)
{
	cleanup(free) char *path = alloc_text(redfish_link(json, "VirtualMedia"));
	if (path)
		redfish_get(redfish, path, drives_came);
	else
		look_at_manager(redfish);
}

static void media_begin(struct redfish *redfish)
{
	redfish->is_at_manager = false;
	redfish_get(redfish, redfish->system, at_system);
}

void redfish_media(struct bmc *bmc, const char *url, bmc_done *done, void *data)
{
	struct redfish *redfish = container_of(bmc, struct redfish, bmc);
	redfish->done.plain = done;
	free(redfish->url);
	redfish->url = alloc_text(url);
	redfish_begin(redfish, media_begin, media_end, data);
}
