/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_ipmi.c - any bytes as what a BMC answers, by each of the readers.
 */
#include <errno.h>
#include <string.h>

#include "metal/ipmi_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ipmi_sensor sensor;
	struct ipmi_identity identity;
	struct bmc_boot boot;
	enum bmc_power power;
	const char *status;
	json_t *event = NULL;
	uint32_t watts;
	uint16_t next;
	uint8_t reading;
	bool is_valid;
	/* Exactly as long as it is, so that a look beyond its end is seen. */
	cleanup(free) uint8_t *copy = alloc_array(size ?: 1, uint8_t);
	memcpy(copy, data, size);
	if (ipmi_read_sensor(copy, size, &sensor) == 0) {
		assert(memchr(sensor.name, 0, sizeof(sensor.name)));
		(void)ipmi_sensor_value(&sensor, 0xff);
		(void)ipmi_sensor_unit(&sensor);
	}
	if (ipmi_read_event(copy, size, &next, &event) == 0)
		json_decref(event);
	if (ipmi_read_boot(copy, size, &boot, &is_valid) == 0)
		assert(boot.device < BMC_BOOT_DEVICES);
	(void)!ipmi_read_power(copy, size, &power);
	(void)!ipmi_read_identity(copy, size, &identity);
	(void)!ipmi_read_reading(copy, size, &reading, &status);
	(void)!ipmi_read_watts(copy, size, &watts);
	return 0;
}
