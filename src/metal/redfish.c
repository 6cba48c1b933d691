/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redfish.c - the driver's questions about power and boot.
 */
#include "metal/redfish.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "metal/quirk.h"
#include "metal/redfish_session.h"
#include "model/json.h"

static const char *const targets[] = { [BMC_BOOT_NONE] = "None",
	[BMC_BOOT_NETWORK] = "Pxe",
	[BMC_BOOT_DISK] = "Hdd",
	[BMC_BOOT_CDROM] = "Cd",
	[BMC_BOOT_SETUP] = "BiosSetup" };
static_assert(ARRAY_SIZE(targets) == BMC_BOOT_DEVICES, "a device has no target");

/* The first that the BMC allows is taken. */
static const char *const resets[BMC_ACTIONS][3] = {
	[BMC_ON] = { "On", "ForceOn" },
	[BMC_OFF] = { "ForceOff" },
	[BMC_SOFT] = { "GracefulShutdown", "PushPowerButton" },
	[BMC_CYCLE] = { "PowerCycle", "ForceRestart" },
	[BMC_RESET] = { "ForceRestart", "PowerCycle" },
};

static struct redfish *redfish_of(struct bmc *bmc)
{
	return container_of(bmc, struct redfish, bmc);
}

static void plain_end(struct redfish *redfish, int code, const struct error *e)
{
	redfish->done.plain(redfish->data, code, e);
}

static void state_end(struct redfish *redfish, int code, const struct error *e)
{
	redfish->done.state(redfish->data, code, code < 0 ? NULL : &redfish->state, e);
}

static void read_state(const json_t *system, struct bmc_state *ret)
{
	const json_t *boot = json_object_get(system, "Boot");
	const char *power = json_text(system, "PowerState");
	const char *target = json_text(boot, "BootSourceOverrideTarget");
	const char *enabled = json_text(boot, "BootSourceOverrideEnabled");
	*ret = (struct bmc_state){
		.boot.is_persistent = text_equal(enabled, "Continuous"),
		.boot.is_uefi = text_equal(json_text(boot, "BootSourceOverrideMode"), "UEFI"),
		.is_boot_valid = enabled && !text_equal(enabled, "Disabled"),
	};
	if (text_equal(power, "On") || text_equal(power, "PoweringOff"))
		ret->power = BMC_POWER_ON;
	else if (text_equal(power, "Off") || text_equal(power, "PoweringOn"))
		ret->power = BMC_POWER_OFF;
	for (size_t i = 0; ret->is_boot_valid && i < ARRAY_SIZE(targets); i++)
		if (text_equal(targets[i], target))
			ret->boot.device = (enum bmc_device)i;
	if (text_equal(target, "UefiHttp") && ret->is_boot_valid)
		ret->boot.device = BMC_BOOT_NETWORK;
}

/* Some keep what the next start boots at .../Settings and in no other place: the system says so. Else NULL. */
static const char *settings_of(const json_t *system)
{
	if (json_object_get(json_object_get(system, "Boot"), "BootSourceOverrideTarget"))
		return NULL;
	return redfish_link(json_object_get(system, "@Redfish.Settings"), "SettingsObject");
}

static void settings_came(struct redfish *redfish, json_t *json)
{
	struct bmc_state pending;
	read_state(json, &pending);
	pending.power = redfish->state.power;
	redfish->state = pending;
	redfish_end(redfish, 0, NULL);
}

static void state_came(struct redfish *redfish, json_t *json)
{
	cleanup(free) char *settings = alloc_text(settings_of(json));
	read_state(json, &redfish->state);
	if (settings)
		redfish_get(redfish, settings, settings_came);
	else
		redfish_end(redfish, 0, NULL);
}

static void state_begin(struct redfish *redfish)
{
	redfish_get(redfish, redfish->system, state_came);
}

static void redfish_state(struct bmc *bmc, bmc_state_done *done, void *data)
{
	struct redfish *redfish = redfish_of(bmc);
	redfish->done.state = done;
	redfish_begin(redfish, state_begin, state_end, data);
}

static void is_done(struct redfish *redfish, json_t *json)
{
	(void)json;
	redfish_end(redfish, 0, NULL);
}

static bool allows(const json_t *list, const char *word)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if (text_equal(json_string_value(json_array_get(list, i)), word))
			return true;
	/* Who lists nothing takes what the standard has. */
	return json_array_size(list) == 0;
}

static void reset_known(struct redfish *redfish, json_t *json)
{
	const json_t *reset =
		json_object_get(json_object_get(json, "Actions"), "#ComputerSystem.Reset");
	const json_t *list = json_object_get(reset, "ResetType@Redfish.AllowableValues");
	const char *const *words = resets[redfish->action];
	struct error e = {};
	const char *word = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(resets[0]) && words[i] && !word; i++)
		if (allows(list, words[i]))
			word = words[i];
	if (!word || !json_text(reset, "target")) {
		error_set(&e, -EOPNOTSUPP, "power %s: the BMC offers no such reset",
			bmc_action_name(redfish->action));
		redfish_end(redfish, -EOPNOTSUPP, &e);
		return;
	}
	cleanup(free) char *target = alloc_text(json_text(reset, "target"));
	redfish_send(redfish, "POST", target, json_pack("{s:s}", "ResetType", word), is_done);
}

