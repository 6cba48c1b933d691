/* SPDX-License-Identifier: Apache-2.0 */
/*
 * network_none.c - a daemon without networks: every card is refused. network.c takes its place.
 */
#include <errno.h>

#include "daemon/network.h"

int network_card_check(struct service *service, const struct network_card *card, struct error *e)
{
	(void)service;
	return error_set(
		e, -EINVAL, "devices.%s.network: this daemon has no networks", card->nic->device);
}

int network_card_lease(struct service *service, const struct network_card *card,
	struct network_lease *ret, struct error *e)
{
	(void)ret;
	return network_card_check(service, card, e);
}

void network_card_release(
	struct service *service, const char *project, const char *instance, const char *device)
{
	(void)service;
	(void)project;
	(void)instance;
	(void)device;
}

void network_card_rename(
	struct service *service, const char *project, const char *instance, const char *new_name)
{
	(void)service;
	(void)project;
	(void)instance;
	(void)new_name;
}

int network_card_attach(struct service *service, const struct network_card *card, struct error *e)
{
	return network_card_check(service, card, e);
}

json_t *network_card_plan(const struct network_lease *lease, const struct nic_device *nic)
{
	(void)lease;
	(void)nic;
	return json_object();
}

int network_card_update(struct service *service, const struct network_card *card, struct error *e)
{
	return network_card_check(service, card, e);
}

void network_card_detach(struct service *service, const char *project, const char *instance,
	const char *device, bool is_running)
{
	(void)is_running;
	network_card_release(service, project, instance, device);
}
