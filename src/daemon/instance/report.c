/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report.c - which system calls the program of a unikernel missed, by name.
 */
#include "daemon/instance/report.h"

#include <fcntl.h>

#include "abi/report.h"

struct call_name {
	const char *name;
	int number, number_32;
};

static const struct call_name names[] = {
#include <call_names.inc>
};

static const char *name_of(int number)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].number == number)
			return names[i].name;
	return NULL;
}

static bool report_read(const struct instance *instance, struct report *ret)
{
	cleanup(close) int dir = -1;
	if (instance_open_dir(instance, &dir, NULL) < 0)
		return false;
	cleanup(close) int fd = openat(dir, REPORT_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	return fd >= 0 && pread(fd, ret, sizeof(*ret), 0) == sizeof(*ret) &&
		ret->version == REPORT_VERSION;
}

void report_add(const struct instance *instance, struct text *text)
{
	struct report report;
	bool has_any = false;
	if (!(instance->kind->can & KIND_HAS_REPORT) || !report_read(instance, &report))
		return;
	for (int i = 0; i < REPORT_CALLS; i++) {
		const char *name = i == REPORT_CODE ? "generated code"
			: i == REPORT_OTHERS        ? "unknown numbers"
						    : name_of(i);
		if (!report.missed[i])
			continue;
		text_add(text, has_any ? "," : ",\"missed_calls\":{");
		has_any = true;
		if (name)
			text_printf(text, "\"%s\":%u", name, report.missed[i]);
		else
			text_printf(text, "\"%d\":%u", i, report.missed[i]);
	}
	if (has_any)
		text_add_char(text, '}');
}
