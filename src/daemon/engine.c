/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine.c - which engine costs unikernels less on this host: measured once for what the host is, and kept in DIR.
 *
 * Theory of operation. A program of ours measures, in a process of its own, while the daemon does its work; what it says is
 * kept with the processor, the kernel and the kind of KVM that it holds for. No start waits for it: until it is known,
 * unikernels are processes.
 */
#include "daemon/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "host/process.h"
#include "model/json.h"

#define ANSWER_MAX  4096
#define CPUINFO_MAX MIB
#define PATIENCE_NS (60 * NS_PER_SEC)
#define UNKNOWN     "it has not been measured yet"

struct engine {
	struct service *service;
	json_t *choice; /* {"version", "host", "engine", "why", ...}; NULL: unknown */
	struct process process;
	struct source *child, *timer;
	int answer;
};

/* The first processor's name: its line of /proc/cpuinfo. */
static json_t *processor(void)
{
	cleanup(free) char *text = NULL;
	size_t length;
	if (file_read(AT_FDCWD, "/proc/cpuinfo", CPUINFO_MAX, &text, &length, NULL) < 0)
		return json_string("");
	const char *line = strstr(text, "model name");
	return line ? json_stringn(line, strcspn(line, "\n")) : json_string("");
}

/* What KVM there is, and whether it stands on another one. */
static json_t *kind_of_kvm(void)
{
	static const char *const paths[] = { "/dev/kvm", "/sys/module/kvm_intel",
		"/sys/module/kvm_amd", "/sys/module/kvm_pvm", "/sys/hypervisor/type" };
	cleanup(text_done) struct text text = {};
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		if (access(paths[i], F_OK) == 0)
			text_printf(&text, "%s%s", text.length ? " " : "", paths[i]);
	return json_string(text_str(&text));
}

static json_t *host_json(void)
{
	struct utsname name = {};
	(void)uname(&name);
	return json_pack("{s:o, s:s, s:s, s:o}", "cpu", processor(), "kernel", name.release,
		"build", name.version, "kvm", kind_of_kvm());
}

static bool is_choice(const json_t *json)
{
	const char *engine = json_text(json, "engine") ?: "";
	return json_text(json, "why") &&
		(text_equal(engine, "process") || text_equal(engine, "kvm"));
}

/* What was measured before, if it is of this host. */
static json_t *read_kept(const struct service *service)
{
	cleanup(free) char *text = NULL;
	cleanup(json_decref) json_t *host = host_json();
	json_t *kept = NULL;
	size_t length;
	if (file_read(service->dir, ENGINE_FILE, ANSWER_MAX, &text, &length, NULL) < 0 ||
		json_parse(text, length, &kept, NULL) < 0)
		return NULL;
	if (is_choice(kept) && json_equal(json_object_get(kept, "host"), host))
		return kept;
	json_decref(kept);
	return NULL;
}

static void keep(struct engine *engine, json_t *choice)
{
	struct error e = {};
	json_object_set_new(choice, "host", host_json());
	cleanup(free) char *text = json_dumps(choice, JSON_COMPACT);
	if (!text ||
		file_replace(engine->service->dir, ENGINE_FILE, text, strlen(text), 0600, &e) < 0)
		log_error("the measured engine is not kept: %s", e.text);
	json_decref(engine->choice);
	engine->choice = choice;
	log_info("engine measured unikernels=%s: %s", json_text(choice, "engine"),
		json_text(choice, "why"));
}

static void let_go(struct engine *engine)
{
	source_free(TAKE_PTR(engine->child));
	source_free(TAKE_PTR(engine->timer));
	if (engine->process.pidfd >= 0)
		close(TAKE_FD(engine->process.pidfd));
	if (engine->answer >= 0)
		close(TAKE_FD(engine->answer));
}

static void measured(void *data, pid_t pid, int status)
{
	struct engine *engine = data;
	char text[ANSWER_MAX];
	json_t *choice = NULL;
	(void)pid;
	ssize_t length = pread(engine->answer, text, sizeof(text), 0);
	if (status == 0 && length > 0 && json_parse(text, (size_t)length, &choice, NULL) == 0 &&
		is_choice(choice)) {
		keep(engine, choice);
	} else {
		log_warning("the engines could not be measured status=%d", status);
		json_decref(choice);
	}
	let_go(engine);
}

static void too_slow(void *data)
{
	const struct engine *engine = data;
	(void)!process_signal(engine->process.pidfd, SIGKILL);
}

static int measure(struct engine *engine, struct error *e)
{
	cleanup(free) char *program = NULL;
	struct loop *loop = engine->service->loop;
	int r = service_program(engine->service, "berth-tender-run", &program, e);
	if (r < 0)
		return r;
	const char *const args[] = { program, "--measure-engine", NULL };
	engine->answer = memfd_create("engine", MFD_CLOEXEC);
	if (engine->answer < 0)
		return error_errno(e, "make a file in memory");
	r = process_spawn(&(struct process_options){ .program = program,
				  .args = args,
				  .stdin_fd = -1,
				  .stdout_fd = engine->answer,
				  .stderr_fd = STDERR_FILENO,
				  .die_with_us = true },
		&engine->process, e);
	if (r < 0) {
		engine->process.pidfd = -1;
		return r;
	}
	engine->timer = loop_add_timer(loop, too_slow, engine);
	timer_set_after(engine->timer, PATIENCE_NS);
	r = loop_add_child(
		loop, engine->process.pid, engine->process.pidfd, measured, engine, &engine->child);
	return r < 0 ? error_code(e, r, "watch %s", program) : 0;
}

int engine_start(struct service *service, struct error *e)
{
	struct error why = {};
	struct engine *engine = alloc(struct engine);
	(void)e;
	*engine = (struct engine){ .service = service, .process.pidfd = -1, .answer = -1 };
	service->engine = engine;
	engine->choice = read_kept(service);
	if (!engine->choice && measure(engine, &why) < 0) {
		log_warning("the engines could not be measured: %s", why.text);
		let_go(engine);
	}
	return 0;
}

void engine_stop(struct service *service)
{
	struct engine *engine = TAKE_PTR(service->engine);
	if (!engine)
		return;
	let_go(engine);
	json_decref(engine->choice);
	free(engine);
}

const char *engine_measured(const struct service *service)
{
	return json_text(service->engine->choice, "engine") ?: "process";
}

const char *engine_why(const struct service *service)
{
	return json_text(service->engine->choice, "why") ?: UNKNOWN;
}
