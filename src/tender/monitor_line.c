/* SPDX-License-Identifier: Apache-2.0 */
/*
 * monitor_line.c - the command line and the memory of a library OS that berth-vmm runs: pure.
 */
#include <errno.h>

#include "base/text.h"
#include "model/json.h"
#include "tender/monitor.h"

#define COMMAND_MOST 65000u    /* of what the library OS copies */
#define MACHINE_ROOM (8 * MIB) /* the library OS, its rings, what lies below the first MiB */
#define BIG_PAGE     (2 * MIB)

static void add_quoted(struct text *text, const char *word)
{
	text_add(text, " \"");
	for (; *word; word++) {
		if (*word == '"' || *word == '\\')
			text_add_char(text, '\\');
		text_add_char(text, *word);
	}
	text_add_char(text, '"');
}

static void add_all(struct text *text, const char *option, const json_t *values, size_t most)
{
	for (size_t i = 0; i < json_array_size(values) && i < most; i++)
		text_printf(text, " %s%s", option, json_string_value(json_array_get(values, i)));
}

static void add_words(struct text *text, const json_t *words)
{
	size_t i;
	json_t *word;
	json_array_foreach(words, i, word) add_quoted(text, json_string_value(word));
}

int monitor_command(const struct tender_plan *plan, char **ret, struct error *e)
{
	cleanup(text_done) struct text text = {};
	text_printf(&text, "berth.exit=%d berth.report=%#x berth.memory=%ju berth.stop-signal=%d",
		MONITOR_EXIT_PORT, MONITOR_REPORT_AT, (uintmax_t)plan->memory_bytes,
		plan->stop_signal);
	text_printf(&text, " berth.host-name=%s", plan->name);
	if (plan->has_nic) {
		add_all(&text, "berth.address=", plan->nic.addresses, 2);
		add_all(&text, "berth.gateway=", plan->nic.gateways, 2);
		add_all(&text, "berth.dns=", plan->nameservers, 2);
	}
	if (plan->is_stateful)
		text_printf(&text, " berth.keep=%d%s", MONITOR_KEEP_PORT,
			plan->has_nic ? "" : " berth.no-card");
	if (plan->restore) {
		*ret = text_take(&text);
		return 0;
	}
	if (plan->cwd) {
		cleanup(free) char *word = alloc_printf("berth.directory=%s", plan->cwd);
		add_quoted(&text, word);
	}
	text_printf(&text, " berth.environment=%zu --", json_array_size(plan->environment));
	add_words(&text, plan->arguments);
	add_words(&text, plan->environment);
	if (text.length > COMMAND_MOST)
		return error_set(e, -E2BIG,
			"under soft the arguments and the environment of a unikernel have 63 KiB at most");
	*ret = text_take(&text);
	return 0;
}

uint64_t monitor_memory(const struct tender_plan *plan, uint64_t image_bytes)
{
	/* Its tables have two words for each page. */
	uint64_t bytes = plan->memory_bytes + image_bytes;
	bytes += bytes / 256 + MACHINE_ROOM;
	return (bytes + BIG_PAGE - 1) / BIG_PAGE * BIG_PAGE;
}
