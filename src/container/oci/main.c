/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - the OCI runtime's command line, as engines call it.
 */
#include "container/oci/main.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/loop.h"
#include "base/text.h"
#include "container/caps.h"
#include "container/filter.h"
#include "container/oci/life.h"
#include "container/oci/resources.h"
#include "container/oci/spec.h"
#include "container/seal.h"
#include "host/cgroup_usage.h"
#include "model/json.h"

#define ROOT_USUAL "/run/berth-container"

struct command {
	const char *root;
	const char *log;
	bool log_is_json;
	int argc; /* of the verb and what is behind it */
	char **argv;
};

/* Options of all verbs; each takes those that its string of letters names. */
struct arguments {
	const char *bundle;
	const char *pid_file;
	const char *console_socket;
	const char *process;
	const char *user;
	const char *cwd;
	const char *format;
	const char *resources;
	const char *preserve;
	json_t *env;
	json_t *caps;
	json_t *limits; /* of update */
	bool detach, force, all, tty, quiet, keep, no_new_privs, stats;
	char **rest;
	int rest_count;
};

enum option_code {
	OPTION_FIRST = 256,
	OPTION_IGNORED_TEXT,
	OPTION_IGNORED,
	OPTION_NO_NEW_PRIVS,
	OPTION_PID_FILE,
	OPTION_CONSOLE,
	OPTION_KEEP,
	OPTION_STATS,
	OPTION_LIMIT
};

static const struct option long_options[] = {
	{ "bundle", required_argument, NULL, 'b' },
	{ "pid-file", required_argument, NULL, OPTION_PID_FILE },
	{ "console-socket", required_argument, NULL, OPTION_CONSOLE },
	{ "preserve-fds", required_argument, NULL, OPTION_IGNORED_TEXT },
	{ "no-pivot", no_argument, NULL, OPTION_IGNORED },
	{ "no-new-keyring", no_argument, NULL, OPTION_IGNORED },
	{ "no-subreaper", no_argument, NULL, OPTION_IGNORED },
	{ "config", required_argument, NULL, OPTION_IGNORED_TEXT },
	{ "apparmor", required_argument, NULL, OPTION_IGNORED_TEXT },
	{ "process-label", required_argument, NULL, OPTION_IGNORED_TEXT },
	{ "detach", no_argument, NULL, 'd' },
	{ "keep", no_argument, NULL, OPTION_KEEP },
	{ "force", no_argument, NULL, 'f' },
	{ "format", required_argument, NULL, 'f' },
	{ "all", no_argument, NULL, 'a' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "process", required_argument, NULL, 'p' },
	{ "tty", no_argument, NULL, 't' },
	{ "user", required_argument, NULL, 'u' },
	{ "cwd", required_argument, NULL, 'w' },
	{ "env", required_argument, NULL, 'e' },
	{ "cap", required_argument, NULL, 'c' },
	{ "no-new-privs", no_argument, NULL, OPTION_NO_NEW_PRIVS },
	{ "resources", required_argument, NULL, 'r' },
	{ "stats", no_argument, NULL, OPTION_STATS },
	{ "interval", required_argument, NULL, OPTION_IGNORED_TEXT },
	{ "memory", required_argument, NULL, OPTION_LIMIT },
	{ "memory-swap", required_argument, NULL, OPTION_LIMIT },
	{ "memory-reservation", required_argument, NULL, OPTION_LIMIT },
	{ "cpu-quota", required_argument, NULL, OPTION_LIMIT },
	{ "cpu-period", required_argument, NULL, OPTION_LIMIT },
	{ "cpu-share", required_argument, NULL, OPTION_LIMIT },
	{ "cpuset-cpus", required_argument, NULL, OPTION_LIMIT },
	{ "cpuset-mems", required_argument, NULL, OPTION_LIMIT },
	{ "pids-limit", required_argument, NULL, OPTION_LIMIT },
	{ "blkio-weight", required_argument, NULL, OPTION_LIMIT },
	{},
};

/* Where an option of `update` stands in linux.resources. */
static const struct {
	const char *option;
	const char *object;
	const char *field;
	bool is_text;
} update_options[] = {
	{ "memory", "memory", "limit", false },
	{ "memory-swap", "memory", "swap", false },
	{ "memory-reservation", "memory", "reservation", false },
	{ "cpu-quota", "cpu", "quota", false },
	{ "cpu-period", "cpu", "period", false },
	{ "cpu-share", "cpu", "shares", false },
	{ "cpuset-cpus", "cpu", "cpus", true },
	{ "cpuset-mems", "cpu", "mems", true },
	{ "pids-limit", "pids", "limit", false },
	{ "blkio-weight", "blockIO", "weight", false },
};

