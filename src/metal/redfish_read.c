/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redfish_read.c - who the system is, what its sensors say, its event log.
 */
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "metal/quirk.h"
#include "metal/redfish_session.h"
#include "model/json.h"

static void json_end(struct redfish *redfish, int code, const struct error *e)
{
	cleanup(json_decref) json_t *result = TAKE_PTR(redfish->result);
	redfish->done.json(redfish->data, code, code < 0 ? NULL : result, e);
}

static void begin_result(struct redfish *redfish, json_t *result)
{
	json_decref(redfish->result);
	redfish->result = result;
}

/* What is there will do. */
static void enough(struct redfish *redfish, int code, const struct error *e)
{
	(void)code;
	(void)e;
	redfish_end(redfish, 0, NULL);
}

static void copy_text(
	struct redfish *redfish, const char *as, const json_t *json, const char *field)
{
	const char *text = json_text(json, field);
	if (text && text[0])
		json_set_text(redfish->result, as, text);
}

static void manager_came(struct redfish *redfish, json_t *json)
{
	copy_text(redfish, "firmware", json, "FirmwareVersion");
	redfish_end(redfish, 0, NULL);
}

static void system_came(struct redfish *redfish, json_t *json)
{
	static const char *const names[][2] = { { "manufacturer", "Manufacturer" },
		{ "product", "Model" }, { "serial", "SerialNumber" }, { "uuid", "UUID" },
		{ "bios", "BiosVersion" } };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		copy_text(redfish, names[i][0], json, names[i][1]);
	if (!redfish->manager) {
		redfish_end(redfish, 0, NULL);
		return;
	}
	redfish_if_failed(redfish, enough);
	redfish_get(redfish, redfish->manager, manager_came);
}

static void identity_begin(struct redfish *redfish)
{
	begin_result(redfish, json_object());
	redfish_get(redfish, redfish->system, system_came);
}

void redfish_identity(struct bmc *bmc, bmc_json_done *done, void *data)
{
	struct redfish *redfish = container_of(bmc, struct redfish, bmc);
	redfish->done.json = done;
	redfish_begin(redfish, identity_begin, json_end, data);
}

static void add_sensors(struct redfish *redfish, const json_t *list, const char *value_field,
	const char *name_field, const char *unit)
{
	json_t *sensors = json_object_get(redfish->result, "sensors");
	for (size_t i = 0; i < json_array_size(list) && json_array_size(sensors) < 256; i++) {
		const json_t *item = json_array_get(list, i);
		const json_t *value = json_object_get(item, value_field);
		const char *name = json_text(item, name_field) ?: json_text(item, "Name");
		const char *health = json_text(json_object_get(item, "Status"), "Health");
		const char *own_unit = json_text(item, "ReadingUnits");
		if (!json_is_number(value) || !name)
			continue;
		json_array_append_new(sensors,
			json_pack("{s:s, s:f, s:s, s:s}", "name", name, "value",
				json_number_value(value), "unit",
				text_equal(own_unit, "Percent") ? "%" : own_unit ?: unit, "status",
				text_equal(health, "Critical")		? "critical"
					: text_equal(health, "Warning") ? "warning"
									: "ok"));
	}
}

static void power_came(struct redfish *redfish, json_t *json)
{
	const json_t *control = json_array_get(json_object_get(json, "PowerControl"), 0);
	const json_t *watts = json_object_get(control, "PowerConsumedWatts");
	if (json_is_number(watts))
		json_object_set_new(redfish->result, "watts",
			json_integer((json_int_t)json_number_value(watts)));
	add_sensors(redfish, json_object_get(json, "Voltages"), "ReadingVolts", "Name", "V");
	redfish_end(redfish, 0, NULL);
}

static void ask_power(struct redfish *redfish)
{
	if (!redfish->url) {
		redfish_end(redfish, 0, NULL);
		return;
	}
	redfish_if_failed(redfish, enough);
	redfish_get(redfish, redfish->url, power_came);
}

