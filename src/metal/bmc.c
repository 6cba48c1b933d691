/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bmc.c - the words for what a BMC knows.
 */
#include "metal/bmc.h"

#include <errno.h>

#include "base/text.h"

static const char *const powers[] = { "unknown", "off", "on" };
static_assert(ARRAY_SIZE(powers) == BMC_POWERS, "a power state has no name");

static const char *const actions[] = { "on", "off", "soft", "cycle", "reset" };
static_assert(ARRAY_SIZE(actions) == BMC_ACTIONS, "an action has no name");

static const char *const devices[] = { "none", "network", "disk", "cdrom", "setup" };
static_assert(ARRAY_SIZE(devices) == BMC_BOOT_DEVICES, "a device has no name");

const char *bmc_power_name(enum bmc_power power)
{
	return powers[power];
}

const char *bmc_device_name(enum bmc_device device)
{
	return devices[device];
}

const char *bmc_action_name(enum bmc_action action)
{
	return actions[action];
}

int bmc_device_read(const char *name, enum bmc_device *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(devices); i++) {
		if (!text_equal(devices[i], name))
			continue;
		*ret = (enum bmc_device)i;
		return 0;
	}
	return -EINVAL;
}

int bmc_action_read(const char *name, enum bmc_action *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(actions); i++) {
		if (!text_equal(actions[i], name))
			continue;
		*ret = (enum bmc_action)i;
		return 0;
	}
	return -EINVAL;
}
