/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipmi_record.h - what IPMI's answers and records say (IPMI 2.0); pure.
 *
 * `data` is what stands behind the completion code. Everything a BMC sends may be cut short or wrong.
 */
#pragma once

#include "metal/bmc.h"

#define IPMI_NAME_MAX 17

/* Chassis: Get Chassis Status. -EBADMSG if it is too short; so the next ones. */
int ipmi_read_power(const uint8_t *data, size_t length, enum bmc_power *ret) must_use;

/* Get and Set System Boot Options, parameter 5 (boot flags). */
int ipmi_read_boot(
	const uint8_t *data, size_t length, struct bmc_boot *ret, bool *ret_valid) must_use;
#define IPMI_BOOT_BYTES 6
void ipmi_write_boot(const struct bmc_boot *boot, uint8_t data[IPMI_BOOT_BYTES]);

/* Get Device ID. */
struct ipmi_identity {
	uint32_t manufacturer; /* the IANA's number */
	uint16_t product;
	uint8_t firmware_major, firmware_minor; /* the minor is BCD */
	uint8_t ipmi_major, ipmi_minor;
};
int ipmi_read_identity(const uint8_t *data, size_t length, struct ipmi_identity *ret) must_use;

/* A full sensor record: what a reading of the sensor means. */
struct ipmi_sensor {
	uint8_t owner, number, lun;
	uint8_t unit; /* of the table of units */
	uint8_t format;
	bool is_percent;
	int16_t m, b;
	int8_t b_exponent, result_exponent;
	char name[IPMI_NAME_MAX];
};
/* `record` begins with its header. -ENOENT if it is no sensor with a linear analog reading. */
int ipmi_read_sensor(const uint8_t *record, size_t length, struct ipmi_sensor *ret) must_use;
double ipmi_sensor_value(const struct ipmi_sensor *sensor, uint8_t reading);
const char *ipmi_sensor_unit(const struct ipmi_sensor *sensor);

/* Get Sensor Reading. -ENODATA if the sensor is not read just now. */
int ipmi_read_reading(
	const uint8_t *data, size_t length, uint8_t *ret, const char **ret_status) must_use;

/* Get SEL Entry: {"id", "time", "sensor", "text"}; and the id of the next. */
int ipmi_read_event(const uint8_t *data, size_t length, uint16_t *ret_next, json_t **ret) must_use;

/* Get Power Reading (DCMI): watts now. */
int ipmi_read_watts(const uint8_t *data, size_t length, uint32_t *ret) must_use;

/* What a completion code means. */
const char *ipmi_completion_text(uint8_t code);
int ipmi_completion_errno(uint8_t code);
