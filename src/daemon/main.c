/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - berthd: options, start, the loop, stop.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/log.h"
#include "base/text.h"
#include "daemon/api/routes.h"
#include "daemon/dispatch.h"
#include "daemon/listen.h"
#include "daemon/modules.h"
#include "daemon/operation.h"
#include "daemon/remote.h"
#include "daemon/service.h"
#include "host/doctor.h"

#define DEFAULT_DIR  "/var/lib/berth"
#define STOP_NS      (10 * NS_PER_SEC) /* running operations may end */
#define STOP_LOOK_NS (20 * NS_PER_MS)

static const char usage[] =
	"usage: berthd [options]\n"
	"\n"
	"  --dir DIR      keep everything under DIR and listen on DIR/unix.socket (" DEFAULT_DIR
	")\n"
	"  --group NAME   whose members may use the socket (berth, if there is one)\n"
	"  --doctor       say what this host can do and what is missing, then end\n"
	"  --debug        log more\n"
	"  --ready-fd FD  write \"ready\" to FD once the socket is open\n"
	"  --test-hooks   honour BERTH_FAIL_STEP and its like; for tests only\n"
	"  --version      print the version\n"
	"  --help         print this\n";

struct options {
	const char *dir;
	const char *group;
	bool is_debug;
	bool is_doctor;
	bool has_test_hooks;
	int ready_fd; /* or -1 */
};

struct daemon {
	struct loop *loop;
	struct service *service;
	struct dispatch *dispatch;
	struct source *signals[3];
	struct source *stop_timer;
	uint64_t stop_ns;
};

static void stop_when_idle(void *data)
{
	struct daemon *daemon = data;
	if (operation_count_running(daemon->service) == 0 || loop_now() >= daemon->stop_ns)
		loop_stop(daemon->loop, 0);
	else
		timer_set_after(daemon->stop_timer, STOP_LOOK_NS);
}

static void on_signal(void *data, int signal)
{
	struct daemon *daemon = data;
	if (daemon->service->is_stopping) {
		loop_stop(daemon->loop, 0);
		return;
	}
	log_info("stopping signal=%s operations=%zu", sigabbrev_np(signal),
		operation_count_running(daemon->service));
	daemon->service->is_stopping = true;
	remote_close(daemon->service);
	dispatch_close(daemon->dispatch);
	daemon->stop_ns = loop_now() + STOP_NS;
	timer_set_after(daemon->stop_timer, 0);
}

/* Our mounts are nobody else's, and those that the host makes later are seen here. */
static int leave_mounts(struct error *e)
{
	if (unshare(CLONE_NEWNS) < 0)
		return error_errno(e, "take a mount namespace");
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return error_errno(e, "keep mounts to ourselves");
	return 0;
}

static void raise_limits(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_max = limit.rlim_max < 1048576 ? 1048576 : limit.rlim_max;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* READY=1 to whoever started us and wants to know, as sd_notify(3) says. */
static void notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t length = path ? strlen(path) : 0;
	if (length < 2 || length >= sizeof(address.sun_path))
		return;
	memcpy(address.sun_path, path, length);
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	cleanup(close) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
	(void)sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, size);
}

static int add_signals(struct daemon *daemon, struct error *e)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		int r = loop_add_signal(
			daemon->loop, signals[i], on_signal, daemon, &daemon->signals[i]);
		if (r < 0)
			return error_code(e, r, "watch signals");
	}
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

static void on_remote(void *data, int fd, struct tls_peer *peer)
{
	struct daemon *daemon = data;
	dispatch_add(daemon->dispatch, fd, peer);
}

static int start(struct daemon *daemon, const struct options *options, struct error *e)
{
	raise_limits();
	int r = leave_mounts(e);
	if (r == 0)
		r = loop_new(&daemon->loop, e);
	if (r == 0)
		r = add_signals(daemon, e);
	if (r < 0)
		return r;
	daemon->stop_timer = loop_add_timer(daemon->loop, stop_when_idle, daemon);
	struct service_options service_options = {
		.dir_path = options->dir,
		.store = "sqlite",
		.has_test_hooks = options->has_test_hooks,
	};
	r = service_open(daemon->loop, &service_options, &daemon->service, e);
	if (r < 0)
		return r;
	r = modules_start(daemon->service, e);
	if (r < 0) {
		service_close(TAKE_PTR(daemon->service));
		return r;
	}
	gid_t group = listen_group(options->group ? options->group : "berth");
	if (options->group && group == (gid_t)-1)
		return error_set(e, -EINVAL, "--group %s: there is no such group", options->group);
	int fd;
	bool is_passed;
	r = listen_open(daemon->service->dir, group, &fd, &is_passed, e);
	if (r < 0)
		return r;
	struct dispatch_options dispatch_options = {
		.listen_fd = fd,
		.routes = routes,
		.group = group,
	};
	r = dispatch_new(daemon->service, &dispatch_options, &daemon->dispatch, e);
	return r < 0 ? r : remote_start(daemon->service, on_remote, daemon, e);
}

