/* SPDX-License-Identifier: Apache-2.0 */
/*
 * leave.c - what is left of cards that were detached: interfaces on their way out.
 */
#include "daemon/network/leave.h"

#include <errno.h>

#include "base/log.h"
#include "daemon/service.h"

#define LOOK_AFTER_NS   NS_PER_SEC
#define DELETE_AFTER_NS (3 * NS_PER_SEC)

struct leaving {
	struct leaving *next;
	struct firewall_port port; /* still in force */
	char link[LINK_NAME_SIZE];
	uint64_t since_ns;
};

/* True if the interface is gone, or is by now. */
static bool is_gone(struct networks *networks, const struct leaving *leaving, bool is_final)
{
	uint32_t index;
	if (!networks->route)
		return true;
	if (link_index(networks->route, leaving->link, &index, NULL) == -ENODEV)
		return true;
	if (!is_final && loop_now() - leaving->since_ns < DELETE_AFTER_NS)
		return false;
	(void)!link_delete(networks->route, leaving->link, NULL);
	return true;
}

static void clear(struct networks *networks, bool is_final)
{
	struct error e = {};
	bool is_any_gone = false;
	for (struct leaving **at = &networks->leaving; *at;) {
		struct leaving *leaving = *at;
		if (!is_gone(networks, leaving, is_final)) {
			at = &leaving->next;
			continue;
		}
		if (firewall_delete_port(networks->firewall, &leaving->port, &e) < 0)
			log_warning("%s", e.text);
		*at = leaving->next;
		free(leaving);
		is_any_gone = true;
	}
	if (is_any_gone && networks->has_shaper && networks->route &&
		shape_sweep(networks->route, networks->shaper, &e) < 0)
		log_warning("%s", e.text);
}

static void look(void *data)
{
	struct networks *networks = data;
	clear(networks, false);
	if (networks->leaving)
		timer_set_after(networks->look, LOOK_AFTER_NS);
}

void leaving_start(struct networks *networks)
{
	networks->look = loop_add_timer(networks->service->loop, look, networks);
}

void leaving_stop(struct networks *networks)
{
	clear(networks, true);
	source_free(TAKE_PTR(networks->look));
}

void leaving_add(struct networks *networks, const struct card *card)
{
	struct leaving *leaving = alloc(struct leaving);
	leaving->port = card->port;
	snprintf(leaving->link, sizeof(leaving->link), "%s", card->host_name);
	leaving->port.link = leaving->link;
	leaving->since_ns = loop_now();
	leaving->next = networks->leaving;
	if (!networks->leaving)
		timer_set_after(networks->look, LOOK_AFTER_NS);
	networks->leaving = leaving;
}
