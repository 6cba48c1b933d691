/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipmi.c - the driver's single commands: power, boot flags, who it is.
 */
#include "metal/ipmi.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "metal/ipmi_console.h"
#include "metal/ipmi_read.h"
#include "metal/ipmi_session.h"
#include "metal/ipmi_suite.h"
#include "metal/quirk.h"
#include "model/json.h"

#define CHASSIS 0x00
#define APP     0x06

#define CHASSIS_STATUS  0x01
#define CHASSIS_CONTROL 0x02
#define SET_BOOT        0x08
#define GET_BOOT        0x09
#define GET_DEVICE_ID   0x01
#define GET_GUID        0x37

#define USER_MAX     16
#define PASSWORD_MAX 20

static const uint8_t controls[] = {
	[BMC_OFF] = 0, [BMC_ON] = 1, [BMC_CYCLE] = 2, [BMC_RESET] = 3, [BMC_SOFT] = 5
};
static_assert(ARRAY_SIZE(controls) == BMC_ACTIONS, "an action has no code");

static struct ipmi *ipmi_of(struct bmc *bmc)
{
	return container_of(bmc, struct ipmi, bmc);
}

static int ipmi_open(const struct bmc_options *options, struct bmc **ret, struct error *e)
{
	struct in6_addr ignored;
	if (inet_pton(AF_INET, options->address, &ignored) != 1 &&
		inet_pton(AF_INET6, options->address, &ignored) != 1)
		return error_set(
			e, -EINVAL, "address: \"%.80s\" is no IP address", options->address);
	if (strlen(options->user) > USER_MAX)
		return error_set(e, -EINVAL, "user: IPMI has at most %d characters", USER_MAX);
	if (strlen(options->password) > PASSWORD_MAX)
		return error_set(
			e, -EINVAL, "password: IPMI has at most %d characters", PASSWORD_MAX);
	if (options->cipher && options->cipher != IPMI_SUITE_SHA1 &&
		options->cipher != IPMI_SUITE_SHA256)
		return error_set(e, -EINVAL, "cipher: %u is none of %d, %d", options->cipher,
			IPMI_SUITE_SHA256, IPMI_SUITE_SHA1);
	struct ipmi *ipmi = alloc(struct ipmi);
	*ipmi = (struct ipmi){
		.bmc = { .driver = &ipmi_driver },
		.loop = options->loop,
		.address = alloc_text(options->address),
		.port = alloc_printf("%u", options->port ? options->port : 623u),
		.user = alloc_text(options->user),
		.password = alloc_text(options->password),
		.cipher = options->cipher,
		.suite = options->cipher ?: IPMI_SUITE_SHA256,
		.up = ipmi_console_up,
		.down = ipmi_console_down,
	};
	ipmi->silence = loop_add_timer(options->loop, ipmi_suite_is_late, ipmi);
	*ret = &ipmi->bmc;
	return 0;
}

static void ipmi_close(struct bmc *bmc)
{
	struct ipmi *ipmi = ipmi_of(bmc);
	ipmi->is_console_wanted = false;
	ipmi_cancel(bmc);
	source_free(ipmi->silence);
	explicit_bzero(ipmi->password, strlen(ipmi->password));
	free(ipmi->address);
	free(ipmi->port);
	free(ipmi->user);
	free(ipmi->password);
	free(ipmi->sensors);
	json_decref(ipmi->result);
	free(ipmi);
}

static void state_end(struct ipmi *ipmi, int code, const struct error *e)
{
	ipmi->done.state(ipmi->data, code, code < 0 ? NULL : &ipmi->state, e);
}

static void boot_came(struct ipmi *ipmi, const struct ipmi_answer *answer)
{
	/* One that keeps no boot flags has a power state all the same. */
	if (answer->completion != 0 ||
		ipmi_read_boot(answer->data, answer->length, &ipmi->state.boot,
			&ipmi->state.is_boot_valid) < 0)
		ipmi->state.is_boot_valid = false;
	ipmi_end(ipmi, 0, NULL);
}

static void status_came(struct ipmi *ipmi, const struct ipmi_answer *answer)
{
	static const uint8_t flags[] = { 5, 0, 0 };
	if (answer->completion != 0)
		ipmi_end_refused(ipmi, "chassis status", answer);
	else if (ipmi_read_power(answer->data, answer->length, &ipmi->state.power) < 0)
		ipmi_end_broken(ipmi, "chassis status");
	else
		ipmi_send(ipmi, CHASSIS, GET_BOOT, flags, sizeof(flags), boot_came);
}

static void state_begin(struct ipmi *ipmi)
{
	ipmi_send(ipmi, CHASSIS, CHASSIS_STATUS, NULL, 0, status_came);
}

static void ipmi_state(struct bmc *bmc, bmc_state_done *done, void *data)
{
	struct ipmi *ipmi = ipmi_of(bmc);
	ipmi->done.state = done;
	ipmi->state = (struct bmc_state){};
	ipmi_begin(ipmi, state_begin, state_end, data);
}

static void plain_end(struct ipmi *ipmi, int code, const struct error *e)
{
	ipmi->done.plain(ipmi->data, code, e);
}

static void controlled(struct ipmi *ipmi, const struct ipmi_answer *answer)
{
	if (answer->completion != 0)
		ipmi_end_refused(ipmi, "chassis control", answer);
	else
		ipmi_end(ipmi, 0, NULL);
}

