/* SPDX-License-Identifier: Apache-2.0 */
/*
 * line.c - berth-line: calls the daemon from a system that the daemon can't reach, for the agent beside it.
 *
 * Theory of operation. One connection waits at the daemon's TLS port. As soon as the daemon says something on it, it is
 * the first request of that connection: a child of ours passes it on to a `berth-agent --stdio`, and another connection
 * is made, that waits. So nothing is multiplexed, and a request that hangs hangs alone. A connection that is lost is
 * made again, later each time.
 *
 * usage: berth-line [--settings FILE] [--agent PROGRAM]
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/line_tls.h"
#include "base/file.h"
#include "base/text.h"

#define SETTINGS     "/var/lib/berth/line"
#define AGENT        "berth-agent"
#define CHILDREN_MAX 64
#define AGAIN_MS     500
#define AGAIN_MAX_MS 30000
#define STEADY_S     10 /* a connection that held so long begins the waiting anew */

struct line {
	const char *settings, *agent;
	SSL_CTX *context;
	size_t next; /* the address that is tried */
	int children;
	unsigned int wait_ms;
	char said[ERROR_TEXT_SIZE]; /* the last complaint */
};

/* Once a reason. */
static void complain(struct line *line, const struct error *e)
{
	if (text_equal(line->said, e->text))
		return;
	snprintf(line->said, sizeof(line->said), "%s", e->text);
	fprintf(stderr, "berth-line: %s\n", e->text);
}

static int read_settings(const struct line *line, struct line_settings *ret, struct error *e)
{
	cleanup(free) char *text = NULL;
	int r = file_read(AT_FDCWD, line->settings, LINE_SETTINGS_MAX, &text, NULL, e);
	if (r == 0)
		r = line_settings_read(text, ret, e);
	return r < 0 ? error_prefix(e, r, "%s", line->settings) : 0;
}

/* A request that begins: the agent's, until it is over. */
static _Noreturn void serve(const struct line *line, SSL *ssl)
{
	int ends[2];
	signal(SIGCHLD, SIG_DFL);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		_exit(1);
	pid_t pid = fork();
	if (pid == 0) {
		if (dup2(ends[1], STDIN_FILENO) < 0)
			_exit(1);
		execl(line->agent, line->agent, "--stdio", (char *)NULL);
		_exit(127);
	}
	close(ends[1]);
	if (pid > 0)
		line_pump(ssl, ends[0]);
	_exit(pid < 0);
}

static void reap(struct line *line, bool waits)
{
	while (line->children > 0) {
		pid_t pid = waitpid(-1, NULL, waits ? 0 : WNOHANG);
		if (pid > 0)
			line->children--;
		else if (pid == 0 || errno != EINTR)
			return;
		waits = false;
	}
}

/* True if the daemon asked for something. */
static bool call(struct line *line, struct error *e)
{
	struct line_settings settings = {};
	SSL *ssl = NULL;
	int r = read_settings(line, &settings, e);
	if (r < 0 || settings.address_count == 0)
		return false;
	r = line_dial(line->context, &settings,
		&settings.addresses[line->next % settings.address_count], &ssl, e);
	if (r < 0) {
		line->next++;
		return false;
	}
	if (line->said[0])
		fprintf(stderr, "berth-line: connected\n");
	line->said[0] = '\0';
	time_t began = time(NULL);
	bool is_asked = line_wait(ssl);
	if (is_asked) {
		pid_t pid = fork();
		if (pid == 0)
			serve(line, ssl);
		line->children += pid > 0;
		line->wait_ms = AGAIN_MS;
	} else if (time(NULL) - began >= STEADY_S) {
		line->wait_ms = AGAIN_MS;
	}
	line_drop(ssl);
	if (!is_asked)
		error_set(e, -EPIPE, "the daemon hung up");
	return is_asked;
}

/* So that not all servers of a rack call in the same moment. */
static unsigned int random_up_to(unsigned int most)
{
	uint32_t number = 0;
	(void)!getrandom(&number, sizeof(number), GRND_NONBLOCK);
	return number % (most + 1);
}

static _Noreturn void run(struct line *line)
{
	for (;;) {
		struct error e = {};
		reap(line, line->children >= CHILDREN_MAX);
		if (call(line, &e))
			continue;
		complain(line, &e);
		unsigned int ms = line->wait_ms / 2 + random_up_to(line->wait_ms / 2);
		const struct timespec pause = { ms / 1000, (long)(ms % 1000) * 1000000 };
		nanosleep(&pause, NULL);
		line->wait_ms = line->wait_ms * 2 > AGAIN_MAX_MS ? AGAIN_MAX_MS : line->wait_ms * 2;
	}
}

/* Where this program itself is. */
static char *beside(const char *name)
{
	char path[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
	if (length <= 0)
		return alloc_printf("/usr/libexec/berth/%s", name);
	path[length] = '\0';
	*strrchr(path, '/') = '\0';
	return alloc_printf("%s/%s", path, name);
}

static int read_arguments(struct line *line, int argc, char **argv)
{
	for (int i = 1; i < argc; i += 2) {
		if (i + 1 < argc && strcmp(argv[i], "--settings") == 0)
			line->settings = argv[i + 1];
		else if (i + 1 < argc && strcmp(argv[i], "--agent") == 0)
			line->agent = argv[i + 1];
		else
			return -EINVAL;
	}
	return 0;
}

int main(int argc, char **argv)
{
	cleanup(free) char *agent = beside(AGENT);
	struct line line = { .settings = SETTINGS, .agent = agent, .wait_ms = AGAIN_MS };
	if (read_arguments(&line, argc, argv) < 0) {
		fprintf(stderr, "usage: berth-line [--settings FILE] [--agent PROGRAM]\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	/* Not what the system's openssl.cnf says. */
	(void)OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	line.context = SSL_CTX_new(TLS_client_method());
	if (!line.context || SSL_CTX_set_min_proto_version(line.context, TLS1_2_VERSION) != 1) {
		fprintf(stderr, "berth-line: TLS can't be used\n");
		return 1;
	}
	/* Its certificate is compared as a whole instead: line_dial(). */
	SSL_CTX_set_verify(line.context, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_mode(line.context,
		SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
			SSL_MODE_AUTO_RETRY);
	run(&line);
}
