/* SPDX-License-Identifier: Apache-2.0 */
/*
 * top.c - what instances use right now: a table that is drawn again and again.
 *
 * A rate is the difference of two counters over the time between the looks at them; the first table has
 * none. Counters come with the list of instances, those of disks from the metrics.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "base/loop.h"
#include "cli/cells.h"
#include "cli/context.h"
#include "cli/format.h"
#include "cli/table.h"
#include "cli/verbs.h"

const struct option top_options[] = {
	{ "delay", 'd', "SECONDS", "between two tables: 2, if nothing is said" },
	{ "count", 'n', "COUNT", "end after so many tables" },
	{ "sort", 's', "COLUMN", "name, cpu (as without this), memory, net or disk" },
	{},
};

enum { RATE_CPU, RATE_IN, RATE_OUT, RATE_READ, RATE_WRITE, RATE_COUNT };

struct sample {
	char *name;
	char *state;
	double counters[RATE_COUNT];
	double rates[RATE_COUNT];
	uint64_t memory, memory_limit, processes;
	bool has_rates;
};

struct samples {
	struct sample *all;
	size_t count;
	uint64_t at_ns;
};

static void samples_done(struct samples *samples)
{
	for (size_t i = 0; i < samples->count; i++) {
		free(samples->all[i].name);
		free(samples->all[i].state);
	}
	free(samples->all);
	*samples = (struct samples){};
}

static struct sample *find(const struct samples *samples, const char *name, size_t length)
{
	for (size_t i = 0; i < samples->count; i++)
		if (strlen(samples->all[i].name) == length &&
			memcmp(samples->all[i].name, name, length) == 0)
			return &samples->all[i];
	return NULL;
}

static void read_state(struct sample *sample, const json_t *instance)
{
	sample->counters[RATE_CPU] = (double)object_number(instance, "state/cpu/usage");
	sample->memory = (uint64_t)object_number(instance, "state/memory/usage");
	sample->memory_limit = (uint64_t)object_number(instance, "state/memory/total");
	json_int_t processes = object_number(instance, "state/processes");
	sample->processes = processes > 0 ? (uint64_t)processes : 0;
	const char *name;
	json_t *link;
	json_object_foreach(object_at(instance, "state/network"), name, link)
	{
		if (text_equal(name, "lo"))
			continue;
		sample->counters[RATE_IN] += (double)object_number(link, "counters/bytes_received");
		sample->counters[RATE_OUT] += (double)object_number(link, "counters/bytes_sent");
	}
}

/* Lines as lxd_disk_read_bytes_total{device="sda",name="c1",...} 4096 */
static void read_disks(struct samples *samples, const char *metrics)
{
	for (const char *line = metrics; *line;) {
		size_t length = strcspn(line, "\n");
		int which = memmem(line, length, "_disk_read_bytes_total{", 23)  ? RATE_READ
			: memmem(line, length, "_disk_written_bytes_total{", 26) ? RATE_WRITE
										 : -1;
		const char *name = which < 0 ? NULL : memmem(line, length, "name=\"", 6);
		const char *brace = which < 0 ? NULL : memchr(line, '}', length);
		if (name && brace) {
			struct sample *sample = find(samples, name + 6, strcspn(name + 6, "\""));
			if (sample)
				sample->counters[which] += strtod(brace + 1, NULL);
		}
		line += length + (line[length] == '\n');
	}
}

static int take(struct context *context, struct samples *samples, struct error *e)
{
	cleanup(json_decref) json_t *instances = NULL;
	int r = context_get(context, "/1.0/instances?recursion=2", &instances, NULL, e);
	if (r < 0)
		return r;
	samples->at_ns = loop_now();
	samples->all = alloc_array(json_array_size(instances) + 1, struct sample);
	size_t i;
	json_t *instance;
	json_array_foreach(instances, i, instance)
	{
		const char *name = object_text(instance, "name"),
			   *state = object_text(instance, "status");
		struct sample *sample = &samples->all[samples->count++];
		sample->name = alloc_text(name ? name : "");
		sample->state = alloc_text(state ? state : "");
		read_state(sample, instance);
	}
	cleanup(answer_done) struct answer metrics = {};
	if (context_send(context,
		    &(struct client_request){ .method = "GET", .target = "/1.0/metrics" }, &metrics,
		    NULL) == 0)
		read_disks(samples, text_str(&metrics.response.body));
	return 0;
}

