/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attend.c - requests of berthd, answered from the machine.
 */
#include "vmm/attend.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "host/process.h"
#include "runner/console_request.h"
#include "runner/exit_file.h"
#include "vmm/plug.h"
#include "vmm/suspend.h"
#include "vmm/virtio/balloon.h"
#include "vmm/virtio/console.h"
#include "vmm/virtio/memory.h"

static void resize_request(
	struct attendant *a, struct control_peer *peer, const struct runner_header *request)
{
	const struct runner_size *size = (const void *)request;
	{
		bus_guard(&a->assembly->machine->bus);
		virtio_console_resize(a->assembly->console, size->columns, size->rows);
	}
	control_answer_done(peer, request);
}

/* The balloon takes from what it started with; more comes by virtio's memory device. */
static void balloon_request(
	struct attendant *a, struct control_peer *peer, const struct runner_header *request)
{
	const struct runner_number *number = (const void *)request;
	const struct assembly *assembly = a->assembly;
	uint64_t memory = assembly->plan.memory_bytes, max = assembly->plan.memory_max_bytes;
	if (!assembly->balloon) {
		control_answer_error(peer, request, -EOPNOTSUPP, "the machine has no balloon");
		return;
	}
	if (number->value > memory && number->value > max) {
		control_answer_error(
			peer, request, -EINVAL, "more memory than the machine can have");
		return;
	}
	uint64_t less = number->value < memory ? memory - number->value : 0;
	uint64_t more = number->value > memory ? number->value - memory : 0;
	{
		bus_guard(&assembly->machine->bus);
		balloon_set(assembly->balloon, less);
		if (assembly->memory)
			memory_want(assembly->memory, more);
	}
	control_answer_done(peer, request);
}

static void stats_request(
	struct attendant *a, struct control_peer *peer, const struct runner_header *request)
{
	struct runner_stats stats = {
		.header.type = RUNNER_STATS,
		.balloon_bytes = a->assembly->plan.memory_bytes,
		.guest_free_bytes = UINT64_MAX,
		.guest_total_bytes = UINT64_MAX,
	};
	if (a->assembly->memory) {
		bus_guard(&a->assembly->machine->bus);
		stats.balloon_bytes += memory_plugged(a->assembly->memory);
	}
	if (a->assembly->balloon) {
		bus_guard(&a->assembly->machine->bus);
		struct balloon_stats now = balloon_stats(a->assembly->balloon);
		balloon_ask(a->assembly->balloon);
		stats.balloon_bytes -= now.held_bytes;
		stats.guest_free_bytes = now.free_bytes;
		stats.guest_total_bytes = now.total_bytes;
	}
	control_answer(peer, request, &stats, sizeof(stats), NULL, 0);
}

static void pause_request(struct attendant *a, struct control_peer *peer,
	const struct runner_header *request, bool pause)
{
	struct machine *machine = a->assembly->machine;
	if (a->state.status != (pause ? RUNNER_RUNNING : RUNNER_PAUSED)) {
		control_answer_error(peer, request, -EINVAL,
			pause ? "the machine does not run" : "the machine is not paused");
		return;
	}
	if (pause)
		machine_pause(machine);
	else
		machine_resume(machine);
	control_answer_done(peer, request);
	attendant_status(a, pause ? RUNNER_PAUSED : RUNNER_RUNNING);
}

static void answer(struct control_peer *peer, const struct runner_header *request, int r,
	const struct error *e)
{
	if (r < 0)
		control_answer_error(peer, request, r, e->text);
	else
		control_answer_done(peer, request);
}

static int write_state(const struct assembly *assembly, int fd, struct error *e)
{
	struct machine *machine = assembly->machine;
	if (!assembly->keep)
		return suspend_write(machine, fd, 0, e);
	int r = suspend_write(machine, fd, KEEP_DATA_AT, e);
	/* The head last: what has one is whole. */
	return r < 0 ? r : keep_write_head(fd, &assembly->initrd, assembly->plan.memory_bytes, e);
}

/* Saved, the machine stands still: what happened later would be lost, or happen twice. */
static int suspend(struct attendant *a, int fd, struct error *e)
{
	struct machine *machine = a->assembly->machine;
	bool was_paused = machine->is_paused;
	machine_pause(machine);
	int r = write_state(a->assembly, fd, e);
	close(fd);
	if (r < 0 && !was_paused)
		machine_resume(machine);
	else if (r == 0)
		attendant_status(a, RUNNER_PAUSED);
	return r;
}

