/* SPDX-License-Identifier: Apache-2.0 */
/*
 * route.c - what an instance may ask.
 */
#include "guest/route.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "http/uri.h"
#include "model/json.h"

#define CONFIG "/1.0/config/"
#define IMAGES "/1.0/images/"

static const struct {
	const char *path;
	enum route_what what;
	enum guest_question question;
	const char *text;
} routes[] = {
	{ "/", ROUTE_TEXT, 0, "[\"/1.0\"]\n" },
	{ "/1.0", ROUTE_ASK, GUEST_GET_SERVER, NULL },
	{ "/1.0/config", ROUTE_ASK, GUEST_GET_KEYS, NULL },
	{ "/1.0/meta-data", ROUTE_ASK, GUEST_GET_META_DATA, NULL },
	{ "/1.0/devices", ROUTE_ASK, GUEST_GET_DEVICES, NULL },
	{ "/1.0/events", ROUTE_EVENTS, 0, NULL },
};

static int read_types(const char *types, uint32_t *ret, struct error *e)
{
	*ret = 0;
	if (!types || !*types)
		types = "config,device";
	while (*types) {
		size_t length = strcspn(types, ",");
		if (length == strlen("config") && memcmp(types, "config", length) == 0)
			*ret |= GUEST_EVENT_CONFIG;
		else if (length == strlen("device") && memcmp(types, "device", length) == 0)
			*ret |= GUEST_EVENT_DEVICE;
		else
			return error_set(e, -EINVAL, "type: config and device are told of");
		types += length;
		types += *types == ',';
	}
	return 0;
}

/* What else of the config there is is not the instance's business. */
static int read_key(const char *encoded, struct route_result *ret, struct error *e)
{
	cleanup(free) char *key = NULL;
	if (uri_decode(encoded, strlen(encoded), &key) < 0 || strlen(key) >= GUEST_KEY_MAX)
		return error_set(e, -EINVAL, "the key can't be read");
	if (!text_starts(key, "user.") && !text_starts(key, "cloud-init."))
		return error_set(e, -EACCES, "not authorized");
	ret->what = ROUTE_ASK;
	ret->message.question = GUEST_GET_KEY;
	memcpy(ret->message.key, key, strlen(key) + 1);
	return 0;
}

int route_find(const char *method, const char *path, const char *types, struct route_result *ret,
	struct error *e)
{
	*ret = (struct route_result){ .message = { .version = GUEST_VERSION, .type = GUEST_ASK } };
	if (text_equal(method, "PATCH") && text_equal(path, "/1.0")) {
		ret->what = ROUTE_STATE;
		ret->message.question = GUEST_SET_STATE;
		return 0;
	}
	if (!text_equal(method, "GET"))
		return error_set(e, -EOPNOTSUPP, "an instance may only read");
	if (text_starts(path, CONFIG))
		return read_key(path + strlen(CONFIG), ret, e);
	if (text_starts(path, IMAGES))
		return error_set(e, -EACCES, "images are not given to instances");
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		if (!text_equal(routes[i].path, path))
			continue;
		ret->what = routes[i].what;
		ret->text = routes[i].text;
		ret->message.question = (uint16_t)routes[i].question;
		return ret->what == ROUTE_EVENTS ? read_types(types, &ret->message.value, e) : 0;
	}
	return error_set(e, -ENOENT, "not found");
}

int route_state(const char *body, size_t length, uint32_t *ret, struct error *e)
{
	cleanup(json_decref) json_t *object = NULL;
	const char *state = NULL;
	int r = json_parse(body, length, &object, e);
	if (r == 0)
		r = json_require_text(object, "", "state", &state, e);
	if (r < 0)
		return r;
	if (!text_equal(state, "Ready") && !text_equal(state, "Started"))
		return error_set(e, -EINVAL, "state: is Ready or Started");
	*ret = text_equal(state, "Ready");
	return 0;
}
