/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vlan.c - the list of switch drivers, and the port of a server.
 */
#include "daemon/server/vlan.h"

#include <errno.h>

#include "base/text.h"
#include "daemon/server/switch_openvswitch.h"
#include "model/json.h"

static const struct switch_driver *const drivers[] = { &switch_openvswitch };

static int find(const char *name, const struct switch_driver **ret, struct error *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++) {
		if (!text_equal(drivers[i]->name, name))
			continue;
		*ret = drivers[i];
		return 0;
	}
	return error_set(e, -EINVAL, "\"%.40s\" is none of openvswitch", name);
}

int server_switch_check(const json_t *config, struct error *e)
{
	const char *name = json_text(config, "switch.driver");
	const char *port = json_text(config, "switch.port");
	const struct switch_driver *driver = NULL;
	if (!name && !port)
		return 0;
	if (!name)
		return error_set(e, -EINVAL, "config.switch.driver: is missing");
	if (!port)
		return error_set(e, -EINVAL, "config.switch.port: is missing");
	int r = find(name, &driver, e);
	if (r < 0)
		return error_prefix(e, r, "config.switch.driver");
	r = driver->check(port, e);
	return r < 0 ? error_prefix(e, r, "config.switch.port") : 0;
}

void server_switch_set(struct server *server, uint32_t vlan, switch_done *done, void *data)
{
	const json_t *config = json_object_get(server->object, "config");
	const char *name = json_text(config, "switch.driver");
	const struct switch_driver *driver = NULL;
	struct error e = {};
	if (!name) {
		done(data, 0, &e);
		return;
	}
	int r = find(name, &driver, &e);
	if (r == 0)
		r = driver->set(
			server->service, json_text(config, "switch.port"), vlan, done, data, &e);
	if (r < 0)
		done(data, r, &e);
}
