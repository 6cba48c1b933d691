/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - berth-vmm: one virtual machine.
 *
 * The exit status is 0 when the guest turned itself off, 2v+1 after a write of v to the exit port, and
 * 1 with one line on standard error for everything that went wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "host/process.h"
#include "vmm/assemble.h"
#include "vmm/attend.h"
#include "vmm/confine.h"
#include "vmm/engines.h"
#include "vmm/reclaimer.h"
#include "vmm/soft/direct_process.h"
#include "vmm/terminal.h"

#define PLAN_BYTES_MAX (1 * MIB)

struct monitor {
	struct loop *loop;
	struct assembly assembly;
	struct terminal terminal;
	struct attendant attendant;
	struct reclaimer reclaimer;
	struct source *signals[3];
	uint32_t stops; /* how often it was asked to end */
};

static void end(struct monitor *monitor, int status, const char *why)
{
	log_info("machine ended name=%s reason=%s status=%d", monitor->assembly.plan.name, why,
		status);
	attendant_end(&monitor->attendant, (status & 0xff) << 8, 0, NULL);
	loop_stop(monitor->loop, status);
}

static void fail(struct monitor *monitor, const char *text)
{
	log_error("machine failed name=%s: %s", monitor->assembly.plan.name, text);
	attendant_end(&monitor->attendant, 1 << 8, -EIO, text);
	loop_stop(monitor->loop, 1);
}

static void restart(struct monitor *monitor, const char *why)
{
	struct error e = {};
	struct machine *machine = monitor->assembly.machine;
	if (monitor->assembly.plan.exit_on_reset) {
		end(monitor, 0, why);
		return;
	}
	attendant_event(&monitor->attendant, RUNNER_EVENT_REBOOT, 0);
	log_info("machine starts again name=%s reason=%s", monitor->assembly.plan.name, why);
	int r = machine_reset(machine, &e);
	if (r == 0)
		r = assembly_boot(&monitor->assembly, &e);
	if (r == 0)
		r = machine_go(machine, &e);
	if (r < 0)
		fail(monitor, e.text);
}

static void ended(void *data, enum machine_end how, int code)
{
	struct monitor *monitor = data;
	switch (how) {
	case MACHINE_OFF:
		end(monitor, 0, "off");
		break;
	case MACHINE_RESET:
		restart(monitor, "reset");
		break;
	case MACHINE_FAULT:
		restart(monitor, "triple fault");
		break;
	case MACHINE_EXIT:
		end(monitor,
			monitor->assembly.plan.is_exit_plain ? code & 0xff : (code << 1 | 1) & 0xff,
			"exit port");
		break;
	case MACHINE_BROKEN:
		fail(monitor, "the CPU engine cannot go on");
		break;
	}
}

static void stalled(void *data, bool is_stalled)
{
	struct monitor *monitor = data;
	attendant_event(&monitor->attendant, RUNNER_EVENT_ROOM, !is_stalled);
	if (is_stalled)
		log_warning("machine waits for room on its volume name=%s",
			monitor->assembly.plan.name);
	else
		log_info("machine goes on name=%s", monitor->assembly.plan.name);
}

static void rung(void *data)
{
	struct monitor *monitor = data;
	reclaimer_wake(&monitor->reclaimer);
}

/* A vCPU's thread, at its start. */
static void prepare_thread(void *data)
{
	const struct monitor *monitor = data;
	struct error e = {};
	if (!monitor->assembly.plan.is_jailed || confine_cpu_thread(&e) == 0)
		return;
	log_error("machine failed name=%s: %s", monitor->assembly.plan.name, e.text);
	exit(1);
}

static void runner_stop(void *data, int signal)
{
	(void)signal;
	end(data, 0, "stopped");
}

static void runner_reset(void *data)
{
	restart(data, "asked for");
}

/* The first asks the guest by its power button, the second does not ask. */
static void asked_to_stop(void *data, int signal)
{
	struct monitor *monitor = data;
	if (signal == SIGTERM && monitor->stops++ == 0)
		machine_power_button(monitor->assembly.machine);
	else
		end(monitor, 128 + signal, "stopped");
}

static int watch_signals(struct monitor *monitor, struct error *e)
{
	static const int numbers[] = { SIGTERM, SIGINT, SIGHUP };
	static_assert(ARRAY_SIZE(numbers) == ARRAY_SIZE(monitor->signals), "layout");
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		int r = loop_add_signal(
			monitor->loop, numbers[i], asked_to_stop, monitor, &monitor->signals[i]);
		if (r < 0)
			return error_code(e, r, "watch signals");
	}
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

/* From here on the monitor has no rights but to run the guest. */
static int let_go(struct monitor *monitor, struct error *e)
{
	const struct plan *plan = &monitor->assembly.plan;
	struct machine *machine = monitor->assembly.machine;
	struct confine_options options = {
		.uid = plan->uid,
		.dir = monitor->attendant.dir,
	};
	jail_rooms_find(&options.rooms);
	int r = plan->is_jailed ? confine_process(&options, e) : 0;
	jail_rooms_close(&options.rooms);
	if (r == 0)
		r = machine_start(machine, e);
	if (r == 0 && plan->is_jailed)
		r = confine_io_thread(e);
	if (r == 0 && !plan->restore)
		r = machine_go(machine, e);
	else if (r == 0)
		machine_resume(machine);
	if (r == 0)
		attendant_status(&monitor->attendant, RUNNER_RUNNING);
	return r;
}

