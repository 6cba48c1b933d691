/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - berth-metal: the process of one server; what berthd asks on one side, its BMC on the other.
 *
 * It has no rights but its sockets: what a BMC sends is read here and nowhere else. It ends with the channel
 * to berthd.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include <curl/curl.h>

#include "abi/metal.h"
#include "abi/runner.h"
#include "base/channel.h"
#include "base/file.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/text.h"
#include "host/jail.h"
#include "host/process.h"
#include "metal/desk.h"
#include "metal/drivers.h"
#include "metal/quirk.h"
#include "model/json.h"
#include "runner/console.h"

#define AUTHORITIES_FILE "/etc/ssl/certs/ca-certificates.crt"
#define AUTHORITIES_MAX  (4 * MIB)
#define CONSOLE_AGAIN_NS (2 * NS_PER_SEC)
#define CONSOLE_LAST_NS  (30 * NS_PER_SEC)
#define CONSOLE_LOG_MAX  (1 * MIB)
#define EVENTS_EVERY     20 /* polls: a log is long, and grows slowly */

struct metal {
	struct loop *loop;
	int channel;
	struct source *messages;
	struct bmc *bmc;
	struct desk *desk;
	struct console *console;
	struct source *poll, *console_again;
	uint64_t poll_ns, polls;
	uint64_t again_ns; /* longer each time that the console does not open */
	json_t *events;    /* how many there were; NULL: not known */
	json_t *told;      /* the last event */
	json_t *polled;
	bool is_lost;
};

/* Who asked. */
struct asking {
	struct metal *metal;
	uint32_t serial;
	bool is_identity;
};

static void put(
	struct metal *metal, enum metal_type type, uint32_t serial, int code, const json_t *body)
{
	cleanup(free) char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	size_t length = text ? strlen(text) : 0;
	struct metal_header header = {
		.version = METAL_VERSION, .type = (uint16_t)type, .serial = serial, .code = code
	};
	if (length > METAL_MESSAGE_MAX - sizeof(header)) {
		length = 0;
		header.code = code ?: -E2BIG;
	}
	header.length = (uint32_t)(sizeof(header) + length);
	struct iovec parts[] = { { &header, sizeof(header) }, { text, length } };
	int r = channel_send_iov(metal->channel, parts, length ? 2 : 1, NULL, 0);
	if (r < 0 && r != -EPIPE)
		log_warning("berthd is not told code=%d", r);
}

static void put_error(struct metal *metal, uint32_t serial, int code, const struct error *e)
{
	cleanup(json_decref) json_t *body = json_pack("{s:s}", "error", e->text);
	put(metal, METAL_ANSWER, serial, code, body);
}

static void asked(void *data, int code, json_t *result, const struct error *e)
{
	struct asking *asking = data;
	if (code < 0) {
		put_error(asking->metal, asking->serial, code, e);
	} else {
		if (asking->is_identity && asking->metal->bmc->quirks) {
			cleanup(free) char *names = quirk_names(asking->metal->bmc->quirks);
			json_set_text(result, "quirks", names);
		}
		put(asking->metal, METAL_ANSWER, asking->serial, 0, result);
	}
	free(asking);
}

/* The last output as hex: a console's bytes are no text. */
static void answer_log(struct metal *metal, uint32_t serial)
{
	static uint8_t bytes[RUNNER_CONSOLE_MAX / 2];
	size_t count = metal->console ? console_last(metal->console, bytes, sizeof(bytes)) : 0;
	cleanup(free) char *hex = alloc_array(2 * count + 1, char);
	text_hex(bytes, count, hex);
	cleanup(json_decref) json_t *body = json_pack("{s:s}", "text", hex);
	put(metal, METAL_ANSWER, serial, 0, body);
}

static void ask(struct metal *metal, uint32_t serial, const json_t *request)
{
	struct error e = {};
	if (text_equal(json_text(request, "do"), "log")) {
		answer_log(metal, serial);
		return;
	}
	struct asking *asking = alloc(struct asking);
	*asking =
		(struct asking){ metal, serial, text_equal(json_text(request, "do"), "identity") };
	int r = desk_ask(metal->desk, request, asked, asking, &e);
	if (r < 0) {
		free(asking);
		put_error(metal, serial, r, &e);
	}
}

