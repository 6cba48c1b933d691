/* SPDX-License-Identifier: Apache-2.0 */
/*
 * berth-measure - tells from inside an instance what it really has: cpus, memory, storage, bandwidth.
 *
 * It asks no interface that could answer what was promised: it uses the resource until the host says
 * no, and reports how far it came. One static program for every kind of instance, and for the host end
 * of a bandwidth measurement. Output is one `key value` pair a line.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>

#include "base/base.h"
#include "base/error.h"
#include "base/text.h"

#define MEMORY_STEP    (4 * MIB)
#define STORAGE_STEP   (16 * MIB)
#define TRANSFER_BLOCK 65536
#define CPUS_MAX       1024

static uint64_t clock_ns(clockid_t id)
{
	struct timespec now;
	clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * NS_PER_SEC + (uint64_t)now.tv_nsec;
}

static uint64_t started_ns, started_wall_ns;

/* Before main: as near to the first instruction as C gets. */
__attribute__((constructor)) static void remember_start(void)
{
	started_ns = clock_ns(CLOCK_MONOTONIC);
	started_wall_ns = clock_ns(CLOCK_REALTIME);
}

static void report(const char *key, uint64_t value)
{
	printf("%s %" PRIu64 "\n", key, value);
	fflush(stdout);
}

struct spin {
	uint64_t until_ns;
	uint64_t used_ns;
};

static void *spin(void *argument)
{
	struct spin *spin = argument;
	uint64_t from = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	while (clock_ns(CLOCK_MONOTONIC) < spin->until_ns)
		for (volatile int i = 0; i < 20000; i++)
			;
	spin->used_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - from;
	return NULL;
}

/* CPU time that as many busy threads as there are processors get, in thousandths of a processor. */
static int measure_cpus(double seconds, struct error *e)
{
	long count = sysconf(_SC_NPROCESSORS_ONLN);
	if (count < 1 || count > CPUS_MAX)
		count = count < 1 ? 1 : CPUS_MAX;
	pthread_t threads[CPUS_MAX];
	static struct spin spins[CPUS_MAX];
	uint64_t from = clock_ns(CLOCK_MONOTONIC), used = 0;
	long running = 0;
	int r = 0;
	for (; running < count && r == 0; running++) {
		spins[running].until_ns = from + (uint64_t)(seconds * 1e9);
		r = pthread_create(&threads[running], NULL, spin, &spins[running]);
		if (r != 0)
			break;
	}
	for (long i = 0; i < running; i++) {
		pthread_join(threads[i], NULL);
		used += spins[i].used_ns;
	}
	if (r != 0)
		return error_code(e, -r, "thread %ld of %ld", running + 1, count);
	uint64_t took = clock_ns(CLOCK_MONOTONIC) - from;
	report("cpus_seen", (uint64_t)count);
	report("cpu_milli", used * 1000 / took);
	return 0;
}

/*
 * Memory that can be touched before the host refuses. A child does it, first in line for the
 * out-of-memory killer; what it wrote into the pipe last is how far it came.
 */