static void power_begin(struct ipmi *ipmi)
{
	const uint8_t control = controls[ipmi->action];
	ipmi_send(ipmi, CHASSIS, CHASSIS_CONTROL, &control, 1, controlled);
}

static void ipmi_power(struct bmc *bmc, enum bmc_action action, bmc_done *done, void *data)
{
	struct ipmi *ipmi = ipmi_of(bmc);
	ipmi->done.plain = done;
	ipmi->action = action;
	ipmi_begin(ipmi, power_begin, plain_end, data);
}

static void boot_set(struct ipmi *ipmi, const struct ipmi_answer *answer)
{
	if (answer->completion != 0)
		ipmi_end_refused(ipmi, "boot flags", answer);
	else
		ipmi_end(ipmi, 0, NULL);
}

static void boot_timed(struct ipmi *ipmi, const struct ipmi_answer *answer)
{
	/* Where it can't be told to keep the flags longer than a minute they are kept a minute. */
	(void)answer;
	ipmi_send(ipmi, CHASSIS, SET_BOOT, ipmi->request, sizeof(ipmi->request), boot_set);
}

static void boot_begin(struct ipmi *ipmi)
{
	/* Parameter 3: do not drop the flags when no command follows within 60 s. */
	static const uint8_t keep[] = { 3, 0x08 };
	ipmi_send(ipmi, CHASSIS, SET_BOOT, keep, sizeof(keep), boot_timed);
}

static void ipmi_boot(struct bmc *bmc, const struct bmc_boot *boot, bmc_done *done, void *data)
{
	struct ipmi *ipmi = ipmi_of(bmc);
	ipmi->done.plain = done;
	ipmi_write_boot(boot, ipmi->request);
	ipmi_begin(ipmi, boot_begin, plain_end, data);
}

static void json_end(struct ipmi *ipmi, int code, const struct error *e)
{
	cleanup(json_decref) json_t *result = TAKE_PTR(ipmi->result);
	ipmi->done.json(ipmi->data, code, code < 0 ? NULL : result, e);
}

/* 16 bytes, the least significant first, as a UUID is written. */
static void guid_came(struct ipmi *ipmi, const struct ipmi_answer *answer)
{
	static const uint8_t order[] = { 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0 };
	char uuid[40] = "";
	if (answer->completion == 0 && answer->length >= sizeof(order)) {
		size_t at = 0;
		for (size_t i = 0; i < sizeof(order); i++)
			at += (size_t)snprintf(uuid + at, sizeof(uuid) - at, "%s%02x",
				i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
				answer->data[order[i]]);
		json_set_text(ipmi->result, "uuid", uuid);
	}
	ipmi_end(ipmi, 0, NULL);
}

static void identity_came(struct ipmi *ipmi, const struct ipmi_answer *answer)
{
	struct ipmi_identity identity;
	if (answer->completion != 0) {
		ipmi_end_refused(ipmi, "device id", answer);
		return;
	}
	if (ipmi_read_identity(answer->data, answer->length, &identity) < 0) {
		ipmi_end_broken(ipmi, "device id");
		return;
	}
	char manufacturer[32], product[16], firmware[16], version[16];
	snprintf(manufacturer, sizeof(manufacturer), "IANA %u", identity.manufacturer);
	snprintf(product, sizeof(product), "%u", identity.product);
	snprintf(firmware, sizeof(firmware), "%u.%02x", identity.firmware_major,
		identity.firmware_minor);
	snprintf(version, sizeof(version), "%u.%u", identity.ipmi_major, identity.ipmi_minor);
	ipmi->bmc.quirks = quirk_find(manufacturer, product);
	json_decref(ipmi->result);
	ipmi->result = json_pack("{s:s, s:s, s:s, s:s, s:i}", "manufacturer", manufacturer,
		"product", product, "firmware", firmware, "ipmi", version, "cipher_suite",
		(int)ipmi->suite);
	ipmi_send(ipmi, APP, GET_GUID, NULL, 0, guid_came);
}

static void identity_begin(struct ipmi *ipmi)
{
	ipmi_send(ipmi, APP, GET_DEVICE_ID, NULL, 0, identity_came);
}

static void ipmi_identity(struct bmc *bmc, bmc_json_done *done, void *data)
{
	struct ipmi *ipmi = ipmi_of(bmc);
	ipmi->done.json = done;
	ipmi_begin(ipmi, identity_begin, json_end, data);
}

static void ipmi_media(struct bmc *bmc, const char *url, bmc_done *done, void *data)
{
	struct error e = {};
	(void)bmc;
	(void)url;
	error_set(&e, -EOPNOTSUPP, "IPMI has no virtual media");
	done(data, -EOPNOTSUPP, &e);
}

const struct bmc_driver ipmi_driver = {
	.name = "ipmi",
	.can = BMC_CAN_CONSOLE,
	.open = ipmi_open,
	.close = ipmi_close,
	.cancel = ipmi_cancel,
	.state = ipmi_state,
	.power = ipmi_power,
	.boot = ipmi_boot,
	.identity = ipmi_identity,
	.sensors = ipmi_sensors,
	.events = ipmi_events,
	.media = ipmi_media,
	.console_open = ipmi_console_open,
	.console_write = ipmi_console_write,
	.console_close = ipmi_console_close,
};
