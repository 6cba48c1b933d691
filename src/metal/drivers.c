/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drivers.c - the list of drivers for BMCs.
 */
#include "metal/drivers.h"

#include <errno.h>

#include "base/text.h"
#include "metal/ipmi.h"
#include "metal/redfish.h"

static const struct bmc_driver *const drivers[] = { &redfish_driver, &ipmi_driver };

int drivers_find(const char *name, const struct bmc_driver **ret, struct error *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++) {
		if (!text_equal(drivers[i]->name, name))
			continue;
		*ret = drivers[i];
		return 0;
	}
	return error_set(e, -EINVAL, "driver: \"%.40s\" is none of redfish, ipmi", name);
}