static void stop(struct daemon *daemon)
{
	if (daemon->service)
		remote_stop(daemon->service);
	dispatch_free(daemon->dispatch);
	if (daemon->service) {
		modules_stop(daemon->service);
		service_close(daemon->service);
	}
	source_free(daemon->stop_timer);
	for (size_t i = 0; i < ARRAY_SIZE(daemon->signals); i++)
		source_free(daemon->signals[i]);
	loop_free(daemon->loop);
}

static int parse(int argc, char **argv, struct options *options)
{
	enum { DIR_OPTION = 256, GROUP, DOCTOR, DEBUG, READY_FD, TEST_HOOKS, VERSION, HELP };
	static const struct option names[] = {
		{ "dir", required_argument, NULL, DIR_OPTION },
		{ "group", required_argument, NULL, GROUP },
		{ "doctor", no_argument, NULL, DOCTOR },
		{ "debug", no_argument, NULL, DEBUG },
		{ "ready-fd", required_argument, NULL, READY_FD },
		{ "test-hooks", no_argument, NULL, TEST_HOOKS },
		{ "version", no_argument, NULL, VERSION },
		{ "help", no_argument, NULL, HELP },
		{},
	};
	*options = (struct options){ .dir = DEFAULT_DIR, .ready_fd = -1 };
	int option;
	uint64_t number;
	while ((option = getopt_long(argc, argv, "h", names, NULL)) >= 0) {
		switch (option) {
		case DIR_OPTION:
			options->dir = optarg;
			break;
		case GROUP:
			options->group = optarg;
			break;
		case DOCTOR:
			options->is_doctor = true;
			break;
		case DEBUG:
			options->is_debug = true;
			break;
		case READY_FD:
			if (text_to_u64(optarg, &number) < 0 || number > INT_MAX) {
				fprintf(stderr, "berthd: --ready-fd %s: a number is wanted\n",
					optarg);
				return 2;
			}
			options->ready_fd = (int)number;
			break;
		case TEST_HOOKS:
			options->has_test_hooks = true;
			break;
		case VERSION:
			printf("berthd %s\n", BERTH_VERSION);
			return 0;
		case HELP:
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "berthd: \"%s\": no such argument\n%s", argv[optind], usage);
		return 2;
	}
	return -1;
}

static int doctor(const struct options *options)
{
	/* Without a directory yet, what holds for the root file system will do. */
	json_t *checks = doctor_json(access(options->dir, F_OK) == 0 ? options->dir : "/");
	bool is_whole = doctor_print(checks);
	json_decref(checks);
	return is_whole ? 0 : 1;
}

int main(int argc, char **argv)
{
	struct options options;
	int code = parse(argc, argv, &options);
	if (code >= 0)
		return code;
	if (options.is_doctor)
		return doctor(&options);
	if (options.is_debug)
		log_set_level(LOG_LEVEL_DEBUG);

	if (options.ready_fd >= 0)
		fcntl(options.ready_fd, F_SETFD, FD_CLOEXEC);
	struct daemon daemon = {};
	struct error e = {};
	int r = start(&daemon, &options, &e);
	if (r < 0) {
		log_error("%s", e.text);
		stop(&daemon);
		return 1;
	}
	log_info("ready dir=%s id=%s version=%s", daemon.service->dir_path, daemon.service->id,
		BERTH_VERSION);
	notify("READY=1");
	if (options.ready_fd >= 0) {
		(void)!write(options.ready_fd, "ready\n", 6);
		close(options.ready_fd);
	}
	r = loop_run(daemon.loop);
	notify("STOPPING=1");
	log_info("stopped");
	stop(&daemon);
	return r < 0 ? 1 : r;
}