static int take_limit(struct arguments *a, const char *option, const char *value, struct error *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(update_options); i++) {
		if (!text_equal(option, update_options[i].option))
			continue;
		int64_t number = 0;
		if (!update_options[i].is_text && text_to_i64(value, &number) < 0)
			return error_set(e, -EINVAL, "--%s %s: a number is wanted", option, value);
		json_t *object = json_object_get(a->limits, update_options[i].object);
		if (!object) {
			object = json_object();
			json_object_set_new(a->limits, update_options[i].object, object);
		}
		json_object_set_new(object, update_options[i].field,
			update_options[i].is_text ? json_string(value)
						  : json_integer((json_int_t)number));
	}
	return 0;
}

static int take_option(struct arguments *a, const char *verb, int code, int index, struct error *e)
{
	switch (code) {
	case 'b':
		a->bundle = optarg;
		break;
	case OPTION_PID_FILE:
		a->pid_file = optarg;
		break;
	case OPTION_CONSOLE:
		a->console_socket = optarg;
		break;
	case 'd':
		a->detach = true;
		break;
	case OPTION_KEEP:
		a->keep = true;
		break;
	case 'f':
		/* --force of delete, --format of list, ps and state. */
		if (text_equal(verb, "delete"))
			a->force = true;
		else
			a->format = optarg;
		break;
	case 'a':
		a->all = true;
		break;
	case 'q':
		a->quiet = true;
		break;
	case 'p':
		a->process = optarg;
		break;
	case 't':
		a->tty = true;
		break;
	case 'u':
		a->user = optarg;
		break;
	case 'w':
		a->cwd = optarg;
		break;
	case 'e':
		json_array_append_new(a->env, json_string(optarg));
		break;
	case 'c':
		json_array_append_new(a->caps, json_string(optarg));
		break;
	case 'r':
		a->resources = optarg;
		break;
	case OPTION_NO_NEW_PRIVS:
		a->no_new_privs = true;
		break;
	case OPTION_STATS:
		a->stats = true;
		break;
	case OPTION_LIMIT:
		return take_limit(a, long_options[index].name, optarg, e);
	case OPTION_IGNORED:
	case OPTION_IGNORED_TEXT:
		break;
	default:
		return error_set(
			e, -EINVAL, "%s: an option that is not known, or lacks its value", verb);
	}
	return 0;
}

/* `letters` are the short options as of getopt(3); the verb's own argument comes first. */
static int read_arguments(
	const struct command *command, const char *letters, struct arguments *a, struct error *e)
{
	*a = (struct arguments){
		.env = json_array(), .caps = json_array(), .limits = json_object()
	};
	optind = 1;
	opterr = 0;
	/* "+": options of the program that is executed are not ours. */
	for (int code, index = 0; (code = getopt_long(command->argc, command->argv, letters,
					   long_options, &index)) != -1;) {
		int r = take_option(a, command->argv[0], code, index, e);
		if (r < 0)
			return r;
	}
	a->rest = command->argv + optind;
	a->rest_count = command->argc - optind;
	return 0;
}

static void arguments_done_cleanup(struct arguments *a)
{
	json_decref(a->env);
	json_decref(a->caps);
	json_decref(a->limits);
}

static int want_id(const struct arguments *a, const char *verb, int least, struct error *e)
{
	if (a->rest_count >= least)
		return 0;
	return error_set(e, -EINVAL, "%s: %s", verb,
		least == 1 ? "a container's id is wanted" : "more arguments are wanted");
}

static char *absolute(const char *path)
{
	char *real = realpath(path ?: ".", NULL);
	return real ?: alloc_text(path ?: ".");
}

static int make_life(const struct command *command, const struct arguments *a, char *bundle,
	struct life_options *ret)
{
	*ret = (struct life_options){ .root = command->root,
		.id = a->rest_count ? a->rest[0] : "",
		.bundle = bundle,
		.pid_file = a->pid_file,
		.console_socket = a->console_socket,
		.is_detached = a->detach,
		.is_kept = a->keep };
	return 0;
}