static void attach(struct metal *metal, uint32_t serial, const json_t *request, int fd)
{
	struct error e = {};
	int r = metal->console ? console_attach(metal->console, fd,
					 json_is_true(json_object_get(request, "steal")),
					 json_is_true(json_object_get(request, "replay")))
			       : -EOPNOTSUPP;
	if (r == 0) {
		put(metal, METAL_ANSWER, serial, 0, NULL);
		return;
	}
	close(fd);
	error_set(&e, r,
		r == -EBUSY ? "somebody is at the console"
			    : "the server's BMC driver carries no console");
	put_error(metal, serial, r, &e);
}

static void output(void *data, const void *bytes, size_t length)
{
	struct metal *metal = data;
	metal->again_ns = CONSOLE_AGAIN_NS;
	console_put(metal->console, bytes, length);
}

static void open_later(struct metal *metal)
{
	timer_set_after(metal->console_again, metal->again_ns);
	metal->again_ns *= 2;
	if (metal->again_ns > CONSOLE_LAST_NS)
		metal->again_ns = CONSOLE_LAST_NS;
}

static void console_closed(void *data, const char *why)
{
	struct metal *metal = data;
	log_debug("console closed: %s", why);
	open_later(metal);
}

static void open_console(void *data)
{
	struct metal *metal = data;
	struct error e = {};
	struct bmc_console_calls calls = { output, console_closed, metal };
	if (metal->bmc->driver->console_open(metal->bmc, &calls, &e) < 0)
		open_later(metal);
}

static void input(void *data, const uint8_t *bytes, size_t length)
{
	struct metal *metal = data;
	metal->bmc->driver->console_write(metal->bmc, bytes, length);
}

static void tell(struct metal *metal, json_t *event)
{
	if (!json_equal(event, metal->told))
		put(metal, METAL_EVENT, 0, 0, event);
	json_decref(metal->told);
	metal->told = event;
}

static void polled(struct metal *metal)
{
	json_t *event = TAKE_PTR(metal->polled);
	if (metal->events)
		json_object_set(event, "events", metal->events);
	tell(metal, event);
	timer_set_after(metal->poll, metal->poll_ns);
}

static void events_polled(void *data, int code, json_t *result, const struct error *e)
{
	struct metal *metal = data;
	(void)e;
	if (code == 0) {
		json_decref(metal->events);
		metal->events = json_integer(
			(json_int_t)json_array_size(json_object_get(result, "events")));
	}
	polled(metal);
}

static void sensors_polled(void *data, int code, json_t *result, const struct error *e)
{
	struct metal *metal = data;
	cleanup(json_decref) json_t *events = json_pack("{s:s}", "do", "events");
	(void)e;
	if (code == 0)
		json_object_update(metal->polled, result);
	/* Not with the first poll: many servers begin at once. */
	if (++metal->polls % EVENTS_EVERY != 2 ||
		desk_ask(metal->desk, events, events_polled, metal, NULL) < 0)
		polled(metal);
}

static void state_polled(void *data, int code, json_t *result, const struct error *e)
{
	static const char request[] = "{\"do\": \"sensors\"}";
	struct metal *metal = data;
	cleanup(json_decref) json_t *sensors = json_loads(request, 0, NULL);
	if (code < 0) {
		tell(metal, json_pack("{s:s}", "lost", e->text));
		timer_set_after(metal->poll, metal->poll_ns);
		return;
	}
	metal->polled = json_copy(result);
	if (desk_ask(metal->desk, sensors, sensors_polled, metal, NULL) < 0)
		sensors_polled(metal, -EBUSY, NULL, NULL);
}

static void poll_now(void *data)
{
	struct metal *metal = data;
	cleanup(json_decref) json_t *state = json_pack("{s:s}", "do", "state");
	/* Whoever asks goes first. */
	if (!desk_is_idle(metal->desk) ||
		desk_ask(metal->desk, state, state_polled, metal, NULL) < 0)
		timer_set_after(metal->poll, metal->poll_ns);
}

