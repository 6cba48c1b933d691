/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics.c - /1.0/metrics, and what it says of the daemon itself.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>

#include "base/file.h"
#include "daemon/api.h"
#include "daemon/api/collections.h"
#include "daemon/metrics.h"
#include "daemon/operation.h"

static uint64_t resident_bytes(void)
{
	char line[128];
	uint64_t pages;
	if (file_read_line(AT_FDCWD, "/proc/self/statm", line, sizeof(line)) < 0)
		return 0;
	/* The second number: the first is the size with what was never touched. */
	char *second = line + strcspn(line, " ");
	second += *second == ' ';
	second[strcspn(second, " ")] = '\0';
	return text_to_u64(second, &pages) < 0 ? 0 : pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static double seconds(const struct timeval *time)
{
	return (double)time->tv_sec + (double)time->tv_usec / 1e6;
}

static void add_daemon(struct service *service, struct text *text)
{
	struct rusage usage = {};
	getrusage(RUSAGE_SELF, &usage);
	metrics_family(text, "berth_uptime_seconds", "gauge", "Time since the daemon started.");
	metrics_value(text, "berth_uptime_seconds",
		(double)(loop_wall_clock() - service->started_ns) / 1e9, NULL);
	metrics_family(text, "berth_cpu_seconds", "counter", "CPU time of the daemon.");
	metrics_value(text, "berth_cpu_seconds_total",
		seconds(&usage.ru_utime) + seconds(&usage.ru_stime), NULL);
	metrics_family(text, "berth_resident_bytes", "gauge", "Memory of the daemon.");
	metrics_value(text, "berth_resident_bytes", (double)resident_bytes(), NULL);
	metrics_family(text, "berth_operations", "gauge", "Operations that run.");
	metrics_value(text, "berth_operations", (double)operation_count_running(service), NULL);
}

static int get_metrics(struct service *service, struct request *request, struct error *e)
{
	(void)e;
	struct text text = {};
	add_daemon(service, &text);
	metrics_collect(service, request_query(request, "project"), &text);
	size_t length = text.length;
	return reply_plain(request, text_take(&text), length,
		"application/openmetrics-text; version=1.0.0; charset=utf-8");
}

const struct route metrics_routes[] = {
	{ "GET", "/1.0/metrics", REQUEST_NONE, get_metrics, 0 },
	{},
};
