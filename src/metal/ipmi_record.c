/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipmi_record.c - IPMI's bytes as values.
 */
#include "metal/ipmi_record.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define SENSOR_FULL      0x01
#define SENSOR_NAME_AT   48
#define EVENT_BYTES      16
#define EVENT_IS_SENSORS 0x02
#define EVENTS_TIMED_MAX 0xe0

static const uint8_t boot_codes[] = { [BMC_BOOT_NONE] = 0,
	[BMC_BOOT_NETWORK] = 1,
	[BMC_BOOT_DISK] = 2,
	[BMC_BOOT_CDROM] = 5,
	[BMC_BOOT_SETUP] = 6 };
static_assert(ARRAY_SIZE(boot_codes) == BMC_BOOT_DEVICES, "a device has no code");

static const struct {
	uint8_t code;
	const char *name;
} units[] = { { 1, "C" }, { 2, "F" }, { 3, "K" }, { 4, "V" }, { 5, "A" }, { 6, "W" }, { 7, "J" },
	{ 18, "RPM" }, { 19, "Hz" } };

static uint16_t two(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] | bytes[1] << 8);
}

static uint32_t four(const uint8_t *bytes)
{
	return two(bytes) | (uint32_t)two(bytes + 2) << 16;
}

/* Two's complement of `bits` bits. */
static int16_t signed_of(uint32_t value, unsigned int bits)
{
	uint32_t sign = UINT32_C(1) << (bits - 1);
	return (int16_t)((int32_t)(value & (2 * sign - 1)) -
		(int32_t)((value & sign) ? 2 * sign : 0));
}

int ipmi_read_power(const uint8_t *data, size_t length, enum bmc_power *ret)
{
	if (length < 3)
		return -EBADMSG;
	*ret = (data[0] & 1) ? BMC_POWER_ON : BMC_POWER_OFF;
	return 0;
}

int ipmi_read_boot(const uint8_t *data, size_t length, struct bmc_boot *ret, bool *ret_valid)
{
	if (length < 7 || (data[1] & 0x7f) != 5)
		return -EBADMSG;
	uint8_t code = data[3] >> 2 & 0xf;
	*ret = (struct bmc_boot){ .is_persistent = data[2] & 0x40, .is_uefi = data[2] & 0x20 };
	for (size_t i = 0; i < ARRAY_SIZE(boot_codes); i++)
		if (boot_codes[i] == code)
			ret->device = (enum bmc_device)i;
	*ret_valid = (data[2] & 0x80) && !(data[1] & 0x80);
	return 0;
}

void ipmi_write_boot(const struct bmc_boot *boot, uint8_t data[IPMI_BOOT_BYTES])
{
	memset(data, 0, IPMI_BOOT_BYTES);
	data[0] = 5;
	data[1] = (uint8_t)(0x80 | (boot->is_persistent ? 0x40 : 0) | (boot->is_uefi ? 0x20 : 0));
	data[2] = (uint8_t)(boot_codes[boot->device] << 2);
}

int ipmi_read_identity(const uint8_t *data, size_t length, struct ipmi_identity *ret)
{
	if (length < 11)
		return -EBADMSG;
	*ret = (struct ipmi_identity){
		.manufacturer = (uint32_t)(data[6] | data[7] << 8 | (data[8] & 0xf) << 16),
		.product = two(data + 9),
		.firmware_major = data[2] & 0x7f,
		.firmware_minor = data[3],
		.ipmi_major = data[4] & 0xf,
		.ipmi_minor = data[4] >> 4,
	};
	return 0;
}

static void read_name(const uint8_t *record, size_t length, struct ipmi_sensor *sensor)
{
	size_t count = record[SENSOR_NAME_AT - 1] & 0x1f;
	if (count > length - SENSOR_NAME_AT)
		count = length - SENSOR_NAME_AT;
	if (count > IPMI_NAME_MAX - 1)
		count = IPMI_NAME_MAX - 1;
	for (size_t i = 0; i < count; i++) {
		uint8_t c = record[SENSOR_NAME_AT + i];
		sensor->name[i] = (char)(c >= 0x20 && c < 0x7f ? c : '?');
	}
	sensor->name[count] = '\0';
	if (count == 0)
		snprintf(sensor->name, sizeof(sensor->name), "sensor %u", sensor->number);
}