/* The guest stands still, or says why not. */
static void is_kept(void *data, int code)
{
	struct attendant *a = data;
	struct error e = {};
	int fd = TAKE_FD(a->keep_fd);
	struct control_peer *peer = control_peer_of(a->control, a->keep_peer);
	if (code == 0 && peer) /* else who asked has gone, and does not want it any more */
		code = suspend(a, fd, &e);
	else
		close(fd);
	if (code < 0 && !e.text[0])
		error_set(&e, code,
			code == -ETIMEDOUT ? "keep its state: it did not answer"
					   : "keep its state: its program cannot be kept now");
	keep_here(a->assembly->keep);
	if (peer)
		answer(peer, &a->keep_request, code, &e);
}

/* True: the answer comes later. */
static bool ask_guest(
	struct attendant *a, struct control_peer *peer, const struct runner_header *request, int fd)
{
	struct keep *keep = a->assembly->keep;
	if (!keep || a->assembly->machine->is_paused || a->keep_fd >= 0 ||
		keep_ask(keep, is_kept, a) < 0)
		return false;
	a->keep_peer = control_peer_number(peer);
	a->keep_request = *request;
	a->keep_fd = fd;
	return true;
}

/* A unikernel has to be started so that it can be kept, and at work. */
static int why_not(const struct attendant *a, struct error *e)
{
	if (!a->assembly->plan.is_initrd_mapped)
		return 0;
	if (!a->assembly->keep)
		return error_set(e, -EOPNOTSUPP,
			"its state can be kept if config.migration.stateful was true when it started");
	return error_set(e, -EBUSY, "its state is being kept, or it stands still");
}

static void with_file(struct attendant *a, struct control_peer *peer,
	const struct runner_header *request, const int *fds, size_t fd_count)
{
	struct error e = {};
	int r = -EINVAL;
	if (fd_count != 1) {
		for (size_t i = 0; i < fd_count; i++)
			close(fds[i]);
		error_set(&e, r, "one descriptor is wanted");
	} else if (request->type == RUNNER_PLUG) {
		r = plug_device(a->assembly, (const void *)request, fds[0], &e);
	} else if (ask_guest(a, peer, request, fds[0])) {
		return;
	} else {
		r = why_not(a, &e);
		if (r == 0)
			r = suspend(a, fds[0], &e);
		else
			close(fds[0]);
	}
	answer(peer, request, r, &e);
}

static void device_request(
	struct attendant *a, struct control_peer *peer, const struct runner_header *request)
{
	struct error e = {};
	const struct runner_plug *plug = (const void *)request;
	int r = request->type == RUNNER_UNPLUG ? unplug_device(a->assembly, plug, &e)
					       : plug_set_rates(a->assembly, plug, &e);
	answer(peer, request, r, &e);
}

static void on_request(void *data, struct control_peer *peer, const struct runner_header *request,
	const int *fds, size_t fd_count)
{
	struct attendant *a = data;
	if (!a->assembly) {
		for (size_t i = 0; i < fd_count; i++)
			close(fds[i]);
		control_answer_error(peer, request, -EAGAIN, "the machine is not there yet");
		return;
	}
	if (console_request(a->console, peer, request, fds, fd_count))
		return;
	if (request->type == RUNNER_PLUG || request->type == RUNNER_SUSPEND) {
		with_file(a, peer, request, fds, fd_count);
		return;
	}
	for (size_t i = 0; i < fd_count; i++)
		close(fds[i]);
	switch ((enum runner_type)request->type) {
	case RUNNER_UNPLUG:
	case RUNNER_DISK_RATES:
		device_request(a, peer, request);
		break;
	case RUNNER_SIGNAL:
		control_answer_done(peer, request);
		a->stop(a->data, (int)((const struct runner_number *)(const void *)request)->value);
		break;
	case RUNNER_STOP:
		control_answer_done(peer, request);
		machine_power_button(a->assembly->machine);
		break;
	case RUNNER_RESIZE:
		resize_request(a, peer, request);
		break;
	case RUNNER_PAUSE:
	case RUNNER_RESUME:
		pause_request(a, peer, request, request->type == RUNNER_PAUSE);
		break;
	case RUNNER_RESET:
		control_answer_done(peer, request);
		a->reset(a->data);
		break;
	case RUNNER_BALLOON:
		balloon_request(a, peer, request);
		break;
	case RUNNER_STATS:
		stats_request(a, peer, request);
		break;
	case RUNNER_ATTACH:
	case RUNNER_CONSOLE_LOG:
	case RUNNER_CONSOLE_CLEAR:
	case RUNNER_BEGIN:
	case RUNNER_PLUG:
	case RUNNER_SUSPEND:
	case RUNNER_HELLO:
	case RUNNER_STATE:
	case RUNNER_EVENT:
	case RUNNER_DONE:
	case RUNNER_ERROR:
		control_answer_error(peer, request, -EOPNOTSUPP, "no request for a machine");
		break;
	}
}

