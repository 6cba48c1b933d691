/* SPDX-License-Identifier: Apache-2.0 */
/*
 * job.c - starts berth-jobs and listens to them.
 *
 * A job is over when its process is: what it said last is read then. So `done` always finds every file closed
 * and every mount of the job gone.
 */
#include "daemon/job.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/channel.h"
#include "base/file.h"
#include "base/log.h"
#include "base/loop.h"
#include "daemon/service.h"
#include "host/process.h"
#include "model/json.h"

struct job {
	struct jobs *jobs;
	struct job *next;
	json_t *task;
	int fds[JOB_FDS_MAX];
	size_t fd_count;
	job_progress_call *progress;
	job_done_call *done;
	void *data;
	bool is_cancelled;
	bool is_running;
	struct process process;
	int channel;
	struct source *child;
	struct source *messages;
	json_t *result;
	int code; /* what it failed with, or 0 */
	bool has_answer;
	struct error why;
};

struct jobs {
	struct loop *loop;
	char *program;
	struct job *first; /* all, in the order of their coming */
	unsigned running;
	bool is_looking; /* a look at the queue is deferred */
};

int jobs_open(struct service *service, struct error *e)
{
	char *program;
	int r = service_program(service, "berth-job", &program, e);
	if (r < 0)
		return r;
	service->jobs = alloc(struct jobs);
	service->jobs->loop = service->loop;
	service->jobs->program = program;
	return 0;
}

static void job_free(struct job *job)
{
	for (struct job **at = &job->jobs->first; *at; at = &(*at)->next)
		if (*at == job) {
			*at = job->next;
			break;
		}
	source_free(job->child);
	source_free(job->messages);
	if (job->channel >= 0)
		close(job->channel);
	if (job->process.pidfd >= 0)
		close(job->process.pidfd);
	for (size_t i = 0; i < job->fd_count; i++)
		close(job->fds[i]);
	json_decref(job->task);
	json_decref(job->result);
	free(job);
}

static void end_process(struct job *job)
{
	int status;
	(void)!process_signal(job->process.pidfd, SIGKILL);
	(void)!process_wait(job->process.pidfd, &status);
}

void jobs_close(struct service *service)
{
	struct jobs *jobs = TAKE_PTR(service->jobs);
	if (!jobs)
		return;
	while (jobs->first) {
		struct job *job = jobs->first;
		if (job->is_running)
			end_process(job);
		job_free(job);
	}
	free(jobs->program);
	free(jobs);
}

/* {"progress": {...}}, {"result": ...} or {"error": {"code", "text"}} */
static void take_message(struct job *job, const char *text, size_t length)
{
	cleanup(json_decref) json_t *message = NULL;
	if (json_parse(text, length, &message, NULL) < 0)
		return;
	json_t *progress = json_object_get(message, "progress");
	json_t *result = json_object_get(message, "result");
	const json_t *error = json_object_get(message, "error");
	if (progress && job->progress && !job->is_cancelled)
		job->progress(job->data, progress);
	if (result) {
		json_decref(job->result);
		job->result = json_incref(result);
		job->has_answer = true;
	}
	if (error) {
		json_int_t code = json_integer_value(json_object_get(error, "code"));
		const char *sentence = json_text(error, "text");
		job->code = code > 0 && code < 4096 ? -(int)code : -EIO;
		job->has_answer = true;
		error_set(&job->why, job->code, "%s", sentence ? sentence : "it gave no reason");
	}
}

static bool read_messages(struct job *job)
{
	static char buffer[CHANNEL_MESSAGE_MAX];
	for (;;) {
		size_t no_fds = 0;
		ssize_t length =
			channel_receive(job->channel, buffer, sizeof(buffer), NULL, &no_fds);
		if (length <= 0)
			return length == -EAGAIN;
		take_message(job, buffer, (size_t)length);
	}
}

static void on_message(void *data, int fd, uint32_t events)
{
	struct job *job = data;
	(void)fd;
	(void)events;
	if (!read_messages(job)) {
		source_free(job->messages);
		job->messages = NULL;
	}
}

static void look_at_queue(void *data);

static void look_soon(struct jobs *jobs)
{
	if (jobs->is_looking)
		return;
	jobs->is_looking = true;
	loop_defer(jobs->loop, look_at_queue, jobs);
}

static void finish(struct job *job)
{
	struct jobs *jobs = job->jobs;
	if (job->is_running)
		jobs->running--;
	job->is_running = false;
	int code = job->is_cancelled ? -ECANCELED : job->code;
	if (job->is_cancelled)
		error_set(&job->why, -ECANCELED, "it was cancelled");
	job->done(job->data, code, job->result, &job->why);
	job_free(job);
	look_soon(jobs);
}

