/* SPDX-License-Identifier: Apache-2.0 */
/*
 * network.c - networks, their leases and forwarded ports.
 */
#include <errno.h>
#include <string.h>

#include "cli/cells.h"
#include "cli/context.h"
#include "cli/noun.h"
#include "cli/object.h"
#include "cli/verbs.h"

static const struct option create_options[] = {
	{ "type", 't', "TYPE", "bridge, unless another is asked for" },
	{ "description", '\0', "TEXT", "say what it is for" },
	{},
};
static const struct option table_options[] = { OPTION_FORMAT, OPTION_COLUMNS, {} };

static int create(struct context *context, struct error *e)
{
	const char *type = options_text(&context->options, "type");
	const char *description = options_text(&context->options, "description");
	cleanup(json_decref) json_t *config = json_object();
	int r = pairs_of_arguments(context, 1, config, e);
	if (r < 0)
		return r;
	json_t *body = json_pack("{s:s, s:s, s:s, s:O}", "name", context_argument(context, 0),
		"type", type ? type : "bridge", "description", description ? description : "",
		"config", config);
	return context_change(context, "POST", "/1.0/networks", body, NULL, "create", NULL, e);
}

static int list(struct context *context, struct error *e)
{
	static const struct column columns[] = {
		{ "name", "NAME", "name" },
		{ "type", "TYPE", "type" },
		{ "managed", "MANAGED", "managed", CELL_YES },
		{ "ipv4", "IPV4", "config/ipv4.address" },
		{ "ipv6", "IPV6", "config/ipv6.address" },
		{ "used", "USED BY", "used_by", CELL_COUNT },
		{ "state", "STATE", "status" },
		{ "description", "DESCRIPTION", "description", .is_extra = true },
		{},
	};
	return cells_list(context, columns, "/1.0/networks?recursion=1", e);
}

static int info(struct context *context, struct error *e)
{
	cleanup(free) char *path =
		path_format("/1.0/networks/%s/state", context_argument(context, 0));
	return object_show(context, path, e);
}

static int leases(struct context *context, struct error *e)
{
	static const struct column columns[] = {
		{ "name", "NAME", "hostname" },
		{ "mac", "MAC", "hwaddr" },
		{ "address", "ADDRESS", "address" },
		{ "type", "TYPE", "type" },
		{},
	};
	cleanup(free) char *path =
		path_format("/1.0/networks/%s/leases", context_argument(context, 0));
	return cells_list(context, columns, path, e);
}

static int forward_list(struct context *context, struct error *e)
{
	static const struct column columns[] = {
		{ "address", "ADDRESS", "listen_address" },
		{ "description", "DESCRIPTION", "description" },
		{ "target", "TARGET", "config/target_address" },
		{ "ports", "PORTS", "ports", CELL_COUNT },
		{},
	};
	cleanup(free) char *path =
		path_format("/1.0/networks/%s/forwards?recursion=1", context_argument(context, 0));
	return cells_list(context, columns, path, e);
}

static int forward_create(struct context *context, struct error *e)
{
	cleanup(json_decref) json_t *config = json_object();
	int r = pairs_of_arguments(context, 2, config, e);
	if (r < 0)
		return r;
	cleanup(free) char *path =
		path_format("/1.0/networks/%s/forwards", context_argument(context, 0));
	json_t *body = json_pack("{s:s, s:O, s:[]}", "listen_address", context_argument(context, 1),
		"config", config, "ports");
	return context_change(context, "POST", path, body, NULL, "create", NULL, e);
}

/* NETWORK ADDRESS PROTOCOL PORTS TARGET [TARGET-PORTS] */
static int add_ports(json_t *object, void *data, struct error *e)
{
	(void)e;
	struct context *context = data;
	json_t *ports = json_object_get(object, "ports");
	if (!json_is_array(ports)) {
		ports = json_array();
		json_object_set_new(object, "ports", ports);
	}
	const char *target = context_argument(context, 5);
	json_array_append_new(ports,
		json_pack("{s:s, s:s, s:s, s:s}", "protocol", context_argument(context, 2),
			"listen_port", context_argument(context, 3), "target_address",
			context_argument(context, 4), "target_port", target ? target : ""));
	return 0;
}

static int remove_ports(json_t *object, void *data, struct error *e)
{
	struct context *context = data;
	json_t *ports = json_object_get(object, "ports");
	size_t before = json_array_size(ports);
	for (size_t i = before; i > 0; i--) {
		const json_t *port = json_array_get(ports, i - 1);
		if (text_equal(object_text(port, "protocol"), context_argument(context, 2)) &&
			text_equal(object_text(port, "listen_port"), context_argument(context, 3)))
			json_array_remove(ports, i - 1);
	}
	if (json_array_size(ports) == before)
		return error_set(e, -ENOENT, "%s %s is not forwarded", context_argument(context, 2),
			context_argument(context, 3));
	return 0;
}

static int forward_add(struct context *context, struct error *e)
{
	unsigned count;
	cleanup(free) char *path = noun_path(context, &count);
	return object_change(context, path, "add port", add_ports, context, e);
}

static int forward_remove(struct context *context, struct error *e)
{
	unsigned count;
	cleanup(free) char *path = noun_path(context, &count);
	return object_change(context, path, "remove port", remove_ports, context, e);
}

static const struct verb forward_verbs[] = {
	{ "create", "NETWORK ADDRESS [KEY=VALUE...]", "listen at an address of the host",
		.run = forward_create, .min = 2, .max = ARGUMENTS_ANY, .words = WORDS_NETWORK },
	{ "list", "NETWORK", "list the addresses that are forwarded", .run = forward_list,
		.options = table_options, .min = 1, .max = 1, .words = WORDS_NETWORK },
	{ "add", "NETWORK ADDRESS PROTOCOL PORTS TARGET [TARGET-PORTS]",
		"forward ports to an instance", .run = forward_add, .min = 5, .max = 6,
		.words = WORDS_NETWORK },
	{ "remove", "NETWORK ADDRESS PROTOCOL PORTS", "forward ports no more",
		.run = forward_remove, .min = 4, .max = 4, .words = WORDS_NETWORK },
	NOUN_VERBS("a forward", "NETWORK ADDRESS", 2, WORDS_NETWORK),
	{},
};

const struct verb network_verbs[] = {
	{ "create", "NETWORK [KEY=VALUE...]", "make a network", .run = create,
		.options = create_options, .min = 1, .max = ARGUMENTS_ANY },
	{ "list", "", "list the networks", .run = list, .options = table_options },
	{ "info", "NETWORK", "show the state and counters of a network", .run = info,
		.options = noun_show_options, .min = 1, .max = 1, .words = WORDS_NETWORK },
	{ "leases", "NETWORK", "list the addresses that are given out", .run = leases,
		.options = table_options, .min = 1, .max = 1, .words = WORDS_NETWORK },
	NOUN_VERBS("a network", "NETWORK", 1, WORDS_NETWORK),
	{ "rename", "NETWORK NAME", "give a network another name", .run = noun_rename, .min = 2,
		.max = 2, .words = WORDS_NETWORK },
	{ "forward", NULL, "Forward ports of the host to instances", .verbs = forward_verbs },
	{},
};