static void rate(struct samples *now, const struct samples *before)
{
	double seconds = (double)(now->at_ns - before->at_ns) / (double)NS_PER_SEC;
	for (size_t i = 0; i < now->count && seconds > 0; i++) {
		struct sample *sample = &now->all[i];
		const struct sample *old = find(before, sample->name, strlen(sample->name));
		if (!old)
			continue;
		sample->has_rates = true;
		for (size_t k = 0; k < RATE_COUNT; k++) {
			double more = sample->counters[k] - old->counters[k];
			/* A counter that fell is that of another life. */
			sample->rates[k] = more > 0 ? more / seconds : 0;
		}
	}
}

static int by_name(const void *a, const void *b)
{
	return strverscmp(((const struct sample *)a)->name, ((const struct sample *)b)->name);
}

static int by_number(double a, double b, const void *x, const void *y)
{
	return a < b ? 1 : a > b ? -1 : by_name(x, y);
}

static int by_cpu(const void *a, const void *b)
{
	const struct sample *x = a, *y = b;
	return by_number(x->rates[RATE_CPU], y->rates[RATE_CPU], a, b);
}

static int by_memory(const void *a, const void *b)
{
	const struct sample *x = a, *y = b;
	return by_number((double)x->memory, (double)y->memory, a, b);
}

static int by_net(const void *a, const void *b)
{
	const struct sample *x = a, *y = b;
	return by_number(x->rates[RATE_IN] + x->rates[RATE_OUT],
		y->rates[RATE_IN] + y->rates[RATE_OUT], a, b);
}

static int by_disk(const void *a, const void *b)
{
	const struct sample *x = a, *y = b;
	return by_number(x->rates[RATE_READ] + x->rates[RATE_WRITE],
		y->rates[RATE_READ] + y->rates[RATE_WRITE], a, b);
}

static const struct {
	const char *name;
	int (*compare)(const void *a, const void *b);
} orders[] = {
	{ "cpu", by_cpu },
	{ "name", by_name },
	{ "memory", by_memory },
	{ "net", by_net },
	{ "disk", by_disk },
};

static char *rate_cell(const struct sample *sample, int which)
{
	struct text text = {};
	if (!sample->has_rates)
		text_add(&text, "-");
	else if (which == RATE_CPU)
		text_printf(&text, "%.1f", sample->rates[RATE_CPU] * 100 / (double)NS_PER_SEC);
	else
		format_rate(&text, sample->rates[which]);
	return text_take(&text);
}

static void add_table(
	struct context *context, struct text *text, const struct samples *samples, size_t row_limit)
{
	static const char *const titles[] = { "NAME", "STATE", "CPU%", "MEMORY", "LIMIT",
		"PROCESSES", "NET IN", "NET OUT", "DISK READ", "DISK WRITE" };
	static const int rates[] = { RATE_IN, RATE_OUT, RATE_READ, RATE_WRITE };
	char buffer[TEXT_SIZE_MAX];
	cleanup(table_done) struct table table;
	table_init(&table, ARRAY_SIZE(titles));
	for (size_t i = 0; i < ARRAY_SIZE(titles); i++)
		table_title(&table, i, titles[i], i > 1);
	for (size_t i = 0; i < samples->count && i < row_limit; i++) {
		const struct sample *sample = &samples->all[i];
		table_add_row(&table);
		table_set(&table, 0, alloc_text(sample->name));
		table_set(&table, 1, alloc_text(sample->state));
		table_set(&table, 2, rate_cell(sample, RATE_CPU));
		table_set(&table, 3, alloc_text(text_format_bytes(sample->memory, buffer)));
		table_set(&table, 4,
			alloc_text(sample->memory_limit
					? text_format_bytes(sample->memory_limit, buffer)
					: "-"));
		table_set(&table, 5, alloc_printf("%" PRIu64, sample->processes));
		for (size_t k = 0; k < ARRAY_SIZE(rates); k++)
			table_set(&table, 6 + k, rate_cell(sample, rates[k]));
	}
	table_print(&table, text, output_width(context), output_is_bold(context));
}