static void on_end(void *data, pid_t pid, int status)
{
	struct job *job = data;
	source_free(TAKE_PTR(job->child));
	(void)pid;
	(void)read_messages(job);
	if (!job->has_answer && !job->is_cancelled) {
		job->code = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? -ENOMEM : -EIO;
		error_set(&job->why, job->code, "berth-job ended without an answer (status 0x%x)",
			(unsigned)status);
		log_error("job ended without an answer status=0x%x", (unsigned)status);
	}
	finish(job);
}

/* More than a message holds goes along as a file. */
static int send_elsewhere(struct job *job, const char *text, size_t length, struct error *e)
{
	int fds[JOB_FDS_MAX + 1];
	cleanup(close) int file = memfd_create("task", MFD_CLOEXEC);
	if (file < 0)
		return error_errno(e, "send the task");
	int r = file_write_all(file, text, length);
	if (r < 0)
		return error_code(e, r, "send the task");
	cleanup(free) char *message = alloc_printf("{\"elsewhere\": %zu}", length);
	for (size_t i = 0; i < job->fd_count; i++)
		fds[i] = job->fds[i];
	fds[job->fd_count] = file;
	r = channel_send(job->channel, message, strlen(message), fds, job->fd_count + 1);
	return r < 0 ? error_code(e, r, "send the task") : 0;
}

static int send_task(struct job *job, struct error *e)
{
	cleanup(free) char *text = json_dumps(job->task, JSON_COMPACT);
	if (!text)
		return error_set(e, -EINVAL, "the task can't be written");
	if (strlen(text) > CHANNEL_MESSAGE_MAX)
		return send_elsewhere(job, text, strlen(text), e);
	int r = channel_send(job->channel, text, strlen(text), job->fds, job->fd_count);
	return r < 0 ? error_code(e, r, "send the task") : 0;
}

static int spawn(struct job *job, struct error *e)
{
	int ends[2];
	int r = channel_pair(ends, e);
	if (r < 0)
		return r;
	job->channel = ends[0];
	cleanup(close) int theirs = ends[1];
	r = send_task(job, e);
	if (r < 0)
		return r;
	const struct process_fd fds[] = { { "channel", theirs } };
	const struct process_options options = {
		.program = job->jobs->program,
		.stdin_fd = -1,
		.stdout_fd = -1,
		.stderr_fd = 2,
		.fds = fds,
		.fd_count = ARRAY_SIZE(fds),
		.die_with_us = true,
	};
	r = process_spawn(&options, &job->process, e);
	if (r < 0)
		return r;
	job->is_running = true;
	job->jobs->running++;
	/* Its copies are in the message now. */
	for (size_t i = 0; i < job->fd_count; i++)
		close(job->fds[i]);
	job->fd_count = 0;
	r = loop_add_child(
		job->jobs->loop, job->process.pid, job->process.pidfd, on_end, job, &job->child);
	if (r == 0)
		r = loop_add_fd(
			job->jobs->loop, job->channel, EPOLLIN, on_message, job, &job->messages);
	if (r == 0)
		return 0;
	end_process(job);
	return error_code(e, r, "watch a job");
}

static void look_at_queue(void *data)
{
	struct jobs *jobs = data;
	jobs->is_looking = false;
	struct job *next;
	for (struct job *job = jobs->first; job; job = next) {
		next = job->next;
		if (job->is_running)
			continue;
		if (job->is_cancelled) {
			finish(job);
			return;
		}
		if (jobs->running >= JOBS_RUNNING_MAX)
			continue;
		job->code = spawn(job, &job->why);
		if (job->code < 0) {
			finish(job);
			return;
		}
	}
}

int job_start(struct service *service, const struct job_options *options, struct job **ret,
	struct error *e)
{
	struct jobs *jobs = service->jobs;
	assert(options->fd_count <= JOB_FDS_MAX);
	struct job *job = alloc(struct job);
	job->jobs = jobs;
	job->task = options->task;
	job->progress = options->progress;
	job->done = options->done;
	job->data = options->data;
	job->channel = job->process.pidfd = -1;
	for (size_t i = 0; i < options->fd_count; i++) {
		int fd = fcntl(options->fds[i], F_DUPFD_CLOEXEC, 3);
		if (fd < 0) {
			int r = error_errno(e, "duplicate a descriptor");
			job_free(job);
			return r;
		}
		job->fds[job->fd_count++] = fd;
	}
	struct job **end = &jobs->first;
	while (*end)
		end = &(*end)->next;
	*end = job;
	look_soon(jobs);
	if (ret)
		*ret = job;
	return 0;
}

void job_cancel(struct job *job)
{
	job->is_cancelled = true;
	if (job->is_running)
		(void)!process_signal(job->process.pidfd, SIGTERM);
	else
		look_soon(job->jobs);
}
