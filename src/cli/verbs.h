/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verbs.h - what each noun's file gives to the table of all verbs in main.c.
 */
#pragma once

#include "cli/options.h"

int instance_start(struct context *context, struct error *e);
int instance_stop(struct context *context, struct error *e);
int instance_restart(struct context *context, struct error *e);
int instance_pause(struct context *context, struct error *e);
int instance_resume(struct context *context, struct error *e);
int instance_delete(struct context *context, struct error *e);
int instance_rename(struct context *context, struct error *e);
int instance_copy(struct context *context, struct error *e);
int instance_restore(struct context *context, struct error *e);
int instance_rescue(struct context *context, struct error *e);
int instance_rebuild(struct context *context, struct error *e);
extern const struct option rebuild_options[], rescue_options[], start_options[], stop_options[],
	restart_options[], restore_options[], delete_options[], copy_options[];

int list_run(struct context *context, struct error *e);
int info_run(struct context *context, struct error *e);
extern const struct option list_options[], info_options[];

int exec_run(struct context *context, struct error *e);
int shell_run(struct context *context, struct error *e);
int console_run(struct context *context, struct error *e);
extern const struct option exec_options[], shell_options[], console_options[];

int export_run(struct context *context, struct error *e);
int import_run(struct context *context, struct error *e);
int publish_run(struct context *context, struct error *e);
extern const struct option export_options[], import_options[], publish_options[];

int monitor_run(struct context *context, struct error *e);
int top_run(struct context *context, struct error *e);
int doctor_run(struct context *context, struct error *e);
int query_run(struct context *context, struct error *e);
int metrics_run(struct context *context, struct error *e);
int resources_run(struct context *context, struct error *e);
int version_run(struct context *context, struct error *e);
extern const struct option monitor_options[], top_options[], doctor_options[], query_options[],
	format_options[];

extern const struct verb completion_verbs[], config_verbs[], device_verbs[], file_verbs[],
	image_verbs[], network_verbs[], operation_verbs[], profile_verbs[], project_verbs[],
	server_verbs[], snapshot_verbs[], storage_verbs[], warning_verbs[];