static void power_begin(struct redfish *redfish)
{
	redfish_get(redfish, redfish->system, reset_known);
}

static void redfish_power(struct bmc *bmc, enum bmc_action action, bmc_done *done, void *data)
{
	struct redfish *redfish = redfish_of(bmc);
	redfish->done.plain = done;
	redfish->action = action;
	redfish_begin(redfish, power_begin, plain_end, data);
}

static void boot_known(struct redfish *redfish, json_t *json)
{
	const struct bmc_boot *boot = &redfish->boot;
	/* What is not honoured for once is set for good: each start says anew what it wants. */
	bool is_persistent = boot->is_persistent || (redfish->bmc.quirks & QUIRK_ONCE_IGNORED);
	json_t *body = json_pack("{s:s, s:s}", "BootSourceOverrideTarget", targets[boot->device],
		"BootSourceOverrideEnabled",
		boot->device == BMC_BOOT_NONE ? "Disabled"
			: is_persistent       ? "Continuous"
					      : "Once");
	const char *mode = json_text(json_object_get(json, "Boot"), "BootSourceOverrideMode");
	const char *wanted = boot->is_uefi ? "UEFI" : "Legacy";
	if (mode && (!text_equal(mode, wanted) || (redfish->bmc.quirks & QUIRK_BOOT_MODE_ALWAYS)))
		json_object_set_new(body, "BootSourceOverrideMode", json_string(wanted));
	cleanup(free) char *path = alloc_text(settings_of(json) ?: redfish->system);
	redfish_send(redfish, "PATCH", path, json_pack("{s:o}", "Boot", body), is_done);
}

static void boot_begin(struct redfish *redfish)
{
	redfish_get(redfish, redfish->system, boot_known);
}

static void redfish_boot(struct bmc *bmc, const struct bmc_boot *boot, bmc_done *done, void *data)
{
	struct redfish *redfish = redfish_of(bmc);
	redfish->done.plain = done;
	redfish->boot = *boot;
	redfish_begin(redfish, boot_begin, plain_end, data);
}

static int no_console(struct bmc *bmc, const struct bmc_console_calls *calls, struct error *e)
{
	(void)bmc;
	(void)calls;
	return error_set(e, -EOPNOTSUPP,
		"Redfish carries no console; give the server's IPMI address for one");
}

static void no_write(struct bmc *bmc, const void *bytes, size_t length)
{
	(void)bmc;
	(void)bytes;
	(void)length;
}

static void no_close(struct bmc *bmc)
{
	(void)bmc;
}

static int redfish_open(const struct bmc_options *options, struct bmc **ret, struct error *e)
{
	cleanup(free) char *base = strstr(options->address, "://")
		? alloc_text(options->address)
		: alloc_printf("https://%s", options->address);
	const char *host = strstr(base, "://") + 3;
	if (!text_starts(base, "https://") && !text_starts(base, "http://"))
		return error_set(
			e, -EINVAL, "address: \"%.80s\" is no http or https URL", options->address);
	if (strpbrk(host, "/@?# "))
		return error_set(e, -EINVAL, "address: \"%.80s\": only scheme, host and port",
			options->address);
	if (options->port) {
		char *with_port = alloc_printf("%s:%u", base, options->port);
		free(base);
		base = with_port;
	}
	struct redfish *redfish = alloc(struct redfish);
	struct web_options web = { options->loop, base, options->tls, options->authorities };
	int r = web_new(&web, &redfish->web, e);
	if (r < 0) {
		free(redfish);
		return r;
	}
	redfish->bmc.driver = &redfish_driver;
	redfish->loop = options->loop;
	redfish->again = loop_add_timer(options->loop, redfish_look_again, redfish);
	redfish->user = alloc_text(options->user);
	redfish->password = alloc_text(options->password);
	redfish->wanted = alloc_text(options->system);
	*ret = &redfish->bmc;
	return 0;
}

static void redfish_close(struct bmc *bmc)
{
	struct redfish *redfish = redfish_of(bmc);
	char *const texts[] = { redfish->user, redfish->password, redfish->token, redfish->system,
		redfish->manager, redfish->chassis, redfish->url, redfish->etag, redfish->path,
		redfish->drive, redfish->wanted };
	source_free(redfish->again);
	web_free(redfish->web);
	explicit_bzero(redfish->password, strlen(redfish->password));
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		free(texts[i]);
	json_decref(redfish->result);
	json_decref(redfish->list);
	json_decref(redfish->body);
	free(redfish);
}

const struct bmc_driver redfish_driver = {
	.name = "redfish",
	.can = BMC_CAN_MEDIA | BMC_CAN_TLS,
	.open = redfish_open,
	.close = redfish_close,
	.cancel = redfish_cancel,
	.state = redfish_state,
	.power = redfish_power,
	.boot = redfish_boot,
	.identity = redfish_identity,
	.sensors = redfish_sensors,
	.events = redfish_events,
	.media = redfish_media,
	.console_open = no_console,
	.console_write = no_write,
	.console_close = no_close,
};
