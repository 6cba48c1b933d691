/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quirk.h - what BMCs of some vendors do otherwise than the standards say.
 */
#pragma once

#include "base/base.h"

#define QUIRK_BOOT_FLAG_INVALID 0x01u /* IPMI: the valid bit of what is set stays clear */
#define QUIRK_BOOT_MODE_ALWAYS  0x02u /* Redfish: a boot override without its mode is dropped */
#define QUIRK_ONCE_CONTINUOUS   0x04u /* Redfish: "Once" reads back as "Continuous" */
#define QUIRK_SLOW_POWER        0x08u /* a minute and more until the power follows */
#define QUIRK_STALE_MEDIA       0x10u /* Redfish: an image is named after it was ejected */
#define QUIRK_ONCE_IGNORED      0x40u /* Redfish: a boot override for once is taken, and not honoured */
#define QUIRK_ETAG_REFUSED      0x20u /* Redfish: If-Match is answered with 412 whatever it says */

/* `manufacturer` and `product` as identity() has them; either may be NULL. */
uint32_t quirk_find(const char *manufacturer, const char *product);
/* Which ones, for people: "boot-flag-invalid slow-power"; the caller owns it. */
char *quirk_names(uint32_t quirks) must_use;
