/* SPDX-License-Identifier: Apache-2.0 */
#include "metal/ipmi_record.h"

#include <errno.h>

#include "model/json.h"
#include "test.h"

static void reads_power(void)
{
	enum bmc_power power = BMC_POWER_UNKNOWN;
	expect_equal(ipmi_read_power((const uint8_t[]){ 0x21, 0, 0 }, 3, &power), 0);
	expect_equal(power, BMC_POWER_ON);
	expect_equal(ipmi_read_power((const uint8_t[]){ 0x60, 0, 0 }, 3, &power), 0);
	expect_equal(power, BMC_POWER_OFF);
	expect_equal(ipmi_read_power((const uint8_t[]){ 1, 0 }, 2, &power), -EBADMSG);
}

static void boot_flags_go_both_ways(void)
{
	for (size_t i = 0; i < BMC_BOOT_DEVICES; i++) {
		struct bmc_boot boot = { (enum bmc_device)i, i % 2, i > 2 }, back = {};
		uint8_t request[IPMI_BOOT_BYTES];
		bool is_valid = false;
		ipmi_write_boot(&boot, request);
		const uint8_t answer[] = { 1, 5, request[1], request[2], 0, 0, 0 };
		expect_equal(ipmi_read_boot(answer, sizeof(answer), &back, &is_valid), 0);
		expect(is_valid && back.device == boot.device);
		expect(back.is_persistent == boot.is_persistent && back.is_uefi == boot.is_uefi);
	}
	struct bmc_boot boot;
	bool is_valid;
	const uint8_t other[] = { 1, 3, 0, 0, 0, 0, 0 };
	expect_equal(ipmi_read_boot(other, sizeof(other), &boot, &is_valid), -EBADMSG);
}

static void reads_who_it_is(void)
{
	const uint8_t data[] = { 0x23, 9, 9, 0x15, 2, 0x9f, 0x91, 0x12, 0, 0x02, 0x0f };
	struct ipmi_identity identity;
	expect_equal(ipmi_read_identity(data, sizeof(data), &identity), 0);
	expect_equal(identity.manufacturer, 4753);
	expect_equal(identity.product, 0xf02);
	expect_equal(identity.firmware_minor, 0x15);
	expect_equal(ipmi_read_identity(data, 10, &identity), -EBADMSG);
}

static void reads_a_sensor(void)
{
	uint8_t record[53] = { 1, 0, 0x51, 1, 48, 0x20, 0, 7 };
	record[13] = 1;
	record[20] = 0x80; /* two's complement */
	record[21] = 1;
	record[24] = 5;    /* M */
	record[26] = 0xf6; /* B: -10 */
	record[27] = 0xc0;
	record[29] = 0xf0; /* a tenth of it */
	record[47] = 0xc5;
	memcpy(record + 48, "CPU 1", 5);
	struct ipmi_sensor sensor;
	expect_equal(ipmi_read_sensor(record, sizeof(record), &sensor), 0);
	expect_text(sensor.name, "CPU 1");
	expect_text(ipmi_sensor_unit(&sensor), "C");
	expect_equal(ipmi_sensor_value(&sensor, 100), 49);
	expect_equal(ipmi_sensor_value(&sensor, 0xfe), -2);
	record[23] = 7; /* not a straight line */
	expect_equal(ipmi_read_sensor(record, sizeof(record), &sensor), -ENOENT);
	record[3] = 2;
	expect_equal(ipmi_read_sensor(record, sizeof(record), &sensor), -ENOENT);
}

static void says_when_a_sensor_is_not_read(void)
{
	uint8_t reading;
	const char *status = NULL;
	expect_equal(
		ipmi_read_reading((const uint8_t[]){ 40, 0x40, 0xc0 }, 3, &reading, &status), 0);
	expect_text(status, "ok");
	expect_equal(
		ipmi_read_reading((const uint8_t[]){ 90, 0x40, 0xd8 }, 3, &reading, &status), 0);
	expect_text(status, "critical");
	expect_equal(
		ipmi_read_reading((const uint8_t[]){ 40, 0x60 }, 2, &reading, &status), -ENODATA);
}

static void reads_an_event(void)
{
	const uint8_t data[] = { 0xff, 0xff, 1, 0, 2, 0, 0xf1, 0x53, 0x65, 0x20, 0, 4, 1, 0x30,
		0x81, 0x59, 0x60, 0x61 };
	uint16_t next;
	json_t *event = NULL;
	expect_equal(ipmi_read_event(data, sizeof(data), &next, &event), 0);
	expect_equal(next, 0xffff);
	expect_equal(json_integer_value(json_object_get(event, "sensor")), 0x30);
	expect_contains(json_text(event, "time"), "2023-11-1");
	expect_contains(json_text(event, "text"), "end of event 01");
	json_decref(event);
	expect_equal(ipmi_read_event(data, 17, &next, &event), -EBADMSG);
}

static void reads_watts(void)
{
	uint8_t data[18] = { 0xdc, 0x2c, 0x01 };
	uint32_t watts = 0;
	expect_equal(ipmi_read_watts(data, sizeof(data), &watts), -ENODATA);
	data[17] = 0x40;
	expect_equal(ipmi_read_watts(data, sizeof(data), &watts), 0);
	expect_equal(watts, 300);
}

static const struct test tests[] = {
	{ "the power state is read", reads_power },
	{ "boot flags read back as they were written", boot_flags_go_both_ways },
	{ "a BMC says who made it", reads_who_it_is },
	{ "a sensor's reading becomes a value with a unit", reads_a_sensor },
	{ "a reading that is not there is not invented", says_when_a_sensor_is_not_read },
	{ "an event of the log has its time", reads_an_event },
	{ "the power draw is read when it is measured", reads_watts },
};

TEST_MAIN(tests)
