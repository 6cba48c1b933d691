/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.c - the life of a server as a table.
 *
 * Nothing leads from an owner to SERVER_AVAILABLE but SERVER_CLEANING.
 */
#include "model/server.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define MINUTE (60 * NS_PER_SEC)

static const struct {
	const char *name;
	uint64_t deadline_ns;
	const char *task;
	bool is_owned;
	const char *refusal;
} states[] = {
	[SERVER_ENROLLED] = { "enrolled", 0, NULL, false, "The server is not verified yet" },
	[SERVER_VERIFYING] = { "verifying", 3 * MINUTE, NULL, false,
		"The server is being verified" },
	[SERVER_INSPECTING] = { "inspecting", 20 * MINUTE, "wait", false,
		"The server is being inspected" },
	[SERVER_AVAILABLE] = { "available", 0, "wait", false, "The server is nobody's" },
	[SERVER_DEPLOYING] = { "deploying", 40 * MINUTE, "deploy", true,
		"The server is being deployed" },
	[SERVER_ACTIVE] = { "active", 0, NULL, true, "The server is somebody's" },
	[SERVER_RESCUE] = { "rescue", 0, "rescue", true, "The server is in rescue" },
	[SERVER_SAVING] = { "saving", 12 * 60 * MINUTE, "save", true,
		"The server's disk is being saved" },
	[SERVER_CLEANING] = { "cleaning", 24 * 60 * MINUTE, "erase", false,
		"The server is being cleaned" },
};
static_assert(ARRAY_SIZE(states) == SERVER_STATES, "a state has no name");

/* What is not here can't happen. */
static const struct {
	enum server_state state;
	enum server_event event;
	enum server_state next;
} ways[] = {
	{ SERVER_ENROLLED, SERVER_VERIFY, SERVER_VERIFYING },
	{ SERVER_VERIFYING, SERVER_VERIFY, SERVER_VERIFYING },
	{ SERVER_VERIFYING, SERVER_VERIFIED, SERVER_INSPECTING },
	{ SERVER_INSPECTING, SERVER_VERIFY, SERVER_VERIFYING },
	{ SERVER_INSPECTING, SERVER_INSPECT, SERVER_INSPECTING },
	{ SERVER_INSPECTING, SERVER_INSPECTED, SERVER_CLEANING },
	{ SERVER_AVAILABLE, SERVER_VERIFY, SERVER_VERIFYING },
	{ SERVER_AVAILABLE, SERVER_INSPECT, SERVER_INSPECTING },
	{ SERVER_AVAILABLE, SERVER_RESERVE, SERVER_DEPLOYING },
	{ SERVER_DEPLOYING, SERVER_DEPLOYED, SERVER_ACTIVE },
	{ SERVER_DEPLOYING, SERVER_RELEASE, SERVER_CLEANING },
	{ SERVER_ACTIVE, SERVER_REBUILD, SERVER_DEPLOYING },
	{ SERVER_ACTIVE, SERVER_TO_RESCUE, SERVER_RESCUE },
	{ SERVER_ACTIVE, SERVER_SAVE, SERVER_SAVING },
	{ SERVER_ACTIVE, SERVER_RELEASE, SERVER_CLEANING },
	{ SERVER_RESCUE, SERVER_REBUILD, SERVER_DEPLOYING },
	{ SERVER_RESCUE, SERVER_FROM_RESCUE, SERVER_ACTIVE },
	{ SERVER_RESCUE, SERVER_RELEASE, SERVER_CLEANING },
	{ SERVER_SAVING, SERVER_SAVE, SERVER_SAVING },
	{ SERVER_SAVING, SERVER_SAVED, SERVER_ACTIVE },
	{ SERVER_SAVING, SERVER_RELEASE, SERVER_CLEANING },
	{ SERVER_CLEANING, SERVER_INSPECT, SERVER_INSPECTING },
	{ SERVER_CLEANING, SERVER_RELEASE, SERVER_CLEANING },
	{ SERVER_CLEANING, SERVER_CLEANED, SERVER_AVAILABLE },
};

int server_next(
	enum server_state state, enum server_event event, enum server_state *ret, struct error *e)
{
	assert(state < SERVER_STATES && event < SERVER_EVENTS);
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		if (ways[i].state != state || ways[i].event != event)
			continue;
		*ret = ways[i].next;
		return 0;
	}
	return error_set(e, -EBUSY, "%s", states[state].refusal);
}

