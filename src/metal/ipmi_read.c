/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipmi_read.c - sensors and the event log: many commands make one answer.
 *
 * What sensors there are is read once, in pieces that every BMC can return; their values each time.
 */
#include "metal/ipmi_read.h"

#include <errno.h>
#include <string.h>

#include "metal/ipmi_session.h"
#include "model/json.h"

#define SENSOR  0x04
#define STORAGE 0x0a
#define GROUP   0x2c

#define GET_READING  0x2d
#define RESERVE      0x22
#define GET_RECORD   0x23
#define GET_EVENT    0x43
#define GET_WATTS    0x02
#define GROUP_DCMI   0xdc
#define RECORD_LAST  0xffff
#define RECORDS_MAX  2048
#define EVENTS_READ  2048
#define EVENTS_KEPT  100
#define HEADER_BYTES 5
#define PIECE_BYTES  16
#define OWNER_BMC    0x20

static void json_end(struct ipmi *ipmi, int code, const struct error *e)
{
	cleanup(json_decref) json_t *result = TAKE_PTR(ipmi->result);
	ipmi->done.json(ipmi->data, code, code < 0 ? NULL : result, e);
}

static void watts_came(struct ipmi *ipmi, const struct ipmi_answer *answer)
{
	uint32_t watts;
	if (answer->completion != 0)
		ipmi->has_no_watts = true;
	else if (ipmi_read_watts(answer->data, answer->length, &watts) == 0)
		json_object_set_new(ipmi->result, "watts", json_integer((json_int_t)watts));
	ipmi_end(ipmi, 0, NULL);
}

static void read_next(struct ipmi *ipmi);

static void reading_came(struct ipmi *ipmi, const struct ipmi_answer *answer)
{
	const struct ipmi_sensor *sensor = &ipmi->sensors[ipmi->index++];
	const char *status;
	uint8_t reading;
	if (answer->completion == 0 &&
		ipmi_read_reading(answer->data, answer->length, &reading, &status) == 0)
		json_array_append_new(json_object_get(ipmi->result, "sensors"),
			json_pack("{s:s, s:f, s:s, s:s}", "name", sensor->name, "value",
				ipmi_sensor_value(sensor, reading), "unit",
				ipmi_sensor_unit(sensor), "status", status));
	read_next(ipmi);
}

static void read_next(struct ipmi *ipmi)
{
	static const uint8_t now[] = { GROUP_DCMI, 1, 0, 0 };
	while (ipmi->index < ipmi->sensor_count && ipmi->sensors[ipmi->index].owner != OWNER_BMC)
		ipmi->index++;
	if (ipmi->index < ipmi->sensor_count)
		ipmi_send(ipmi, SENSOR, GET_READING, &ipmi->sensors[ipmi->index].number, 1,
			reading_came);
	else if (!ipmi->has_no_watts)
		ipmi_send(ipmi, GROUP, GET_WATTS, now, sizeof(now), watts_came);
	else
		ipmi_end(ipmi, 0, NULL);
}

static void read_begin(struct ipmi *ipmi)
{
	json_decref(ipmi->result);
	ipmi->result = json_pack("{s:[]}", "sensors");
	ipmi->index = 0;
	read_next(ipmi);
}

static void record_begin(struct ipmi *ipmi);

static void record_end(struct ipmi *ipmi)
{
	if (ipmi->sensor_count < IPMI_SENSORS_MAX &&
		ipmi_read_sensor(ipmi->bytes, ipmi->length, &ipmi->sensors[ipmi->sensor_count]) ==
			0)
		ipmi->sensor_count++;
	if (ipmi->record == RECORD_LAST || ++ipmi->records >= RECORDS_MAX)
		read_begin(ipmi);
	else
		record_begin(ipmi);
}

static void piece_send(struct ipmi *ipmi);