static int measure_memory(uint64_t limit_bytes, struct error *e)
{
	int tube[2];
	if (pipe2(tube, O_CLOEXEC) < 0)
		return error_errno(e, "pipe");
	pid_t child = fork();
	if (child < 0)
		return error_errno(e, "fork");
	if (child == 0) {
		int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
		if (fd >= 0)
			(void)!write(fd, "1000", 4);
		for (uint64_t touched = 0; touched < limit_bytes;) {
			char *block = mmap(NULL, MEMORY_STEP, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			if (block == MAP_FAILED)
				_exit(0);
			for (size_t at = 0; at < MEMORY_STEP; at += 4096)
				*(volatile char *)(block + at) = 1;
			touched += MEMORY_STEP;
			(void)!write(tube[1], &touched, sizeof(touched));
		}
		_exit(0);
	}
	close(tube[1]);
	uint64_t touched = 0, next;
	while (read(tube[0], &next, sizeof(next)) == sizeof(next))
		touched = next;
	close(tube[0]);
	int status = 0;
	waitpid(child, &status, 0);
	report("memory_bytes", touched);
	report("memory_was_killed", WIFSIGNALED(status));
	return 0;
}

static int fill(int fd, uint64_t limit_bytes, uint64_t *ret)
{
	cleanup(free) char *block = NULL;
	uint64_t filled = 0;
	size_t step = STORAGE_STEP;
	bool can_allocate = true;
	while (filled < limit_bytes && step >= 4096) {
		int r;
		if (can_allocate) {
			r = fallocate(fd, 0, (off_t)filled, (off_t)step) < 0 ? -errno : (int)step;
			if (r == -EOPNOTSUPP || r == -ENOSYS) {
				can_allocate = false;
				continue;
			}
		} else {
			if (!block)
				block = alloc_array(STORAGE_STEP, char);
			ssize_t put = pwrite(fd, block, step, (off_t)filled);
			r = put < 0 ? -errno : (int)put;
		}
		if (r == -EINTR)
			continue;
		if (r == -ENOSPC || r == -EDQUOT)
			step /= 2;
		else if (r < 0)
			return r;
		else
			filled += (uint64_t)r;
	}
	*ret = filled;
	return 0;
}

/* Bytes that one file below `directory` can take before the host refuses; it is removed again. */
static int measure_storage(const char *directory, uint64_t limit_bytes, struct error *e)
{
	struct statvfs status;
	if (statvfs(directory, &status) < 0)
		return error_errno(e, "%s", directory);
	report("storage_seen_bytes", (uint64_t)status.f_blocks * status.f_frsize);

	cleanup(free) char *path = alloc_printf("%s/berth-measure.fill", directory);
	cleanup(close) int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_errno(e, "create %s", path);
	uint64_t filled = 0;
	int r = fill(fd, limit_bytes, &filled);
	unlink(path);
	if (r < 0)
		return error_code(e, r, "fill %s", path);
	report("storage_bytes", filled);
	return 0;
}

static int connect_to(const char *host, const char *port, int *ret, struct error *e)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	struct addrinfo *found = NULL;
	int r = getaddrinfo(host, port, &hints, &found);
	if (r != 0)
		return error_set(e, -EHOSTUNREACH, "%s port %s: %s", host, port, gai_strerror(r));
	cleanup(close) int fd =
		socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, found->ai_protocol);
	r = fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) < 0 ? -errno : 0;
	freeaddrinfo(found);
	if (r < 0)
		return error_code(e, r, "connect to %s port %s", host, port);
	*ret = TAKE_FD(fd);
	return 0;
}

/*
 * Moves bytes for `seconds` after `settle` seconds that do not count (bursts of a shaper). On a host so
 * busy that nothing moves for longer than that, the time counts from when it does.
 */
static int transfer(int fd, bool is_sending, double settle, double seconds, uint64_t *ret_bits)
{
	static char block[TRANSFER_BLOCK];
	uint64_t from = clock_ns(CLOCK_MONOTONIC), counted_from = 0, bytes = 0, now = from;
	while (!counted_from || now - counted_from < (uint64_t)(seconds * 1e9)) {
		ssize_t moved = is_sending ? send(fd, block, sizeof(block), MSG_NOSIGNAL)
					   : recv(fd, block, sizeof(block), 0);
		now = clock_ns(CLOCK_MONOTONIC);
		if (moved < 0 && errno == EINTR)
			continue;
		if (moved <= 0)
			break;
		if (counted_from)
			bytes += (uint64_t)moved;
		else if (now - from >= (uint64_t)(settle * 1e9))
			counted_from = now;
	}
	if (!counted_from || now <= counted_from)
		return -EPIPE;
	*ret_bits = (uint64_t)((double)bytes * 8e9 / (double)(now - counted_from));
	return 0;
}

