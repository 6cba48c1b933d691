/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - berth-metadata: the metadata service of one network; guests ask on one side, berthd answers on the other.
 *
 * What guests send is read here and nowhere else, by a process without rights. It knows an instance by its address:
 * the packet filter lets no other port of the bridge ask with it, nor hear what is answered.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "abi/metadata.h"
#include "base/channel.h"
#include "base/file.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/text.h"
#include "host/jail.h"
#include "host/process.h"
#include "http/server.h"
#include "metadata/tokens.h"
#include "metadata/tree.h"
#include "model/json.h"

#define CONNECTIONS_MAX 512
#define HEAD_NS         (5 * NS_PER_SEC)
#define IDLE_NS         (10 * NS_PER_SEC)
#define DOCUMENT_MAX    (4 * MIB)
#define KNOWN_SETS      256
#define KNOWN_NS        NS_PER_SEC
#define TOKEN_TTL_MAX_S 21600
#define TTL_HEADER      "X-aws-ec2-metadata-token-ttl-seconds"
#define TOKEN_HEADER    "X-aws-ec2-metadata-token"

/* What was answered last of an address; asked again after a second. */
struct known {
	uint8_t ipv4[4];
	json_t *document; /* NULL: nobody has it */
	uint64_t end_ns;
};

/* A request that waits for berthd. */
struct waiting {
	struct waiting *next;
	struct http_request *request;
	uint32_t serial;
	uint8_t ipv4[4];
};

struct metadata {
	struct loop *loop;
	struct http_server *server;
	int channel;
	struct source *messages;
	struct waiting *waiting;
	struct known known[KNOWN_SETS];
	struct tokens *tokens;
	uint32_t serial;
};

static void reply(struct http_request *request, unsigned int status, const char *type, char *text)
{
	http_reply_text(request, status, type, text, strlen(text));
}

static void reply_plain(struct http_request *request, unsigned int status, const char *text)
{
	reply(request, status, "text/plain", alloc_text(text));
}

static bool peer_of(const struct http_request *request, uint8_t ret[4])
{
	struct sockaddr_in address;
	socklen_t size = sizeof(address);
	if (getpeername(http_request_socket(request), (struct sockaddr *)&address, &size) < 0 ||
		address.sin_family != AF_INET)
		return false;
	memcpy(ret, &address.sin_addr, 4);
	return true;
}

/* PUT /latest/api/token */
static void make_token(
	struct metadata *metadata, struct http_request *request, const uint8_t ipv4[4])
{
	const char *ttl = http_request_header(request, TTL_HEADER);
	uint64_t seconds;
	/* A proxy inside must not carry it out. */
	if (http_request_header(request, "X-Forwarded-For"))
		reply_plain(request, 403, "not through a proxy\n");
	else if (!ttl || text_to_u64(ttl, &seconds) < 0 || seconds == 0 ||
		seconds > TOKEN_TTL_MAX_S)
		reply_plain(request, 400, TTL_HEADER ": 1 to 21600\n");
	else
		reply_plain(
			request, 200, tokens_make(metadata->tokens, ipv4, seconds * NS_PER_SEC));
}

static void answer(struct http_request *request, const json_t *document)
{
	const char *path = http_request_path(request);
	char *text = document ? tree_read(document, path) : NULL;
	size_t length = strlen(path);
	if (!text)
		reply_plain(request, 404, "there is nothing of that name\n");
	else
		reply(request, 200,
			length > 5 && text_equal(path + length - 5, ".json") ? "application/json"
									     : "text/plain",
			text);
}

static int ask(struct metadata *metadata, struct http_request *request, const uint8_t ipv4[4])
{
	struct metadata_question question = { .version = METADATA_VERSION,
		.serial = ++metadata->serial };
	memcpy(question.ipv4, ipv4, sizeof(question.ipv4));
	int r = channel_send(metadata->channel, &question, sizeof(question), NULL, 0);
	if (r < 0)
		return r;
	struct waiting *waiting = alloc(struct waiting);
	*waiting = (struct waiting){ metadata->waiting, request, question.serial, {} };
	memcpy(waiting->ipv4, ipv4, sizeof(waiting->ipv4));
	metadata->waiting = waiting;
	return 0;
}

static void head(void *data, struct http_request *request)
{
	struct metadata *metadata = data;
	const char *method = http_request_method(request);
	const char *token = http_request_header(request, TOKEN_HEADER);
	uint8_t ipv4[4];
	if (!peer_of(request, ipv4)) {
		reply_plain(request, 403, "who asks?\n");
		return;
	}
	if (text_equal(method, "PUT") &&
		text_equal(http_request_path(request), "/latest/api/token")) {
		make_token(metadata, request, ipv4);
		return;
	}
	if (!text_equal(method, "GET") && !text_equal(method, "HEAD")) {
		reply_plain(request, 405, "everything here is only read\n");
		return;
	}
	if (token && !tokens_has(metadata->tokens, ipv4, token)) {
		reply_plain(request, 401, "the token is not known, or too old\n");
		return;
	}
	const struct known *known = &metadata->known[ipv4[3]];
	if (memcmp(known->ipv4, ipv4, sizeof(ipv4)) == 0 && loop_now() < known->end_ns)
		answer(request, known->document);
	else if (ask(metadata, request, ipv4) < 0)
		reply_plain(request, 503, "try again\n");
}

static void ready(void *data, struct http_request *request)
{
	/* Answered in head(), or it waits. */
	(void)data, (void)request;
}

