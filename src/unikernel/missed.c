/* SPDX-License-Identifier: Apache-2.0 */
/*
 * missed.c - the calls that were not there, counted.
 */
#include "unikernel/missed.h"

static uint32_t missed[CALLS_MAX];
static uint32_t *missed_outside;
static bool says_missed;

void missed_count(uint64_t number)
{
	if (number >= REPORT_CODE)
		number = number == REPORT_CODE ? REPORT_CODE : REPORT_OTHERS;
	missed[number]++;
	if (missed_outside)
		missed_outside[number]++;
}

void missed_count_in(uint32_t *counts)
{
	missed_outside = counts;
}

void missed_say_at_end(bool says)
{
	says_missed = says;
}

static void say_number(uint64_t number)
{
	char digits[20];
	size_t start = sizeof(digits);
	do {
		digits[--start] = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	platform_console_write(2, digits + start, sizeof(digits) - start);
}

static const char generates[] =
	"berth: it wanted to execute memory that it had written (generated code), which a unikernel cannot\n";
static const char others[] = "berth: it asked for calls that no Linux has\n";

void missed_report(void)
{
	if (!says_missed)
		return;
	static const char head[] = "berth: no such call here: ", times[] = " times ";
	if (missed[REPORT_CODE])
		platform_console_write(2, generates, sizeof(generates) - 1);
	if (missed[REPORT_OTHERS])
		platform_console_write(2, others, sizeof(others) - 1);
	for (uint32_t i = 0; i < REPORT_CODE; i++) {
		if (!missed[i])
			continue;
		platform_console_write(2, head, sizeof(head) - 1);
		say_number(missed[i]);
		platform_console_write(2, times, sizeof(times) - 1);
		say_number(i);
		platform_console_write(2, "\n", 1);
	}
}