static int do_create(const struct command *command, struct error *e)
{
	cleanup(arguments_done) struct arguments a;
	int r = read_arguments(command, "b:", &a, e);
	if (r == 0)
		r = want_id(&a, "create", 1, e);
	if (r < 0)
		return r;
	cleanup(free) char *bundle = absolute(a.bundle);
	struct life_options life;
	(void)make_life(command, &a, bundle, &life);
	life.is_detached = true;
	struct started started;
	return life_create(&life, &started, e);
}

static int do_run(const struct command *command, struct error *e)
{
	cleanup(arguments_done) struct arguments a;
	int r = read_arguments(command, "b:d", &a, e);
	if (r == 0)
		r = want_id(&a, "run", 1, e);
	if (r < 0)
		return r;
	cleanup(free) char *bundle = absolute(a.bundle);
	struct life_options life;
	(void)make_life(command, &a, bundle, &life);
	return life_run(&life, e);
}

static int do_start(const struct command *command, struct error *e)
{
	cleanup(arguments_done) struct arguments a;
	int r = read_arguments(command, "", &a, e);
	if (r == 0)
		r = want_id(&a, "start", 1, e);
	return r < 0 ? r : life_start(command->root, a.rest[0], e);
}

static int do_kill(const struct command *command, struct error *e)
{
	cleanup(arguments_done) struct arguments a;
	int r = read_arguments(command, "a", &a, e);
	if (r == 0)
		r = want_id(&a, "kill", 1, e);
	if (r < 0)
		return r;
	const char *name = a.rest_count > 1 ? a.rest[1] : "TERM";
	int signal = container_signal_number(name);
	if (signal < 0)
		return error_set(e, -EINVAL, "kill: %s is no signal", name);
	return life_kill(command->root, a.rest[0], signal, a.all, e);
}

static int do_delete(const struct command *command, struct error *e)
{
	cleanup(arguments_done) struct arguments a;
	int r = read_arguments(command, "f", &a, e);
	if (r == 0)
		r = want_id(&a, "delete", 1, e);
	return r < 0 ? r : life_delete(command->root, a.rest[0], a.force, e);
}

static int do_state(const struct command *command, struct error *e)
{
	cleanup(arguments_done) struct arguments a;
	cleanup(box_done) struct box box = {};
	int r = read_arguments(command, "f:", &a, e);
	if (r == 0)
		r = want_id(&a, "state", 1, e);
	if (r == 0)
		r = box_open(command->root, a.rest[0], &box, e);
	if (r < 0)
		return r;
	cleanup(free) char *text = box_state_text(&box, box_status(&box), box_pid(&box));
	printf("%s\n", text);
	return 0;
}

static void list_one(
	const struct command *command, const char *id, const struct arguments *a, json_t *all)
{
	cleanup(box_done) struct box box = {};
	if (box_open(command->root, id, &box, NULL) < 0)
		return;
	pid_t pid = box_pid(&box);
	const char *bundle = json_string_value(json_object_get(box.state, "bundle")) ?: "";
	if (a->quiet)
		printf("%s\n", id);
	else if (text_equal(a->format, "json")) {
		cleanup(free) char *text = box_state_text(&box, box_status(&box), pid);
		json_array_append_new(all, json_loads(text, 0, NULL));
	} else
		printf("%-24s %-8d %-10s %s\n", id, pid, box_status(&box), bundle);
}

