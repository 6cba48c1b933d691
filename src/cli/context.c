/* SPDX-License-Identifier: Apache-2.0 */
/*
 * context.c - requests, and the waiting for what they start.
 *
 * Waiting is the server's long poll: one request, no subscription, nothing to miss. Only on a terminal,
 * where a person wants to see progress, is the operation asked for again and again after a second.
 */
#include "cli/context.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>

#define POLL_MS 150

const char *context_argument(const struct context *context, unsigned i)
{
	return i < context->options.argument_count ? context->options.arguments[i] : NULL;
}

int context_open(struct context *context, struct error *e)
{
	if (context->remote)
		return 0;
	const char *server = options_text(&context->options, "server");
	const char *project = options_text(&context->options, "project");
	return remote_open(
		&(struct remote_options){
			.server = server ? server : getenv("BERTH_SERVER"),
			.project = project ? project : getenv("BERTH_PROJECT"),
			.is_traced = options_flag(&context->options, "debug"),
		},
		&context->remote, e);
}

int context_send(struct context *context, const struct client_request *request, struct answer *ret,
	struct error *e)
{
	int r = context_open(context, e);
	return r < 0 ? r : remote_send(context->remote, request, ret, e);
}

int context_get(
	struct context *context, const char *path, json_t **ret, char **ret_etag, struct error *e)
{
	cleanup(answer_done) struct answer answer = {};
	int r = context_send(context,
		&(struct client_request){ .method = "GET",
			.target = path,
			.interrupt = context->interrupt > 0 ? context->interrupt : 0 },
		&answer, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(answer.metadata);
	if (ret_etag)
		*ret_etag = TAKE_PTR(answer.etag);
	return 0;
}

static void interrupt_signals(sigset_t *signals)
{
	sigemptyset(signals);
	sigaddset(signals, SIGINT);
	sigaddset(signals, SIGTERM);
	sigaddset(signals, SIGHUP);
}

int context_alert(struct context *context, struct error *e)
{
	sigset_t signals;
	interrupt_signals(&signals);
	if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
		return error_errno(e, "sigprocmask");
	context->interrupt = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	return context->interrupt < 0 ? error_errno(e, "signalfd") : 0;
}

void context_calm(struct context *context)
{
	if (context->interrupt < 0)
		return;
	struct signalfd_siginfo info;
	while (read(context->interrupt, &info, sizeof(info)) > 0)
		continue;
	close(TAKE_FD(context->interrupt));
	sigset_t signals;
	interrupt_signals(&signals);
	sigprocmask(SIG_UNBLOCK, &signals, NULL);
}

/* The first member of the operation's metadata that tells of progress, and its percentage or 101. */
static const char *progress_of(json_t *operation, unsigned *ret_percent)
{
	json_t *metadata = json_object_get(operation, "metadata");
	const char *percent = json_string_value(
		json_object_get(json_object_get(metadata, "progress"), "percent"));
	uint64_t number = 101;
	if (!percent || text_to_u64(percent, &number) < 0 || number > 100)
		number = 101;
	*ret_percent = (unsigned)number;
	const char *key;
	json_t *value;
	json_object_foreach(metadata, key, value) if (text_ends(key, "_progress") &&
		json_is_string(value)) return json_string_value(value);
	return NULL;
}

static int cancel(struct context *context, const char *operation, const char *what, struct error *e)
{
	struct signalfd_siginfo info;
	while (read(context->interrupt, &info, sizeof(info)) > 0)
		continue;
	cleanup(answer_done) struct answer answer = {};
	struct error refusal = {};
	int r = context_send(context,
		&(struct client_request){ .method = "DELETE", .target = operation }, &answer,
		&refusal);
	if (r < 0)
		return error_set(
			e, -EINTR, "%s: can't be cancelled and goes on: %s", what, refusal.text);
	return error_set(e, -EINTR, "%s: cancelled", what);
}

/* One look at the operation: the server answers when it has ended, or at once after a second. */
static int look(
	struct context *context, const char *operation, bool is_slow, json_t **ret, struct error *e)
{
	cleanup(free) char *path = NULL;
	if (is_slow) {
		struct pollfd wait = { .fd = context->interrupt, .events = POLLIN };
		if (poll(&wait, 1, POLL_MS) > 0)
			return -EINTR;
		path = alloc_text(operation);
	} else {
		path = alloc_printf(
			"%s/wait?timeout=%d", operation, context->progress.is_on ? 1 : -1);
	}
	return context_get(context, path, ret, NULL, e);
}

/* 0 while it runs, 1 when it is done, or its error. */
static int verdict(json_t *operation, const char *what, struct error *e)
{
	json_int_t code = json_integer_value(json_object_get(operation, "status_code"));
	const char *text = json_string_value(json_object_get(operation, "err"));
	if (code == 200)
		return 1;
	if (code == 401)
		return error_set(e, -ECANCELED, "%s: cancelled", what);
	if (code >= 400)
		return error_set(e, -EIO, "%s", text && *text ? text : "the operation failed");
	return 0;
}

static int wait_alert(struct context *context, const char *operation, const char *what,
	json_t **ret, struct error *e)
{
	/* Its URL may carry a query; what is behind it is ours. */
	cleanup(free) char *path = alloc_text_n(operation, strcspn(operation, "?"));
	for (bool is_slow = false;; is_slow = context->progress.is_on) {
		cleanup(json_decref) json_t *found = NULL;
		int r = look(context, path, is_slow, &found, e);
		if (r == -EINTR)
			return cancel(context, path, what, e);
		if (r < 0)
			return r;
		r = verdict(found, what, e);
		if (r != 0) {
			if (ret)
				*ret = TAKE_PTR(found);
			return r < 0 ? r : 0;
		}
		unsigned percent = 101;
		const char *note = progress_of(found, &percent);
		progress_show(&context->progress, what, note, percent);
	}
}

int context_wait(struct context *context, const char *operation, const char *what, json_t **ret,
	struct error *e)
{
	bool is_ours = context->interrupt < 0;
	if (is_ours) {
		int r = context_alert(context, e);
		if (r < 0)
			return r;
	}
	int r = wait_alert(context, operation, what, ret, e);
	progress_clear(&context->progress);
	if (is_ours)
		context_calm(context);
	return r;
}

int context_change_request(struct context *context, const struct client_request *request,
	const char *what, json_t **ret, struct error *e)
{
	int r = context_alert(context, e);
	if (r < 0)
		return r;
	struct client_request sent = *request;
	sent.interrupt = context->interrupt;
	cleanup(answer_done) struct answer answer = {};
	r = context_send(context, &sent, &answer, e);
	progress_clear(&context->progress);
	if (r == -EINTR)
		error_set(e, r, "%s: interrupted", what);
	json_int_t code = json_integer_value(json_object_get(answer.metadata, "status_code"));
	if (r == 0 && answer.operation && code < 200)
		r = context_wait(context, answer.operation, what, ret, e);
	else if (r == 0 && answer.operation && code >= 400)
		r = verdict(answer.metadata, what, e);
	else if (r == 0 && ret)
		*ret = TAKE_PTR(answer.metadata);
	context_calm(context);
	return r;
}

int context_change(struct context *context, const char *method, const char *path, json_t *body,
	const char *if_match, const char *what, json_t **ret, struct error *e)
{
	char *json = body ? json_dumps(body, JSON_COMPACT) : NULL;
	json_decref(body);
	cleanup(free) char *owned = json;
	cleanup(free) char *match = if_match ? alloc_printf("If-Match: %s", if_match) : NULL;
	const char *headers[] = { match, NULL };
	return context_change_request(context,
		&(struct client_request){
			.method = method, .target = path, .json = json, .headers = headers },
		what, ret, e);
}

void context_note(struct context *context, const char *format, ...)
{
	if (context->is_quiet)
		return;
	va_list args;
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}