static int start(struct monitor *monitor, const struct plan *plan, struct error *e)
{
	const struct engine *engine;
	char reason[ENGINE_REASON_SIZE];
	int r = engine_choose(plan->engine, &engine, reason, e);
	if (r < 0)
		return r;
	log_info("engine chosen name=%s engine=%s reason=%s", plan->name, engine->name, reason);
	r = assembly_init(&monitor->assembly, plan, engine, monitor->loop, e);
	if (r == 0)
		r = assembly_boot(&monitor->assembly, e);
	if (r == 0 && plan->restore)
		r = assembly_restore(&monitor->assembly, e);
	if (r == 0)
		r = watch_signals(monitor, e);
	if (r < 0)
		return r;
	struct machine *machine = monitor->assembly.machine;
	machine->ended = ended;
	machine->stalled = stalled;
	machine->prepare_thread = prepare_thread;
	machine->rung = rung;
	machine->data = monitor;
	reclaimer_init(&monitor->reclaimer, &monitor->assembly, monitor->loop);
	bool is_stdio = plan->console == PLAN_CONSOLE_STDIO;
	r = terminal_init(&monitor->terminal, monitor->loop, &machine->serial,
		monitor->assembly.console, is_stdio ? STDIN_FILENO : -1,
		is_stdio ? STDOUT_FILENO : -1, e);
	if (r == 0)
		r = attendant_serve(&monitor->attendant, &monitor->assembly, &monitor->terminal, e);
	return r < 0 ? r : let_go(monitor, e);
}

static int run(const struct plan *plan, uint64_t began_ns, struct error *e)
{
	struct monitor monitor = {};
	int r = loop_new(&monitor.loop, e);
	if (r < 0)
		return r;
	r = attendant_init(&monitor.attendant, monitor.loop, began_ns, e);
	monitor.attendant.stop = runner_stop;
	monitor.attendant.reset = runner_reset;
	monitor.attendant.data = &monitor;
	if (r == 0)
		r = start(&monitor, plan, e);
	if (r < 0)
		attendant_end(&monitor.attendant, 1 << 8, r, e->text);
	if (r == 0)
		r = loop_run(monitor.loop);
	if (r < 0 && !e->text[0])
		error_code(e, r, "the event loop");
	reclaimer_done(&monitor.reclaimer);
	terminal_done(&monitor.terminal);
	attendant_done(&monitor.attendant);
	assembly_done(&monitor.assembly);
	for (size_t i = 0; i < ARRAY_SIZE(monitor.signals); i++)
		source_free(monitor.signals[i]);
	loop_free(monitor.loop);
	return r;
}

static int read_plan(const char *path, json_t **ret, struct plan *plan, struct error *e)
{
	cleanup(free) char *text = NULL;
	json_error_t why;
	int r = file_read(AT_FDCWD, path, PLAN_BYTES_MAX, &text, NULL, e);
	if (r < 0)
		return r;
	json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, &why);
	if (!json)
		return error_set(e, -EINVAL, "%s:%d: %s", path, why.line, why.text);
	r = plan_read(json, plan, e);
	if (r < 0) {
		json_decref(json);
		return error_prefix(e, r, "%s", path);
	}
	*ret = json;
	return 0;
}

/* What `auto` takes on this host, and why. */
static int explain_engine(void)
{
	const struct engine *engine;
	char reason[ENGINE_REASON_SIZE];
	struct error e = {};
	if (engine_choose("auto", &engine, reason, &e) < 0) {
		fprintf(stderr, "berth-vmm: %s\n", e.text);
		return 1;
	}
	printf("%s, because %s\n", engine->name, reason);
	return 0;
}

/* Whether guests' programs can run in processes of their own on this host. */
static int explain_direct(void)
{
	struct error e = {};
	if (direct_process_probe(&e) < 0) {
		fprintf(stderr, "berth-vmm: %s\n", e.text);
		return 1;
	}
	printf("the engine soft runs programs that only compute as they are\n");
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t began_ns = loop_now();
	struct error e = {};
	struct plan plan = {};
	json_t *json = NULL;
	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		plan_print_usage();
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "--explain-engine") == 0)
		return explain_engine();
	if (argc == 2 && strcmp(argv[1], "--explain-direct") == 0)
		return explain_direct();
	int r = argc == 2 && argv[1][0] != '-' ? read_plan(argv[1], &json, &plan, &e)
					       : plan_read_arguments(argc, argv, &plan, &e);
	if (r == 0)
		r = run(&plan, began_ns, &e);
	json_decref(json);
	if (r >= 0)
		return r;
	fprintf(stderr, "berth-vmm: %s\n", e.text);
	return 1;
}