static int do_list(const struct command *command, struct error *e)
{
	cleanup(arguments_done) struct arguments a;
	int r = read_arguments(command, "qf:", &a, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *all = json_array();
	if (!a.quiet && !text_equal(a.format, "json"))
		printf("%-24s %-8s %-10s %s\n", "ID", "PID", "STATUS", "BUNDLE");
	DIR *stream = opendir(command->root);
	for (struct dirent *entry; stream && (entry = readdir(stream));)
		if (box_is_id(entry->d_name))
			list_one(command, entry->d_name, &a, all);
	if (stream)
		(void)closedir(stream);
	if (text_equal(a.format, "json") && !a.quiet) {
		cleanup(free) char *text = json_dumps(all, JSON_INDENT(2));
		printf("%s\n", text);
	}
	return 0;
}

static int open_group(const struct command *command, const char *id, struct box *box,
	struct cgroup **ret, struct error *e)
{
	int r = box_open(command->root, id, box, e);
	if (r == 0)
		r = box_cgroup(box, ret, e);
	if (r == 0 && !*ret)
		r = error_set(e, -EOPNOTSUPP, "container %s has no cgroup", id);
	return r;
}

static int set_paused(const struct command *command, bool is_paused, struct error *e)
{
	cleanup(arguments_done) struct arguments a;
	cleanup(box_done) struct box box = {};
	cleanup(cgroup_free) struct cgroup *group = NULL;
	int r = read_arguments(command, "", &a, e);
	if (r == 0)
		r = want_id(&a, is_paused ? "pause" : "resume", 1, e);
	if (r == 0)
		r = open_group(command, a.rest[0], &box, &group, e);
	if (r < 0)
		return r;
	const char *status = box_status(&box), *wanted = is_paused ? "running" : "paused";
	if (!text_equal(status, wanted) && !(is_paused && text_equal(status, "created")))
		return error_set(e, -EBUSY, "container %s is %s", a.rest[0], status);
	return is_paused ? cgroup_freeze(group, e) : cgroup_thaw(group, e);
}

static int do_pause(const struct command *command, struct error *e)
{
	return set_paused(command, true, e);
}

static int do_resume(const struct command *command, struct error *e)
{
	return set_paused(command, false, e);
}

static int do_update(const struct command *command, struct error *e)
{
	cleanup(arguments_done) struct arguments a;
	cleanup(box_done) struct box box = {};
	cleanup(cgroup_free) struct cgroup *group = NULL;
	int r = read_arguments(command, "r:", &a, e);
	if (r == 0)
		r = want_id(&a, "update", 1, e);
	if (r == 0)
		r = open_group(command, a.rest[0], &box, &group, e);
	if (r == 0 && a.resources) {
		const char *path = text_equal(a.resources, "-") ? "/dev/stdin" : a.resources;
		json_error_t why;
		json_t *read = json_load_file(path, 0, &why);
		if (!read)
			return error_set(e, -EINVAL, "%s: line %d: %s", path, why.line, why.text);
		json_object_update(read, a.limits);
		json_decref(a.limits);
		a.limits = read;
	}
	return r < 0 ? r : oci_resources_set(group, a.limits, false, e);
}

static int do_ps(const struct command *command, struct error *e)
{
	cleanup(arguments_done) struct arguments a;
	cleanup(box_done) struct box box = {};
	cleanup(cgroup_free) struct cgroup *group = NULL;
	int r = read_arguments(command, "f:", &a, e);
	if (r == 0)
		r = want_id(&a, "ps", 1, e);
	if (r == 0)
		r = open_group(command, a.rest[0], &box, &group, e);
	if (r < 0)
		return r;
	pid_t pids[2048];
	ssize_t count = cgroup_pids(group, pids, ARRAY_SIZE(pids));
	if (count < 0)
		return error_code(e, (int)count, "list the processes");
	bool is_json = text_equal(a.format, "json");
	printf("%s", is_json ? "[" : "PID\n");
	for (ssize_t i = 0; i < count && i < (ssize_t)ARRAY_SIZE(pids); i++)
		printf(is_json ? "%s%d" : "%.0s%d\n", i ? "," : "", pids[i]);
	printf("%s", is_json ? "]\n" : "");
	return 0;
}

static int do_events(const struct command *command, struct error *e)
{
	cleanup(arguments_done) struct arguments a;
	cleanup(box_done) struct box box = {};
	cleanup(cgroup_free) struct cgroup *group = NULL;
	struct cgroup_usage usage;
	int r = read_arguments(command, "", &a, e);
	if (r == 0)
		r = want_id(&a, "events", 1, e);
	if (r == 0 && !a.stats)
		r = error_set(e, -EOPNOTSUPP, "events: only --stats, one time");
	if (r == 0)
		r = open_group(command, a.rest[0], &box, &group, e);
	if (r == 0)
		r = cgroup_usage(group, true, &usage, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *event = json_pack(
		"{s:s, s:s, s:{s:{s:{s:I}}, s:{s:{s:I, s:I, s:I}}, s:{s:I}}}", "type", "stats",
		"id", a.rest[0], "data", "cpu", "usage", "total", (json_int_t)usage.cpu_ns,
		"memory", "usage", "usage", (json_int_t)usage.memory_bytes, "max",
		(json_int_t)usage.memory_peak_bytes, "failcnt", (json_int_t)usage.oom_kills, "pids",
		"current", (json_int_t)usage.processes);
	cleanup(free) char *text = json_dumps(event, 0);
	printf("%s\n", text ?: "");
	return 0;
}

static int set_user(json_t *process, const char *text, struct error *e)
{
	cleanup(free) char *copy = alloc_text(text);
	char *group = strchr(copy, ':');
	uint64_t uid, gid = 0;
	if (group)
		*group++ = '\0';
	if (text_to_u64(copy, &uid) < 0 || uid >= UINT32_MAX ||
		(group && (text_to_u64(group, &gid) < 0 || gid >= UINT32_MAX)))
		return error_set(e, -EINVAL, "--user %s: UID or UID:GID is wanted", text);
	json_object_set_new(process, "user",
		json_pack("{s:I, s:I}", "uid", (json_int_t)uid, "gid", (json_int_t)gid));
	return 0;
}

/* The container's own process with what the command line says in place. */
static int make_process(
	const struct command *command, const struct arguments *a, json_t **ret, struct error *e)
{
	json_error_t why;
	if (a->process) {
		*ret = json_load_file(a->process, JSON_REJECT_DUPLICATES, &why);
		return *ret
			? 0
			: error_set(e, -EINVAL, "%s: line %d: %s", a->process, why.line, why.text);
	}
	cleanup(free) char *path = alloc_printf("%s/%s/config.json", command->root, a->rest[0]);
	cleanup(json_decref) json_t *config = json_load_file(path, 0, &why);
	cleanup(json_decref) json_t *process =
		json_deep_copy(json_object_get(config, "process")) ?: json_object();
	json_t *args = json_array();
	for (int i = 1; i < a->rest_count; i++)
		json_array_append_new(args, json_string(a->rest[i]));
	json_object_set_new(process, "args", args);
	json_object_set_new(process, "terminal", json_boolean(a->tty));
	json_object_del(process, "oomScoreAdj");
	if (a->cwd)
		json_object_set_new(process, "cwd", json_string(a->cwd));
	if (a->no_new_privs)
		json_object_set_new(process, "noNewPrivileges", json_true());
	json_t *env = json_object_get(process, "env");
	if (!env) {
		env = json_array();
		json_object_set_new(process, "env", env);
	}
	json_array_extend(env, a->env);
	static const char *const sets[] = { "bounding", "effective", "permitted" };
	json_t *caps = json_object_get(process, "capabilities");
	for (size_t i = 0; i < ARRAY_SIZE(sets) && caps && json_array_size(a->caps); i++) {
		json_t *set = json_object_get(caps, sets[i]);
		if (set)
			json_array_extend(set, a->caps);
		else
			json_object_set(caps, sets[i], a->caps);
	}
	int r = a->user ? set_user(process, a->user, e) : 0;
	if (r == 0)
		*ret = json_incref(process);
	return r;
}

static int do_exec(const struct command *command, struct error *e)
{
	cleanup(arguments_done) struct arguments a;
	int r = read_arguments(command, "+p:tdu:w:e:c:", &a, e);
	if (r == 0)
		r = want_id(&a, "exec", 1, e);
	if (r == 0 && !a.process)
		r = want_id(&a, "exec", 2, e);
	if (r == 0 && !box_is_id(a.rest[0]))
		r = error_set(e, -EINVAL, "container id \"%.100s\": no id", a.rest[0]);
	if (r < 0)
		return r;
	struct life_exec_options options = {};
	(void)make_life(command, &a, NULL, &options.life);
	cleanup(json_decref) json_t *process = NULL;
	r = make_process(command, &a, &process, e);
	options.process = process;
	return r < 0 ? r : life_exec(&options, e);
}

static int do_spec(const struct command *command, struct error *e)
{
	cleanup(arguments_done) struct arguments a;
	int r = read_arguments(command, "b:", &a, e);
	if (r < 0)
		return r;
	cleanup(free) char *path = alloc_printf("%s/config.json", a.bundle ?: ".");
	cleanup(close) int file = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
	if (file < 0)
		return error_errno(e, "make %s", path);
	r = file_write_all(file, oci_spec_text, strlen(oci_spec_text));
	return r < 0 ? error_code(e, r, "write %s", path) : 0;
}

static int do_features(const struct command *command, struct error *e)
{
	(void)command;
	cleanup(json_decref) json_t *features = json_loads(oci_features_text, 0, NULL);
	json_t *linux_ = json_object_get(features, "linux");
	json_t *caps = json_array();
	for (unsigned int i = 0; caps_name(i); i++)
		json_array_append_new(caps, json_string(caps_name(i)));
	json_object_set_new(linux_, "capabilities", caps);
	cleanup(cgroups_free) struct cgroups *cgroups = NULL;
	bool has_v1 = false, has_v2 = false;
	if (cgroups_open(&cgroups, NULL) == 0) {
		uint32_t have = cgroups_have(cgroups);
		has_v2 = have & CGROUP_BIT(CGROUP_UNIFIED);
		for (unsigned int i = 0; i < CGROUP_UNIFIED; i++)
			has_v1 |= (have & CGROUP_BIT(i)) && !cgroups_is_v2(cgroups, i);
	}
	json_object_set_new(linux_, "cgroup",
		json_pack("{s:b, s:b, s:b, s:b, s:b}", "v1", has_v1, "v2", has_v2, "systemd", 0,
			"systemdUser", 0, "rdma", 0));
	cleanup(free) char *text = json_dumps(features, JSON_INDENT(2));
	if (!text)
		return error_set(e, -EIO, "features");
	printf("%s\n", text);
	return 0;
}

static const struct {
	const char *name;
	int (*run)(const struct command *command, struct error *e);
} verbs[] = {
	{ "create", do_create },
	{ "start", do_start },
	{ "run", do_run },
	{ "exec", do_exec },
	{ "state", do_state },
	{ "kill", do_kill },
	{ "delete", do_delete },
	{ "list", do_list },
	{ "ps", do_ps },
	{ "pause", do_pause },
	{ "resume", do_resume },
	{ "update", do_update },
	{ "events", do_events },
	{ "spec", do_spec },
	{ "features", do_features },
};

/* --root DIR and --root=DIR of the options that stand before the verb. */
static int read_globals(int argc, char **argv, struct command *ret, struct error *e)
{
	static const struct option options[] = {
		{ "root", required_argument, NULL, 'r' },
		{ "log", required_argument, NULL, 'l' },
		{ "log-format", required_argument, NULL, 'f' },
		{ "log-level", required_argument, NULL, 'i' },
		{ "cgroup-manager", required_argument, NULL, 'i' },
		{ "rootless", required_argument, NULL, 'i' },
		{ "systemd-cgroup", no_argument, NULL, 'i' },
		{ "debug", no_argument, NULL, 'i' },
		{ "version", no_argument, NULL, 'v' },
		{},
	};
	*ret = (struct command){ .root = ROOT_USUAL };
	opterr = 0;
	for (int code; (code = getopt_long(argc, argv, "+v", options, NULL)) != -1;) {
		if (code == 'r')
			ret->root = optarg;
		else if (code == 'l')
			ret->log = optarg;
		else if (code == 'f')
			ret->log_is_json = text_equal(optarg, "json");
		else if (code == 'v') {
			printf("berth-container version 0.1.0\nspec: 1.1.0\n");
			exit(0);
		} else if (code == '?')
			return error_set(
				e, -EINVAL, "an option that is not known: %s", argv[optind - 1]);
	}
	ret->argv = argv + optind;
	ret->argc = argc - optind;
	return 0;
}

static void tell(const struct command *command, const char *text)
{
	(void)fprintf(stderr, "berth-container: %s\n", text);
	if (!command->log)
		return;
	cleanup(close) int log =
		open(command->log, O_CREAT | O_APPEND | O_WRONLY | O_CLOEXEC, 0600);
	if (log < 0)
		return;
	char now[TEXT_TIME_SIZE];
	text_format_time(loop_wall_clock(), now);
	cleanup(free) char *line = NULL;
	if (command->log_is_json) {
		cleanup(json_decref) json_t *object =
			json_pack("{s:s, s:s, s:s}", "level", "error", "msg", text, "time", now);
		cleanup(free) char *json = json_dumps(object, 0);
		line = alloc_printf("%s\n", json ?: "");
	} else {
		line = alloc_printf("time=\"%s\" level=error msg=\"%s\"\n", now, text);
	}
	(void)!write(log, line, strlen(line));
}

int oci_main(int argc, char **argv)
{
	struct command command;
	struct error e = {};
	char **all = argv;
	int r = read_globals(argc, argv, &command, &e);
	const char *verb = r == 0 && command.argc > 0 ? command.argv[0] : "";
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(verbs); i++) {
		if (!text_equal(verb, verbs[i].name))
			continue;
		/* A container of a bundle may be root of the host: never by the host's file of us. */
		if (i < 4)
			r = seal_program(all, &e);
		if (r == 0)
			r = verbs[i].run(&command, &e);
		(void)fflush(stdout);
		if (r < 0)
			tell(&command, e.text);
		return r < 0 ? (text_equal(verb, "exec") && r == -ENOENT ? 127 : 1) : r;
	}
	if (r == 0)
		error_set(&e, -EINVAL, "there is no command \"%s\"", verb);
	tell(&command, e.text);
	return 2;
}