static void thermal_came(struct redfish *redfish, json_t *json)
{
	add_sensors(redfish, json_object_get(json, "Temperatures"), "ReadingCelsius", "Name", "C");
	add_sensors(redfish, json_object_get(json, "Fans"), "Reading", "FanName", "RPM");
	ask_power(redfish);
}

static void thermal_failed(struct redfish *redfish, int code, const struct error *e)
{
	(void)code;
	(void)e;
	ask_power(redfish);
}

static void chassis_came(struct redfish *redfish, json_t *json)
{
	cleanup(free) char *thermal = alloc_text(redfish_link(json, "Thermal"));
	free(redfish->url);
	redfish->url = alloc_text(redfish_link(json, "Power"));
	if (!thermal) {
		ask_power(redfish);
		return;
	}
	redfish_if_failed(redfish, thermal_failed);
	redfish_get(redfish, thermal, thermal_came);
}

static void sensors_begin(struct redfish *redfish)
{
	begin_result(redfish, json_pack("{s:[]}", "sensors"));
	if (!redfish->chassis) {
		redfish_end(redfish, 0, NULL);
		return;
	}
	redfish_get(redfish, redfish->chassis, chassis_came);
}

void redfish_sensors(struct bmc *bmc, bmc_json_done *done, void *data)
{
	struct redfish *redfish = container_of(bmc, struct redfish, bmc);
	redfish->done.json = done;
	redfish_begin(redfish, sensors_begin, json_end, data);
}

static void entries_came(struct redfish *redfish, json_t *json)
{
	const json_t *members = json_object_get(json, "Members");
	json_t *events = json_object_get(redfish->result, "events");
	size_t count = json_array_size(members);
	for (size_t i = count > REDFISH_EVENTS_MAX ? count - REDFISH_EVENTS_MAX : 0; i < count;
		i++) {
		const json_t *entry = json_array_get(members, i);
		json_array_append_new(events,
			json_pack("{s:s, s:s, s:s}", "id", json_text(entry, "Id") ?: "", "time",
				json_text(entry, "Created") ?: "", "text",
				json_text(entry, "Message") ?: ""));
	}
	redfish_end(redfish, 0, NULL);
}

static void service_came(struct redfish *redfish, json_t *json)
{
	cleanup(free) char *entries = alloc_text(redfish_link(json, "Entries"));
	if (entries)
		redfish_get(redfish, entries, entries_came);
	else
		redfish_end(redfish, 0, NULL);
}

/* The one for hardware events, by the names that vendors give it, else the first. */
static const char *choose_log(const json_t *members)
{
	static const char *const words[] = { "/Sel", "/SEL", "/IEL", "/Log1", "/IML" };
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		for (size_t j = 0; j < json_array_size(members); j++) {
			const char *path = json_text(json_array_get(members, j), "@odata.id");
			if (path && text_ends(path, words[i]))
				return path;
		}
	return json_text(json_array_get(members, 0), "@odata.id");
}

static void services_came(struct redfish *redfish, json_t *json)
{
	cleanup(free) char *path = alloc_text(choose_log(json_object_get(json, "Members")));
	if (path)
		redfish_get(redfish, path, service_came);
	else
		redfish_end(redfish, 0, NULL);
}

static void log_holder_came(struct redfish *redfish, json_t *json)
{
	cleanup(free) char *path = alloc_text(redfish_link(json, "LogServices"));
	struct error e = {};
	if (path) {
		redfish_get(redfish, path, services_came);
	} else if (redfish->manager && !text_equal(redfish->path, redfish->manager)) {
		redfish_get(redfish, redfish->manager, log_holder_came);
	} else {
		error_set(&e, -EOPNOTSUPP, "the BMC keeps no event log");
		redfish_end(redfish, -EOPNOTSUPP, &e);
	}
}

static void events_begin(struct redfish *redfish)
{
	begin_result(redfish, json_pack("{s:[]}", "events"));
	redfish_get(redfish, redfish->system, log_holder_came);
}

void redfish_events(struct bmc *bmc, bmc_json_done *done, void *data)
{
	struct redfish *redfish = container_of(bmc, struct redfish, bmc);
	redfish->done.json = done;
	redfish_begin(redfish, events_begin, json_end, data);
}
