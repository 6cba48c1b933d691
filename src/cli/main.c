/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - berth: the table of verbs, and what an exit status means.
 */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>

#include "cli/cells.h"
#include "cli/context.h"
#include "cli/launch.h"
#include "cli/verbs.h"

enum { STATUS_FAILED = 1, STATUS_USAGE = 2, STATUS_ABSENT = 3, STATUS_INTERRUPTED = 130 };

static const struct verb verbs[] = {
	{ "launch", "IMAGE [NAME] [-- COMMAND...]", "make an instance and start it",
		.run = launch_run, .options = launch_options, .max = ARGUMENTS_ANY,
		.words = WORDS_IMAGE },
	{ "create", "IMAGE [NAME] [-- COMMAND...]", "make an instance", .run = create_run,
		.options = create_options, .max = ARGUMENTS_ANY, .words = WORDS_IMAGE },
	{ "plan", "IMAGE [NAME] [-- COMMAND...]", "show what a launch would do, and do nothing",
		.run = plan_run, .options = launch_options, .max = ARGUMENTS_ANY,
		.words = WORDS_IMAGE },
	{ "list", "[NAME|KEY=VALUE...]", "list instances", .run = list_run, .options = list_options,
		.max = ARGUMENTS_ANY, .words = WORDS_INSTANCE },
	{ "info", "[INSTANCE]", "show all about an instance, or the daemon", .run = info_run,
		.options = info_options, .max = 1, .words = WORDS_INSTANCE },
	{ "start", "INSTANCE...", "start instances", .run = instance_start,
		.options = start_options, .max = ARGUMENTS_ANY, .words = WORDS_INSTANCE },
	{ "stop", "INSTANCE...", "stop instances", .run = instance_stop, .options = stop_options,
		.max = ARGUMENTS_ANY, .words = WORDS_INSTANCE },
	{ "restart", "INSTANCE...", "stop and start instances", .run = instance_restart,
		.options = restart_options, .max = ARGUMENTS_ANY, .words = WORDS_INSTANCE },
	{ "pause", "INSTANCE...", "freeze instances", .run = instance_pause, .min = 1,
		.max = ARGUMENTS_ANY, .words = WORDS_INSTANCE },
	{ "resume", "INSTANCE...", "let frozen instances go on", .run = instance_resume, .min = 1,
		.max = ARGUMENTS_ANY, .words = WORDS_INSTANCE },
	{ "rebuild", "INSTANCE [IMAGE]", "give a stopped instance a new root",
		.run = instance_rebuild, .options = rebuild_options, .min = 1, .max = 2,
		.words = WORDS_INSTANCE },
	{ "rescue", "INSTANCE", "boot the server of an instance into a rescue system",
		.run = instance_rescue, .options = rescue_options, .min = 1, .max = 1,
		.words = WORDS_INSTANCE },
	{ "delete", "INSTANCE[/SNAPSHOT]...", "delete instances or snapshots",
		.run = instance_delete, .options = delete_options, .min = 1, .max = ARGUMENTS_ANY,
		.words = WORDS_INSTANCE },
	{ "exec", "INSTANCE [--] COMMAND...", "run a command in an instance", .run = exec_run,
		.options = exec_options, .min = 2, .max = ARGUMENTS_ANY, .free_after = 1,
		.words = WORDS_INSTANCE },
	{ "shell", "INSTANCE", "open a shell in an instance", .run = shell_run,
		.options = shell_options, .min = 1, .max = 1, .words = WORDS_INSTANCE },
	{ "console", "INSTANCE", "attach to the console of an instance", .run = console_run,
		.options = console_options, .min = 1, .max = 1, .words = WORDS_INSTANCE },
	{ "file", NULL, "Files in instances", .verbs = file_verbs },
	{ "snapshot", NULL, "Snapshots of instances", .verbs = snapshot_verbs },
	{ "restore", "INSTANCE SNAPSHOT", "put an instance back to a snapshot",
		.run = instance_restore, .options = restore_options, .min = 2, .max = 2,
		.words = WORDS_INSTANCE },
	{ "copy", "INSTANCE[/SNAPSHOT] [NAME]", "copy an instance", .run = instance_copy,
		.options = copy_options, .min = 1, .max = 2, .words = WORDS_INSTANCE },
	{ "move", "INSTANCE NAME", "give an instance another name", .run = instance_rename,
		.min = 2, .max = 2, .words = WORDS_INSTANCE },
	{ "rename", "INSTANCE[/SNAPSHOT] NAME", "give an instance or snapshot another name",
		.run = instance_rename, .min = 2, .max = 2, .words = WORDS_INSTANCE },
	{ "config", NULL, "Config of instances and of the daemon", .verbs = config_verbs },
	{ "device", NULL, "Devices of instances", .verbs = device_verbs },
	{ "profile", NULL, "Profiles: config and devices for many instances",
		.verbs = profile_verbs },
	{ "image", NULL, "Images: what instances start from", .verbs = image_verbs },
	{ "network", NULL, "Networks", .verbs = network_verbs },
	{ "storage", NULL, "Storage pools and volumes", .verbs = storage_verbs },
	{ "project", NULL, "Projects", .verbs = project_verbs },
	{ "server", NULL, "Servers: bare metal", .verbs = server_verbs },
	{ "export", "INSTANCE [FILE]", "write an instance to a file", .run = export_run,
		.options = export_options, .min = 1, .max = 2, .words = WORDS_INSTANCE },
	{ "import", "FILE [NAME]", "make an instance from such a file", .run = import_run,
		.options = import_options, .min = 1, .max = 2, .words = WORDS_FILE },
	{ "publish", "INSTANCE[/SNAPSHOT]", "make an image of an instance", .run = publish_run,
		.options = publish_options, .min = 1, .max = 1, .words = WORDS_INSTANCE },
	{ "top", "", "show live what instances use", .run = top_run, .options = top_options },
	{ "monitor", "", "show events as they come", .run = monitor_run,
		.options = monitor_options },
	{ "operation", NULL, "What is going on", .verbs = operation_verbs },
	{ "warning", NULL, "What the daemon worries about", .verbs = warning_verbs },
	{ "doctor", "", "show what this host can do and what it lacks", .run = doctor_run,
		.options = doctor_options },
	{ "resources", "", "show what the host has", .run = resources_run,
		.options = format_options },
	{ "metrics", "", "print the metrics (OpenMetrics)", .run = metrics_run },
	{ "query", "PATH", "send a request as it is", .run = query_run, .options = query_options,
		.min = 1, .max = 1 },
	{ "version", "", "show the versions of client and daemon", .run = version_run },
	{ "completion", NULL, "Completion for shells", .verbs = completion_verbs },
	{},
};

