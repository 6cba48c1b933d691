/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console.c - the console that an instance's runner has.
 */
#include "daemon/instance/console.h"

#include <errno.h>

#include "abi/runner.h"
#include "base/text.h"
#include "daemon/instance/supervisor.h"
#include "daemon/instance/terminal.h"
#include "daemon/server/instance.h"

/* The instance may be gone meanwhile: it is found by its name. */
struct console {
	struct service *service;
	char *project, *name;
	struct console_options options;
};

static struct live *live_of(const struct console *console)
{
	struct instance *instance =
		instance_find(console->service, console->project, console->name);
	return instance ? instance->live : NULL;
}

static void attached(void *data, int code, const struct error *e, const void *bytes, size_t length,
	const int *fds, size_t fd_count)
{
	(void)bytes;
	(void)length;
	(void)fds;
	(void)fd_count;
	terminal_attached(data, code, e);
}

static int attach(void *data, struct terminal *terminal, int fd, struct error *e)
{
	const struct console *console = data;
	struct live *live = live_of(console);
	if (!live)
		return error_set(e, -EBUSY, "Instance is not running");
	struct runner_attach message = { .header.type = RUNNER_ATTACH,
		.flags = console->options.is_forced ? RUNNER_ATTACH_STEAL : 0,
		.columns = (uint16_t)console->options.columns,
		.rows = (uint16_t)console->options.rows };
	return live_send(live, &message, sizeof(message), fd, attached, terminal, e);
}

static int resize(void *data, uint16_t columns, uint16_t rows)
{
	struct live *live = live_of(data);
	struct runner_size message = {
		.header.type = RUNNER_RESIZE, .columns = columns, .rows = rows
	};
	return live ? live_send(live, &message, sizeof(message), -1, NULL, NULL, NULL) : 0;
}

static void forget(void *data, struct terminal *terminal)
{
	struct console *console = data;
	struct live *live = live_of(console);
	if (live)
		live_forget(live, terminal);
	free(console->project);
	free(console->name);
	free(console);
}

int console_start(struct instance *instance, const struct console_options *options,
	struct operation **ret, struct error *e)
{
	static const struct terminal_source source = { attach, resize, forget };
	if (!(instance->kind->can & KIND_CAN_CONSOLE))
		return error_set(e, -EOPNOTSUPP, "A %s has no console", instance->kind->name);
	if (instance->kind->can & KIND_IS_SERVER)
		return server_instance_console(instance, options->is_forced, ret, e);
	if (!instance->live)
		return error_set(e, -EBUSY, "Instance is not running");
	struct console *console = alloc(struct console);
	*console = (struct console){ instance->service, alloc_text(instance->project),
		alloc_text(instance->name), *options };
	*ret = terminal_start(instance->service,
		&(struct terminal_options){
			&source, console, instance->project, instance_resources(instance) });
	instance_event(instance, "instance-console", NULL);
	return 0;
}
