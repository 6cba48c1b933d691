/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics.c - what BMCs told last, as OpenMetrics.
 */
#include "daemon/server/metrics.h"

#include "base/text.h"
#include "daemon/metrics.h"
#include "daemon/server/bmc.h"
#include "daemon/server/power.h"
#include "model/json.h"

struct families {
	struct text power, watts, sensors, states, events;
};

static void add_sensors(struct families *families, const struct server *server, const json_t *told)
{
	const json_t *sensors = json_object_get(told, "sensors");
	for (size_t i = 0; i < json_array_size(sensors); i++) {
		const json_t *sensor = json_array_get(sensors, i);
		const char *const labels[] = { "server", server->name, "sensor",
			json_text(sensor, "name") ?: "", "unit", json_text(sensor, "unit") ?: "",
			NULL };
		metrics_value(&families->sensors, "berth_server_sensor",
			json_number_value(json_object_get(sensor, "value")), labels);
	}
}

static void add_one(struct families *families, const struct server *server)
{
	const json_t *told = server_bmc_told(server);
	const json_t *watts = json_object_get(told, "watts");
	const char *const name[] = { "server", server->name, NULL };
	const char *const state[] = { "server", server->name, "state",
		server_state_name(server->state), NULL };
	int power = server->work ? server_power(server) : -1;
	metrics_value(&families->states, "berth_server_failed", server_has_failed(server), state);
	if (power >= 0)
		metrics_value(&families->power, "berth_server_power", power, name);
	if (json_is_number(watts))
		metrics_value(&families->watts, "berth_server_power_watts",
			json_number_value(watts), name);
	if (json_is_integer(json_object_get(told, "events")))
		metrics_value(&families->events, "berth_server_events",
			json_number_value(json_object_get(told, "events")), name);
	add_sensors(families, server, told);
}

/* Servers belong to no project: who asks for one gets none. */
static void collect(struct service *service, const char *project, struct text *text)
{
	struct families families = {};
	if (project)
		return;
	metrics_family(&families.states, "berth_server_failed", "gauge",
		"Whether a server has failed in its state.");
	metrics_family(&families.power, "berth_server_power", "gauge", "Whether a server is on.");
	metrics_family(
		&families.watts, "berth_server_power_watts", "gauge", "What a server draws.");
	metrics_family(&families.sensors, "berth_server_sensor", "gauge", "A sensor of a server.");
	metrics_family(&families.events, "berth_server_events", "gauge",
		"Entries of a server's event log that can be read.");
	for (const struct server *at = service->servers->first; at; at = at->next)
		add_one(&families, at);
	text_add(text, text_str(&families.states));
	text_add(text, text_str(&families.power));
	text_add(text, text_str(&families.watts));
	text_add(text, text_str(&families.sensors));
	text_add(text, text_str(&families.events));
	text_done(&families.states);
	text_done(&families.power);
	text_done(&families.watts);
	text_done(&families.sensors);
	text_done(&families.events);
}

void server_metrics_start(struct service *service)
{
	metrics_add(service, collect);
}