static void piece_came(struct ipmi *ipmi, const struct ipmi_answer *answer)
{
	bool is_first = ipmi->length == 0;
	if (answer->completion != 0 || answer->length < 3) {
		/* No sensors, or no more of them: what is there will do. */
		read_begin(ipmi);
		return;
	}
	size_t count = answer->length - 2;
	if (count > ipmi->wanted - ipmi->length)
		count = ipmi->wanted - ipmi->length;
	memcpy(ipmi->bytes + ipmi->length, answer->data + 2, count);
	ipmi->length += count;
	if (is_first && ipmi->length < HEADER_BYTES) {
		read_begin(ipmi);
		return;
	}
	if (is_first) {
		ipmi->wanted = HEADER_BYTES + (size_t)ipmi->bytes[4];
		if (ipmi->wanted > sizeof(ipmi->bytes))
			ipmi->wanted = sizeof(ipmi->bytes);
	}
	if (ipmi->length < ipmi->wanted) {
		piece_send(ipmi);
		return;
	}
	uint16_t next = (uint16_t)(answer->data[0] | answer->data[1] << 8);
	/* A list that names itself has no end. */
	ipmi->record = next == ipmi->record ? RECORD_LAST : next;
	record_end(ipmi);
}

static void piece_send(struct ipmi *ipmi)
{
	size_t left = ipmi->wanted - ipmi->length;
	const uint8_t request[] = { ipmi->reservation[0], ipmi->reservation[1],
		(uint8_t)ipmi->record, (uint8_t)(ipmi->record >> 8), (uint8_t)ipmi->length,
		(uint8_t)(left > PIECE_BYTES ? PIECE_BYTES : left) };
	ipmi_send(ipmi, STORAGE, GET_RECORD, request, sizeof(request), piece_came);
}

static void record_begin(struct ipmi *ipmi)
{
	ipmi->length = 0;
	ipmi->wanted = HEADER_BYTES;
	piece_send(ipmi);
}

static void reserved(struct ipmi *ipmi, const struct ipmi_answer *answer)
{
	if (answer->completion != 0 || answer->length < 2) {
		read_begin(ipmi);
		return;
	}
	memcpy(ipmi->reservation, answer->data, 2);
	ipmi->record = 0;
	ipmi->records = 0;
	record_begin(ipmi);
}

static void sensors_begin(struct ipmi *ipmi)
{
	if (ipmi->sensors) {
		read_begin(ipmi);
		return;
	}
	ipmi->sensors = alloc_array(IPMI_SENSORS_MAX, struct ipmi_sensor);
	ipmi->sensor_count = 0;
	ipmi_send(ipmi, STORAGE, RESERVE, NULL, 0, reserved);
}

void ipmi_sensors(struct bmc *bmc, bmc_json_done *done, void *data)
{
	struct ipmi *ipmi = container_of(bmc, struct ipmi, bmc);
	ipmi->done.json = done;
	ipmi_begin(ipmi, sensors_begin, json_end, data);
}

static void event_send(struct ipmi *ipmi);

static void event_came(struct ipmi *ipmi, const struct ipmi_answer *answer)
{
	json_t *events = json_object_get(ipmi->result, "events"), *event;
	uint16_t next;
	if (answer->completion == 0xcb) { /* it is empty */
		ipmi_end(ipmi, 0, NULL);
		return;
	}
	if (answer->completion != 0) {
		ipmi_end_refused(ipmi, "event log", answer);
		return;
	}
	if (ipmi_read_event(answer->data, answer->length, &next, &event) < 0) {
		ipmi_end_broken(ipmi, "event log");
		return;
	}
	json_array_append_new(events, event);
	if (json_array_size(events) > EVENTS_KEPT)
		json_array_remove(events, 0);
	if (next == RECORD_LAST || next == ipmi->record || ++ipmi->records >= EVENTS_READ) {
		ipmi_end(ipmi, 0, NULL);
		return;
	}
	ipmi->record = next;
	event_send(ipmi);
}

static void event_send(struct ipmi *ipmi)
{
	const uint8_t request[] = { 0, 0, (uint8_t)ipmi->record, (uint8_t)(ipmi->record >> 8), 0,
		0xff };
	ipmi_send(ipmi, STORAGE, GET_EVENT, request, sizeof(request), event_came);
}

static void events_begin(struct ipmi *ipmi)
{
	json_decref(ipmi->result);
	ipmi->result = json_pack("{s:[]}", "events");
	ipmi->record = 0;
	ipmi->records = 0;
	event_send(ipmi);
}

void ipmi_events(struct bmc *bmc, bmc_json_done *done, void *data)
{
	struct ipmi *ipmi = container_of(bmc, struct ipmi, bmc);
	ipmi->done.json = done;
	ipmi_begin(ipmi, events_begin, json_end, data);
}