static int open_dir(struct attendant *a, struct error *e)
{
	int dir = process_named_fd("dir");
	if (dir == -ENOENT)
		return 0;
	if (dir < 0)
		return error_code(e, dir, "the descriptor dir");
	a->dir = dir;
	return exit_file_open(dir, &a->exit_file, e);
}

/* The host's number of this process, which may be the first one of a PID namespace. */
static int32_t pid_on_host(void)
{
	char text[16] = "";
	uint64_t pid;
	ssize_t length = readlink("/proc/self", text, sizeof(text) - 1);
	return length > 0 && text_to_u64(text, &pid) == 0 ? (int32_t)pid : (int32_t)getpid();
}

int attendant_init(
	struct attendant *attendant, struct loop *loop, uint64_t began_ns, struct error *e)
{
	*attendant = (struct attendant){
		.loop = loop,
		.began_ns = began_ns,
		.dir = -1,
		.exit_file = -1,
		.keep_fd = -1,
		.pidfd = process_open(getpid()),
		.pid = pid_on_host(),
		.state.status = RUNNER_STARTING,
	};
	int r = open_dir(attendant, e);
	int listener = process_named_fd("control"), channel = process_named_fd("channel");
	if (r < 0 || (listener < 0 && channel < 0))
		return r;
	r = control_new(loop, listener, on_request, attendant, &attendant->control, e);
	if (r == 0 && channel >= 0)
		r = control_add(attendant->control, channel);
	return r;
}

void attendant_done(struct attendant *attendant)
{
	console_free(attendant->console);
	control_free(attendant->control);
	if (attendant->exit_file >= 0)
		close(attendant->exit_file);
	if (attendant->keep_fd >= 0)
		close(attendant->keep_fd);
	if (attendant->pidfd >= 0)
		close(attendant->pidfd);
}

static void on_detached(void *data)
{
	attendant_event(data, RUNNER_EVENT_DETACHED, 0);
}

static void put(void *data, const void *bytes, size_t count)
{
	struct attendant *attendant = data;
	console_put(attendant->console, bytes, count);
}

static void input(void *data, const uint8_t *bytes, size_t count)
{
	struct attendant *attendant = data;
	terminal_input(attendant->terminal, bytes, count);
}

int attendant_serve(struct attendant *attendant, struct assembly *assembly,
	struct terminal *terminal, struct error *e)
{
	attendant->assembly = assembly;
	attendant->terminal = terminal;
	if (assembly->plan.console != PLAN_CONSOLE_RUNNER)
		return 0;
	int log = attendant->dir < 0
		? -1
		: openat(attendant->dir, RUNNER_CONSOLE_FILE,
			  O_CREAT | O_TRUNC | O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0600);
	const struct console_options options = {
		.loop = attendant->loop,
		.terminal = -1,
		.log = log,
		.detached = on_detached,
		.data = attendant,
	};
	int r = console_new(&options, &attendant->console, e);
	if (r < 0)
		return r;
	console_set_input(attendant->console, input, attendant);
	terminal_set_output(terminal, put, attendant);
	return 0;
}

void attendant_status(struct attendant *attendant, enum runner_status status)
{
	if (status == RUNNER_RUNNING && attendant->state.started_ns == 0) {
		attendant->state.started_ns = loop_wall_clock();
		attendant->state.start_took_ns = loop_now() - attendant->began_ns;
		attendant->state.pid = attendant->pid;
	}
	attendant->state.status = status;
	if (attendant->control)
		control_set_state(attendant->control, &attendant->state,
			status == RUNNER_EXITED ? -1 : attendant->pidfd);
}

void attendant_event(struct attendant *attendant, enum runner_event_kind kind, uint64_t value)
{
	if (attendant->control)
		control_tell_event(attendant->control, kind, value);
}

void attendant_end(struct attendant *attendant, int wait_status, int code, const char *why)
{
	attendant->state.wait_status = wait_status;
	attendant->state.ended_ns = loop_wall_clock();
	exit_file_write(attendant->exit_file, attendant->dir, &attendant->state, why);
	if (why && attendant->control)
		control_tell_error(attendant->control, code, why);
	attendant_status(attendant, RUNNER_EXITED);
}
