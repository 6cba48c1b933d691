/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quirk.c - the table of quirks, by the beginning of what a BMC says of itself.
 */
#include "metal/quirk.h"

#include <string.h>
#include <strings.h>

#include "base/text.h"

/* IPMI says a manufacturer's number ("IANA 674"), Redfish its name. NULL: any product. */
static const struct {
	const char *manufacturer, *product;
	uint32_t quirks;
} table[] = {
	{ "IANA 4753", NULL, QUIRK_BOOT_FLAG_INVALID }, /* ipmi_sim of OpenIPMI 2.0 */
	{ "Sushy Emulator", NULL, QUIRK_ONCE_CONTINUOUS },
	{ "IANA 10876", NULL, QUIRK_SLOW_POWER },
	{ "Supermicro", NULL,
		QUIRK_BOOT_MODE_ALWAYS | QUIRK_ONCE_CONTINUOUS | QUIRK_STALE_MEDIA |
			QUIRK_ONCE_IGNORED },
	{ "IANA 674", NULL, QUIRK_SLOW_POWER },
	{ "Dell", NULL, QUIRK_SLOW_POWER },
	{ "IANA 19046", NULL, QUIRK_SLOW_POWER },
	{ "Lenovo", NULL, QUIRK_SLOW_POWER | QUIRK_ETAG_REFUSED },
	{ "HPE", NULL, QUIRK_SLOW_POWER },
	{ "Berth", "Responder", 0 },
};

static const char *const names[] = { "boot-flag-invalid", "boot-mode-always", "once-continuous",
	"slow-power", "stale-media", "etag-refused", "once-ignored" };

/* A number is compared whole. */
static bool begins(const char *text, const char *start)
{
	if (!start)
		return true;
	if (!text)
		return false;
	return text_starts(start, "IANA ") ? text_equal(text, start)
					   : strncasecmp(text, start, strlen(start)) == 0;
}

uint32_t quirk_find(const char *manufacturer, const char *product)
{
	uint32_t quirks = 0;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (begins(manufacturer, table[i].manufacturer) &&
			begins(product, table[i].product))
			quirks |= table[i].quirks;
	return quirks;
}

char *quirk_names(uint32_t quirks)
{
	struct text text = {};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (quirks & (1u << i))
			text_printf(&text, "%s%s", text.length ? " " : "", names[i]);
	return text_take(&text);
}