/* Payload bits a second to and from a `berth-measure serve` at `host`. */
static int measure_bandwidth(const char *host, const char *port, double seconds, struct error *e)
{
	static const struct {
		char order;
		const char *key;
	} directions[] = {
		{ 'r', "bandwidth_out_bits" }, /* the server receives */
		{ 's', "bandwidth_in_bits" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(directions); i++) {
		cleanup(close) int fd = -1;
		int r = connect_to(host, port, &fd, e);
		if (r < 0)
			return r;
		uint64_t bits = 0;
		/* What lies in the buffers on the way must not count as sent. */
		int small = TRANSFER_BLOCK;
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
		if (write(fd, &directions[i].order, 1) != 1)
			return error_errno(e, "write to %s", host);
		r = transfer(fd, directions[i].order == 'r', 1, seconds, &bits);
		if (r < 0)
			return error_code(e, r, "%s port %s", host, port);
		report(directions[i].key, bits);
	}
	return 0;
}

static void serve_one(int fd)
{
	char order = 0;
	uint64_t bits;
	if (read(fd, &order, 1) == 1)
		(void)!transfer(fd, order == 's', 0, 3600, &bits);
	_exit(0);
}

/* The other end of measure_bandwidth(), until it is killed; a process a connection. */
static int serve(const char *address, const char *port, struct error *e)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	uint64_t number;
	if (inet_pton(AF_INET, address, &at.sin_addr) != 1)
		return error_set(e, -EINVAL, "%s is not an IPv4 address", address);
	if (text_to_u64(port, &number) < 0 || number > 65535)
		return error_set(e, -EINVAL, "%s is not a port", port);
	at.sin_port = htons((uint16_t)number);

	cleanup(close) int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int yes = 1;
	if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) < 0 ||
		bind(listener, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(listener, 64) < 0)
		return error_errno(e, "listen on %s port %s", address, port);
	signal(SIGCHLD, SIG_IGN);
	printf("serving %s %s\n", address, port);
	fflush(stdout);
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		if (fork() == 0)
			serve_one(fd);
		close(fd);
	}
}

static int measure_start(void)
{
	report("start_monotonic_ns", started_ns);
	report("start_realtime_ns", started_wall_ns);
	return 0;
}

/* As the first process of an instance: says when it started, reaps, and ends when it is told to. */
static int hold(void)
{
	sigset_t ends;
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGPWR);
	sigaddset(&ends, SIGRTMIN + 3);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	signal(SIGCHLD, SIG_IGN);
	measure_start();
	int number;
	while (sigwait(&ends, &number) != 0)
		;
	return 0;
}

static const char usage[] =
	"usage: berth-measure start                    when its first instruction ran\n"
	"       berth-measure cpus [SECONDS]           processors it really gets\n"
	"       berth-measure memory [LIMIT]           memory it can touch\n"
	"       berth-measure storage DIR [LIMIT]      bytes a file in DIR can take\n"
	"       berth-measure bandwidth HOST PORT [SECONDS]\n"
	"       berth-measure serve ADDRESS PORT       the other end of bandwidth\n"
	"       berth-measure hold                     start, then wait to be ended; also when it is /sbin/init\n";

static int run(int count, char **words, struct error *e)
{
	const char *verb = count > 1 ? words[1] : "";
	if (text_ends(words[0], "/init"))
		return hold();
	const char *last = words[count - 1];
	uint64_t limit = UINT64_MAX;
	if (text_equal(verb, "start") && count == 2)
		return measure_start();
	if (text_equal(verb, "hold") && count == 2)
		return hold();
	if (text_equal(verb, "cpus") && count <= 3)
		return measure_cpus(count == 3 ? strtod(last, NULL) : 2, e);
	if (text_equal(verb, "memory") && count <= 3) {
		if (count == 3 && text_to_bytes(last, &limit) < 0)
			return error_set(e, -EINVAL, "LIMIT: %s is not a size", last);
		return measure_memory(limit, e);
	}
	if (text_equal(verb, "storage") && (count == 3 || count == 4)) {
		if (count == 4 && text_to_bytes(last, &limit) < 0)
			return error_set(e, -EINVAL, "LIMIT: %s is not a size", last);
		return measure_storage(words[2], limit, e);
	}
	if (text_equal(verb, "bandwidth") && (count == 4 || count == 5))
		return measure_bandwidth(
			words[2], words[3], count == 5 ? strtod(last, NULL) : 3, e);
	if (text_equal(verb, "serve") && count == 4)
		return serve(words[2], words[3], e);
	return error_set(e, -EINVAL, "%s", usage);
}

int main(int count, char **words)
{
	struct error e = {};
	int r = run(count, words, &e);
	if (r < 0)
		fprintf(stderr, "%s%s\n",
			text_starts(e.text, "usage") ? "" : "berth-measure: ", e.text);
	return r < 0 ? 1 : 0;
}