static const struct verb program = {
	.name = "berth",
	.help = "Containers, virtual machines, unikernels and machines, through the daemon berthd",
	.verbs = verbs,
};

static int print_help(const struct options *options, struct error *e)
{
	cleanup(text_done) struct text text = {};
	bool is_program = !options->path;
	options_help(&text, is_program ? &program : options->verb, is_program ? "" : options->path);
	return output_write(&text, e);
}

static int run(struct context *context, struct error *e)
{
	context->is_quiet = options_flag(&context->options, "quiet");
	context->progress.is_on = !context->is_quiet && isatty(STDERR_FILENO);
	int r = context->options.verb->run(context, e);
	progress_clear(&context->progress);
	return r;
}

static int status_of(const struct context *context, int r)
{
	if (r >= 0)
		return r;
	if (r == -EINTR)
		return STATUS_INTERRUPTED;
	return context->remote && remote_is_absent(context->remote) ? STATUS_ABSENT : STATUS_FAILED;
}

int main(int argc, char **argv)
{
	setlocale(LC_CTYPE, "");
	/* Who reads us may leave: that is an error to tell, not a way to die. */
	signal(SIGPIPE, SIG_IGN);
	struct context context = {
		.verbs = verbs,
		.interrupt = -1,
		.is_terminal = isatty(STDOUT_FILENO),
	};
	struct error e = {};
	int r = options_read(&context.options, verbs, (const char *const *)argv + 1,
		argc > 0 ? (size_t)argc - 1 : 0, &e);
	int status;
	if (r < 0) {
		fprintf(stderr, "berth: %s\n", e.text);
		status = STATUS_USAGE;
	} else if (context.options.wants_help) {
		r = print_help(&context.options, &e);
		status = r < 0 ? STATUS_FAILED : argc > 1 ? 0 : STATUS_USAGE;
	} else {
		r = run(&context, &e);
		if (r < 0)
			fprintf(stderr, "berth: %s\n", e.text);
		status = status_of(&context, r);
	}
	remote_free(context.remote);
	options_done(&context.options);
	return status;
}