static int draw(struct context *context, const struct samples *samples, struct error *e)
{
	struct winsize size = {};
	size_t row_limit = SIZE_MAX;
	cleanup(text_done) struct text text = {};
	if (context->is_terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 4)
		row_limit = size.ws_row - 3;
	/* Home, each line over the old one, then nothing below: no flicker. */
	if (context->is_terminal)
		text_add(&text, "\033[H");
	cleanup(text_done) struct text table = {};
	size_t running = 0;
	for (size_t i = 0; i < samples->count; i++)
		running += text_equal(samples->all[i].state, "Running");
	text_printf(&table, "%zu instances, %zu running%s\n", samples->count, running,
		context->is_terminal ? "; q ends" : "");
	add_table(context, &table, samples, row_limit);
	for (const char *c = table.data; *c; c++) {
		if (*c == '\n' && context->is_terminal)
			text_add(&text, "\033[K");
		text_add_char(&text, *c);
	}
	if (context->is_terminal)
		text_add(&text, "\033[J");
	return output_write(&text, e);
}

/* Until the next table, or an interrupt, or a q. Returns true to end. */
static bool pause_for(struct context *context, bool has_keys, uint64_t delay_ns)
{
	struct pollfd wait[] = {
		{ .fd = context->interrupt, .events = POLLIN },
		{ .fd = has_keys ? STDIN_FILENO : -1, .events = POLLIN },
	};
	uint64_t end = loop_now() + delay_ns;
	for (;;) {
		uint64_t now = loop_now();
		if (now >= end)
			return false;
		int ready = poll(wait, 2, (int)((end - now) / NS_PER_MS) + 1);
		if (ready > 0 && wait[0].revents)
			return true;
		if (ready > 0 && wait[1].revents) {
			char key = 0;
			if (read(STDIN_FILENO, &key, 1) != 1 || key == 'q')
				return true;
		}
	}
}

struct loop_options {
	uint64_t delay_ns, count;
	int (*compare)(const void *a, const void *b);
};

static int watch(
	struct context *context, const struct loop_options *options, bool has_keys, struct error *e)
{
	struct samples before = {}, now = {};
	int r = 0;
	for (uint64_t i = 0; r == 0 && i < options->count; i++) {
		if (i && pause_for(context, has_keys, options->delay_ns))
			break;
		r = take(context, &now, e);
		if (r < 0)
			break;
		rate(&now, &before);
		qsort(now.all, now.count, sizeof(*now.all), options->compare);
		r = draw(context, &now, e);
		samples_done(&before);
		before = now;
		now = (struct samples){};
	}
	samples_done(&before);
	samples_done(&now);
	return r == -EINTR ? 0 : r;
}

int top_run(struct context *context, struct error *e)
{
	const char *delay = options_text(&context->options, "delay"),
		   *count = options_text(&context->options, "count"),
		   *sort = options_text(&context->options, "sort");
	struct loop_options options = { .delay_ns = 2 * NS_PER_SEC, .count = UINT64_MAX };
	if (delay &&
		(text_to_ns(delay, &options.delay_ns) < 0 || options.delay_ns < 100 * NS_PER_MS))
		return error_set(e, -EINVAL, "--delay: '%s' is no time of at least 100ms", delay);
	if (count && (text_to_u64(count, &options.count) < 0 || !options.count))
		return error_set(e, -EINVAL, "--count: '%s' is no count", count);
	for (size_t i = 0; i < ARRAY_SIZE(orders); i++)
		if (text_equal(sort ? sort : "cpu", orders[i].name))
			options.compare = orders[i].compare;
	if (!options.compare)
		return error_set(
			e, -EINVAL, "--sort: '%s' is none of cpu, name, memory, net, disk", sort);
	int r = context_alert(context, e);
	if (r < 0)
		return r;
	struct termios saved, keys;
	bool has_keys = context->is_terminal && tcgetattr(STDIN_FILENO, &saved) == 0;
	if (has_keys) {
		keys = saved;
		keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		has_keys = tcsetattr(STDIN_FILENO, TCSADRAIN, &keys) == 0;
	}
	if (context->is_terminal)
		printf("\033[?1049h\033[?25l");
	r = watch(context, &options, has_keys, e);
	if (context->is_terminal)
		printf("\033[?25h\033[?1049l");
	fflush(stdout);
	if (has_keys)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &saved);
	context_calm(context);
	return r;
}