static int read_options(const json_t *body, struct bmc_options *options, const char **ret_driver,
	uint64_t *ret_poll_ms, uint64_t *ret_deadline_ms, struct error *e)
{
	uint64_t port = 0, cipher = 0;
	int r = json_require_text(body, "", "driver", ret_driver, e);
	if (r == 0)
		r = json_require_text(body, "", "address", &options->address, e);
	if (r == 0)
		r = json_read_u64(body, "", "port", &port, e);
	if (r == 0)
		r = json_read_text(body, "", "system", &options->system, e);
	if (r == 0)
		r = json_read_text(body, "", "user", &options->user, e);
	if (r == 0)
		r = json_read_text(body, "", "password", &options->password, e);
	if (r == 0)
		r = json_read_text(body, "", "tls", &options->tls, e);
	if (r == 0)
		r = json_read_u64(body, "", "cipher", &cipher, e);
	if (r == 0)
		r = json_read_u64(body, "", "poll_ms", ret_poll_ms, e);
	if (r == 0)
		r = json_read_u64(body, "", "deadline_ms", ret_deadline_ms, e);
	if (r == 0 && port > UINT16_MAX)
		r = error_set(e, -EINVAL, "port: at most %d", UINT16_MAX);
	options->port = (uint16_t)port;
	options->cipher = cipher > UINT16_MAX ? UINT16_MAX : (unsigned int)cipher;
	options->system = options->system && options->system[0] ? options->system : NULL;
	options->tls = options->tls && options->tls[0] ? options->tls : NULL;
	return r;
}

static int open_bmc(struct metal *metal, const json_t *body, int log, struct error *e)
{
	struct bmc_options options = { .loop = metal->loop, .user = "", .password = "" };
	cleanup(free) char *authorities = NULL;
	const char *driver_name = NULL;
	uint64_t poll_ms = 0, deadline_ms = 0;
	int r = read_options(body, &options, &driver_name, &poll_ms, &deadline_ms, e);
	const struct bmc_driver *driver = NULL;
	if (r == 0)
		r = drivers_find(driver_name, &driver, e);
	if (r < 0)
		return r;
	/* Before the door is shut. */
	if ((driver->can & BMC_CAN_TLS) && !options.tls)
		(void)!file_read(
			AT_FDCWD, AUTHORITIES_FILE, AUTHORITIES_MAX, &authorities, NULL, NULL);
	options.authorities = authorities;
	r = driver->open(&options, &metal->bmc, e);
	if (r < 0)
		return r;
	metal->desk = desk_new(
		&(struct desk_options){ metal->loop, metal->bmc, deadline_ms * NS_PER_MS });
	metal->poll = loop_add_timer(metal->loop, poll_now, metal);
	metal->console_again = loop_add_timer(metal->loop, open_console, metal);
	metal->poll_ns = poll_ms * NS_PER_MS;
	if (metal->poll_ns)
		timer_set_after(metal->poll, metal->poll_ns);
	if (!(driver->can & BMC_CAN_CONSOLE))
		return 0;
	struct console_options console = { .loop = metal->loop,
		.terminal = -1,
		.log = log < 0 ? -1 : fcntl(log, F_DUPFD_CLOEXEC, 3),
		.log_bytes = CONSOLE_LOG_MAX };
	r = console_new(&console, &metal->console, e);
	if (r < 0)
		return r;
	console_set_input(metal->console, input, metal);
	metal->again_ns = CONSOLE_AGAIN_NS;
	timer_set_after(metal->console_again, 0);
	return 0;
}

/* No user, no capability, no file, no program. */
static int lock_in(struct error *e)
{
	static const uint16_t calls[] = { SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_close,
		SYS_socket, SYS_connect, SYS_bind, SYS_sendto, SYS_recvfrom, SYS_sendmsg,
		SYS_recvmsg, SYS_shutdown, SYS_getsockname, SYS_getpeername, SYS_setsockopt,
		SYS_getsockopt, SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_ctl, SYS_epoll_create1,
		SYS_timerfd_settime, SYS_timerfd_create, SYS_poll, SYS_ppoll, SYS_select,
		SYS_pselect6, SYS_fcntl, SYS_ioctl, SYS_lseek, SYS_fstat, SYS_newfstatat,
		SYS_ftruncate, SYS_openat, SYS_open, SYS_access, SYS_stat, SYS_mmap, SYS_munmap,
		SYS_mremap, SYS_mprotect, SYS_madvise, SYS_brk, SYS_futex, SYS_clock_gettime,
		SYS_gettimeofday, SYS_clock_nanosleep, SYS_nanosleep, SYS_getrandom, SYS_getpid,
		SYS_gettid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_uname,
		SYS_sysinfo, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn,
		SYS_sigaltstack, SYS_eventfd2, SYS_pipe2, SYS_socketpair, SYS_restart_syscall,
		SYS_exit, SYS_exit_group, SYS_tgkill, SYS_pread64, SYS_pwrite64, SYS_dup,
		SYS_accept4, SYS_rseq, SYS_sched_yield, SYS_getrusage, SYS_time };
	struct jail jail = { .become_nobody = true,
		.drop_capabilities = true,
		.limit_paths = true,
		.system_calls = calls,
		.system_call_count = ARRAY_SIZE(calls) };
	return jail_enter(&jail, e);
}