const char *server_state_name(enum server_state state)
{
	assert(state < SERVER_STATES);
	return states[state].name;
}

int server_state_read(const char *name, enum server_state *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		if (!text_equal(states[i].name, name))
			continue;
		*ret = (enum server_state)i;
		return 0;
	}
	return -EINVAL;
}

uint64_t server_deadline_ns(enum server_state state)
{
	assert(state < SERVER_STATES);
	return states[state].deadline_ns;
}

const char *server_task(enum server_state state)
{
	assert(state < SERVER_STATES);
	return states[state].task;
}

bool server_is_owned(enum server_state state)
{
	assert(state < SERVER_STATES);
	return states[state].is_owned;
}

bool server_may_go(enum server_state state, bool has_failed)
{
	return state == SERVER_ENROLLED || state == SERVER_AVAILABLE ||
		(has_failed && !server_is_owned(state));
}

static char *add_lack(char *all, const char *format, ...) printf_like(2, 3);
static char *add_lack(char *all, const char *format, ...)
{
	char one[128];
	va_list list;
	va_start(list, format);
	vsnprintf(one, sizeof(one), format, list);
	va_end(list);
	char *both = all ? alloc_printf("%s, %s", all, one) : alloc_text(one);
	free(all);
	return both;
}

/* "c8-m32": CPUs and GiB. */
static bool read_flavour(const char *class, uint64_t *ret_cpus, uint64_t *ret_memory)
{
	const char *dash = strstr(class, "-m");
	if (class[0] != 'c' || !dash)
		return false;
	cleanup(free) char *cpus = alloc_text_n(class + 1, (size_t)(dash - class) - 1);
	return text_to_u64(cpus, ret_cpus) == 0 && text_to_u64(dash + 2, ret_memory) == 0 &&
		*ret_memory < UINT64_MAX / GIB;
}

char *server_lacks(const struct server_facts *facts, const char *class, const char *name,
	const struct server_wish *wish)
{
	char *lacks = NULL;
	uint64_t cpus = wish->cpus, memory = wish->memory_bytes, more_cpus, more_memory;
	char have[TEXT_SIZE_MAX], want[TEXT_SIZE_MAX];
	if (wish->server && !text_equal(wish->server, name))
		lacks = add_lack(lacks, "not %.40s", wish->server);
	if (wish->class && wish->class[0] && !text_equal(wish->class, class)) {
		if (read_flavour(wish->class, &more_cpus, &more_memory)) {
			cpus = more_cpus > cpus ? more_cpus : cpus;
			memory = more_memory * GIB > memory ? more_memory * GIB : memory;
		} else {
			lacks = add_lack(lacks, "of class %.40s, not %.40s", class, wish->class);
		}
	}
	if (facts->cpus < cpus)
		lacks = add_lack(lacks, "%llu CPUs, not %llu", (unsigned long long)facts->cpus,
			(unsigned long long)cpus);
	/* The firmware and the kernel keep some: a server of 64 GiB says a little less. */
	if (facts->memory_bytes + facts->memory_bytes / 16 < memory)
		lacks = add_lack(lacks, "%s of memory, not %s",
			text_format_bytes(facts->memory_bytes, have),
			text_format_bytes(memory, want));
	if (facts->disk_bytes < wish->disk_bytes)
		lacks = add_lack(lacks, "a disk of %s, not %s",
			text_format_bytes(facts->disk_bytes, have),
			text_format_bytes(wish->disk_bytes, want));
	if (facts->nic_mbit && facts->nic_mbit < wish->nic_mbit)
		lacks = add_lack(lacks, "%llu Mbit/s, not %llu",
			(unsigned long long)facts->nic_mbit, (unsigned long long)wish->nic_mbit);
	return lacks;
}

char *server_class(const struct server_facts *facts)
{
	/* The nearest GiB that is sold: a little more than the kernel has. */
	uint64_t gib = (facts->memory_bytes + facts->memory_bytes / 16) / GIB;
	return alloc_printf(
		"c%llu-m%llu", (unsigned long long)facts->cpus, (unsigned long long)gib);
}