static void done(void *data, struct http_request *request)
{
	struct metadata *metadata = data;
	for (struct waiting **at = &metadata->waiting; *at; at = &(*at)->next) {
		struct waiting *waiting = *at;
		if (waiting->request != request)
			continue;
		*at = waiting->next;
		free(waiting);
		return;
	}
}

static json_t *read_document(int fd, uint32_t length)
{
	if (fd < 0 || length == 0 || length > DOCUMENT_MAX)
		return NULL;
	cleanup(free) char *text = alloc_array(length, char);
	for (size_t got = 0; got < length;) {
		ssize_t n = pread(fd, text + got, length - got, (off_t)got);
		if (n <= 0)
			return NULL;
		got += (size_t)n;
	}
	json_t *document = NULL;
	return json_parse(text, length, &document, NULL) == 0 ? document : NULL;
}

static void take(struct metadata *metadata, const struct metadata_answer *message, int fd)
{
	struct waiting **at = &metadata->waiting;
	while (*at && (*at)->serial != message->serial)
		at = &(*at)->next;
	struct waiting *waiting = *at;
	if (!waiting)
		return;
	*at = waiting->next;
	struct known *known = &metadata->known[waiting->ipv4[3]];
	json_decref(known->document);
	known->document = read_document(fd, message->length);
	memcpy(known->ipv4, waiting->ipv4, sizeof(known->ipv4));
	known->end_ns = loop_now() + KNOWN_NS;
	struct http_request *request = waiting->request;
	free(waiting);
	answer(request, known->document);
}

static void on_message(void *data, int fd, uint32_t events)
{
	struct metadata *metadata = data;
	struct metadata_answer message;
	(void)events;
	for (;;) {
		cleanup(close) int passed = -1;
		size_t fd_count = 1;
		ssize_t length = channel_receive(fd, &message, sizeof(message), &passed, &fd_count);
		if (length == -EAGAIN)
			return;
		if (length <= 0) {
			loop_stop(metadata->loop, 0);
			return;
		}
		if (fd_count == 0)
			passed = -1;
		if ((size_t)length == sizeof(message) && message.version == METADATA_VERSION)
			take(metadata, &message, passed);
	}
}

/* No user, no capability, no file, no program, no network but the sockets that it has. */
static int lock_in(struct error *e)
{
	static const uint16_t calls[] = { SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_close,
		SYS_sendto, SYS_recvfrom, SYS_sendmsg, SYS_recvmsg, SYS_shutdown, SYS_getsockname,
		SYS_getpeername, SYS_setsockopt, SYS_getsockopt, SYS_epoll_wait, SYS_epoll_pwait,
		SYS_epoll_ctl, SYS_epoll_create1, SYS_timerfd_settime, SYS_timerfd_create, SYS_poll,
		SYS_ppoll, SYS_fcntl, SYS_ioctl, SYS_lseek, SYS_fstat, SYS_newfstatat, SYS_mmap,
		SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise, SYS_brk, SYS_futex,
		SYS_clock_gettime, SYS_gettimeofday, SYS_time, SYS_getrandom, SYS_getpid,
		SYS_gettid, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_eventfd2,
		SYS_restart_syscall, SYS_exit, SYS_exit_group, SYS_tgkill, SYS_pread64, SYS_dup,
		SYS_accept4, SYS_accept, SYS_rseq, SYS_sched_yield, SYS_sendfile };
	const uint64_t rooms = CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
	struct jail jail = { .empty_namespaces = getuid() == 0 ? rooms : 0,
		.become_nobody = true,
		.drop_capabilities = true,
		.limit_paths = true,
		.system_calls = calls,
		.system_call_count = ARRAY_SIZE(calls) };
	return jail_enter(&jail, e);
}

static int start(struct metadata *metadata, int listener, struct error *e)
{
	static const struct http_calls calls = { head, ready, done };
	const struct http_options options = { .listen_fd = listener,
		.tmp_dir = -1,
		.connection_limit = CONNECTIONS_MAX,
		.head_timeout_ns = HEAD_NS,
		.idle_timeout_ns = IDLE_NS };
	int r = loop_new(&metadata->loop, e);
	if (r == 0)
		r = loop_add_fd(metadata->loop, metadata->channel, EPOLLIN, on_message, metadata,
			&metadata->messages);
	if (r == 0)
		r = http_server_new(
			metadata->loop, &options, &calls, metadata, &metadata->server, e);
	return r < 0 ? r : lock_in(e);
}

int main(int argc, char **argv)
{
	struct metadata metadata = { .channel = process_named_fd("channel") };
	int listener = process_named_fd("listen");
	struct error e = {};
	if (argc > 1 && text_equal(argv[1], "--help")) {
		printf("usage: berth-metadata    started by berthd, one for each network; see "
		       "berth-metadata(8)\n");
		return 0;
	}
	if (argc > 1 || metadata.channel < 0 || listener < 0) {
		fprintf(stderr, "berth-metadata: is started by berthd; see berth-metadata(8)\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	(void)fcntl(metadata.channel, F_SETFL, fcntl(metadata.channel, F_GETFL) | O_NONBLOCK);
	/* What libraries open, they open now. */
	json_object_seed(0);
	tzset();
	metadata.tokens = tokens_new();
	int r = start(&metadata, listener, &e);
	if (r < 0) {
		log_error("berth-metadata: %s", e.text);
		return 1;
	}
	r = loop_run(metadata.loop);
	http_server_free(metadata.server);
	source_free(metadata.messages);
	for (size_t i = 0; i < KNOWN_SETS; i++)
		json_decref(metadata.known[i].document);
	tokens_free(metadata.tokens);
	loop_free(metadata.loop);
	return r < 0 ? 1 : 0;
}