static void opened(struct metal *metal, uint32_t serial, const json_t *body, int log)
{
	struct error e = {};
	int r = metal->bmc ? error_set(&e, -EALREADY, "it is open already")
			   : open_bmc(metal, body, log, &e);
	if (r == 0)
		r = lock_in(&e);
	if (r < 0)
		put_error(metal, serial, r, &e);
	else
		put(metal, METAL_ANSWER, serial, 0, NULL);
}

static void take(struct metal *metal, const struct metal_header *header, const char *text, int *fd)
{
	struct error e = {};
	cleanup(json_decref) json_t *body = NULL;
	size_t length = header->length - sizeof(*header);
	int r = length ? json_parse(text, length, &body, &e) : 0;
	if (r == 0 && (header->type != METAL_OPEN && !metal->bmc))
		r = error_set(&e, -EBADF, "nothing is open");
	if (r < 0) {
		put_error(metal, header->serial, r, &e);
		return;
	}
	if (header->type == METAL_OPEN)
		opened(metal, header->serial, body, *fd);
	else if (header->type == METAL_ASK)
		ask(metal, header->serial, body);
	else if (header->type == METAL_CONSOLE && *fd >= 0)
		attach(metal, header->serial, body, TAKE_FD(*fd));
}

static void on_message(void *data, int fd, uint32_t events)
{
	static char buffer[METAL_MESSAGE_MAX];
	struct metal *metal = data;
	struct metal_header header;
	(void)events;
	for (;;) {
		cleanup(close) int passed = -1;
		size_t fd_count = 1;
		ssize_t length = channel_receive(fd, buffer, sizeof(buffer), &passed, &fd_count);
		if (length == -EAGAIN)
			return;
		if (length <= 0) {
			loop_stop(metal->loop, 0);
			return;
		}
		if (fd_count == 0)
			passed = -1;
		if ((size_t)length < sizeof(header))
			continue;
		memcpy(&header, buffer, sizeof(header));
		if (header.length == (size_t)length && header.version == METAL_VERSION)
			take(metal, &header, buffer + sizeof(header), &passed);
	}
}

int main(int argc, char **argv)
{
	struct metal metal = { .channel = process_named_fd("channel") };
	struct error e = {};
	if (argc > 1 && text_equal(argv[1], "--help")) {
		printf("usage: berth-metal    started by berthd, one for each server; see berth-metal(8)\n");
		return 0;
	}
	if (argc > 1 || metal.channel < 0) {
		fprintf(stderr, "berth-metal: is started by berthd; see berth-metal(8)\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	(void)fcntl(metal.channel, F_SETFL, fcntl(metal.channel, F_GETFL) | O_NONBLOCK);
	/* What libraries load, they load now. */
	curl_global_init(CURL_GLOBAL_DEFAULT);
	int r = loop_new(&metal.loop, &e);
	if (r == 0)
		r = loop_add_fd(
			metal.loop, metal.channel, EPOLLIN, on_message, &metal, &metal.messages);
	if (r < 0) {
		log_error("%s", e.text);
		return 1;
	}
	r = loop_run(metal.loop);
	source_free(metal.messages);
	source_free(metal.poll);
	source_free(metal.console_again);
	desk_free(metal.desk);
	bmc_close(metal.bmc);
	console_free(metal.console);
	json_decref(metal.told);
	json_decref(metal.polled);
	loop_free(metal.loop);
	return r < 0 ? 1 : 0;
}