int ipmi_read_sensor(const uint8_t *record, size_t length, struct ipmi_sensor *ret)
{
	if (length < 5)
		return -EBADMSG;
	if (record[3] != SENSOR_FULL)
		return -ENOENT;
	if (length < SENSOR_NAME_AT)
		return -EBADMSG;
	struct ipmi_sensor sensor = {
		.owner = record[5],
		.lun = record[6] & 3,
		.number = record[7],
		.unit = record[21],
		.format = record[20] >> 6,
		.is_percent = record[20] & 1,
		.m = signed_of(record[24] | (uint32_t)(record[25] & 0xc0) << 2, 10),
		.b = signed_of(record[26] | (uint32_t)(record[27] & 0xc0) << 2, 10),
		.result_exponent = (int8_t)signed_of(record[29] >> 4, 4),
		.b_exponent = (int8_t)signed_of(record[29] & 0xf, 4),
	};
	/* Thresholds, a number, and a straight line from reading to value. */
	if (record[13] != 1 || sensor.format == 3 || (record[23] & 0x7f) != 0)
		return -ENOENT;
	read_name(record, length, &sensor);
	*ret = sensor;
	return 0;
}

static double power_of_ten(int exponent)
{
	double value = 1;
	for (int i = 0; i < (exponent < 0 ? -exponent : exponent); i++)
		value *= 10;
	return exponent < 0 ? 1 / value : value;
}

double ipmi_sensor_value(const struct ipmi_sensor *sensor, uint8_t reading)
{
	int x = reading;
	if (sensor->format == 1 && (reading & 0x80))
		x = -(int)(uint8_t)~reading;
	else if (sensor->format == 2)
		x = (int8_t)reading;
	return (sensor->m * (double)x + sensor->b * power_of_ten(sensor->b_exponent)) *
		power_of_ten(sensor->result_exponent);
}

const char *ipmi_sensor_unit(const struct ipmi_sensor *sensor)
{
	if (sensor->is_percent)
		return "%";
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (units[i].code == sensor->unit)
			return units[i].name;
	return "";
}

int ipmi_read_reading(const uint8_t *data, size_t length, uint8_t *ret, const char **ret_status)
{
	if (length < 2)
		return -EBADMSG;
	if ((data[1] & 0x20) || !(data[1] & 0x40))
		return -ENODATA;
	uint8_t crossed = length > 2 ? data[2] & 0x3f : 0;
	*ret = data[0];
	*ret_status = (crossed & 0x36) ? "critical" : crossed ? "warning" : "ok";
	return 0;
}

int ipmi_read_event(const uint8_t *data, size_t length, uint16_t *ret_next, json_t **ret)
{
	char time[TEXT_TIME_SIZE] = "", text[64];
	if (length < 2 + EVENT_BYTES)
		return -EBADMSG;
	const uint8_t *record = data + 2;
	uint8_t type = record[2];
	if (type < EVENTS_TIMED_MAX)
		text_format_time(four(record + 3) * NS_PER_SEC, time);
	if (type == EVENT_IS_SENSORS)
		snprintf(text, sizeof(text), "%s event %02x of sensor type %02x: %02x %02x %02x",
			(record[12] & 0x80) ? "end of" : "begin of", record[12] & 0x7fu, record[10],
			record[13], record[14], record[15]);
	else
		snprintf(text, sizeof(text), "record of type %02x", type);
	*ret = json_pack("{s:i, s:s, s:i, s:s}", "id", (int)two(record), "time", time, "sensor",
		type == EVENT_IS_SENSORS ? (int)record[11] : 0, "text", text);
	*ret_next = two(data);
	return 0;
}

int ipmi_read_watts(const uint8_t *data, size_t length, uint32_t *ret)
{
	/* The group's number, then now, least, most, average; active or not in the last byte. */
	if (length < 18 || data[0] != 0xdc)
		return -EBADMSG;
	if (!(data[17] & 0x40))
		return -ENODATA;
	*ret = two(data + 1);
	return 0;
}

static const struct {
	uint8_t code;
	int number;
	const char *text;
} completions[] = {
	{ 0xc0, EBUSY, "it is busy" },
	{ 0xc1, EOPNOTSUPP, "it knows no such command" },
	{ 0xc3, ETIMEDOUT, "it timed out itself" },
	{ 0xc4, ENOSPC, "it has no room left" },
	{ 0xc5, ESTALE, "the reservation was taken back" },
	{ 0xc9, EINVAL, "a parameter is out of range" },
	{ 0xca, E2BIG, "it can't return as many bytes" },
	{ 0xcb, ENOENT, "it has no such sensor or record" },
	{ 0xcc, EINVAL, "a field of the request is not valid" },
	{ 0xce, EIO, "it could not answer" },
	{ 0xd4, EACCES, "the user's privilege does not suffice" },
	{ 0xd5, EBUSY, "not in its present state" },
	{ 0xff, EIO, "an unspecified error" },
};

const char *ipmi_completion_text(uint8_t code)
{
	for (size_t i = 0; i < ARRAY_SIZE(completions); i++)
		if (completions[i].code == code)
			return completions[i].text;
	return "an error of its own";
}

int ipmi_completion_errno(uint8_t code)
{
	for (size_t i = 0; i < ARRAY_SIZE(completions); i++)
		if (completions[i].code == code)
			return -completions[i].number;
	return -EIO;
}
