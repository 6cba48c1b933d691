/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metadata.c - the metadata service of each network: instances ask 169.254.169.254 who they are.
 *
 * The socket listens at a port of the network's gateway that the kernel chooses; the packet filter redirects to it.
 * It stays the daemon's, so that a berth-metadata that ends is followed by another one.
 */
#include "daemon/metadata.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "abi/metadata.h"
#include "base/channel.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/instances.h"
#include "daemon/network_table.h"
#include "daemon/warnings.h"
#include "host/process.h"
#include "model/json.h"

#define BACKLOG  256
#define AGAIN_NS (2 * NS_PER_SEC)
#define WARNING  "Metadata service of a network does not run"

struct metadata {
	struct networks *networks;
	struct network *network;
	int listener;
	uint16_t port;
	struct process process;
	int channel;
	struct source *messages, *child, *again;
};

static void copy_text(json_t *to, const char *key, const char *text)
{
	if (text && text[0])
		json_set_text(to, key, text);
}

/* Of several keys the first one that is there. */
static const char *config_of(
	const struct instance *instance, const char *key, const char *older_key)
{
	const char *text = instance_config(instance, key);
	return text && text[0] ? text : instance_config(instance, older_key);
}

static bool is_refused(const struct instance *instance)
{
	const char *text = config_of(instance, "security.guestapi", "security.devlxd");
	return text && (text_equal(text, "false") || text_equal(text, "0"));
}

static json_t *document_of(const struct instance *instance, const struct card *card)
{
	char ipv4[ADDRESS_TEXT], mac[MAC_TEXT];
	json_t *document = json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", instance->name, "project",
		instance->project, "type", instance->kind->name, "ipv4",
		address_format(&card->ipv4, ipv4), "mac", mac_format(card->mac, mac));
	copy_text(document, "instance-id",
		config_of(instance, "volatile.cloud-init.instance-id", "volatile.uuid"));
	copy_text(document, "image", instance_config(instance, "volatile.base_image"));
	copy_text(document, "user-data",
		config_of(instance, "cloud-init.user-data", "user.user-data"));
	copy_text(document, "vendor-data",
		config_of(instance, "cloud-init.vendor-data", "user.vendor-data"));
	copy_text(document, "network-config",
		config_of(instance, "cloud-init.network-config", "user.network-config"));
	copy_text(document, "meta-data", instance_config(instance, "user.meta-data"));
	return document;
}

/* Who has the address and runs with it; NULL: nobody, or it shall not be told. */
static json_t *find(struct metadata *metadata, const uint8_t ipv4[4])
{
	struct address address = { .family = AF_INET };
	memcpy(address.bytes, ipv4, 4);
	const struct card *card =
		card_find_address(metadata->networks, metadata->network, &address, NULL);
	struct instance *instance = NULL;
	if (!card || !card->is_attached)
		return NULL;
	if (instance_get(metadata->networks->service, card->project, card->instance, &instance,
		    NULL) < 0)
		return NULL;
	return is_refused(instance) ? NULL : document_of(instance, card);
}

static int in_memory(const char *text, size_t length)
{
	cleanup(close) int fd = memfd_create("metadata", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || file_write_all(fd, text, length) < 0 ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return -1;
	return TAKE_FD(fd);
}

static void answer(struct metadata *metadata, const struct metadata_question *question)
{
	cleanup(json_decref) json_t *document = find(metadata, question->ipv4);
	cleanup(free) char *text = document ? json_dumps(document, JSON_COMPACT) : NULL;
	size_t length = text ? strlen(text) : 0;
	cleanup(close) int fd = length ? in_memory(text, length) : -1;
	struct metadata_answer message = { .version = METADATA_VERSION,
		.serial = question->serial,
		.length = fd < 0 ? 0 : (uint32_t)length };
	int r = channel_send(metadata->channel, &message, sizeof(message), &fd, fd < 0 ? 0 : 1);
	if (r < 0 && r != -EPIPE)
		log_warning("metadata not answered network=%s code=%d", metadata->network->name, r);
}

static void on_message(void *data, int fd, uint32_t events)
{
	struct metadata *metadata = data;
	struct metadata_question question;
	(void)events;
	/* Some a turn: others want the loop, too. */
	for (int i = 0; i < 16; i++) {
		size_t no_fds = 0;
		ssize_t length = channel_receive(fd, &question, sizeof(question), NULL, &no_fds);
		if (length == -EAGAIN)
			return;
		if (length <= 0) {
			/* Its end is told of by the pidfd. */
			source_free(TAKE_PTR(metadata->messages));
			return;
		}
		if ((size_t)length == sizeof(question) && question.version == METADATA_VERSION)
			answer(metadata, &question);
	}
}

static void let_go(struct metadata *metadata)
{
	source_free(TAKE_PTR(metadata->messages));
	source_free(TAKE_PTR(metadata->child));
	close_cleanup(&metadata->channel);
	metadata->channel = -1;
	close_cleanup(&metadata->process.pidfd);
	metadata->process.pidfd = -1;
}

static void ended(void *data, pid_t pid, int status)
{
	struct metadata *metadata = data;
	(void)pid;
	log_warning("berth-metadata ended network=%s status=%d", metadata->network->name, status);
	let_go(metadata);
	timer_set_after(metadata->again, AGAIN_NS);
}

static int spawn(struct metadata *metadata, struct error *e)
{
	struct service *service = metadata->networks->service;
	cleanup(free) char *program = NULL;
	int ends[2];
	int r = service_program(service, "berth-metadata", &program, e);
	if (r == 0)
		r = channel_pair(ends, e);
	if (r < 0)
		return r;
	const struct process_fd fds[] = { { "channel", ends[1] },
		{ "listen", metadata->listener } };
	/* No word of its command line is of guests; but whose it is shall be seen. */
	const char *const args[] = { "berth-metadata", NULL };
	const struct process_options options = { .program = program,
		.args = args,
		.stdin_fd = -1,
		.stdout_fd = -1,
		.stderr_fd = STDERR_FILENO,
		.fds = fds,
		.fd_count = ARRAY_SIZE(fds),
		.new_session = true };
	r = process_spawn(&options, &metadata->process, e);
	close(ends[1]);
	if (r < 0) {
		metadata->process.pidfd = -1;
		close(ends[0]);
		return r;
	}
	metadata->channel = ends[0];
	r = loop_add_child(service->loop, metadata->process.pid, metadata->process.pidfd, ended,
		metadata, &metadata->child);
	if (r == 0)
		r = loop_add_fd(service->loop, metadata->channel, EPOLLIN, on_message, metadata,
			&metadata->messages);
	return r < 0 ? error_code(e, r, "watch berth-metadata") : 0;
}

static void start_again(void *data)
{
	struct metadata *metadata = data;
	struct error e = {};
	if (spawn(metadata, &e) < 0) {
		log_error("berth-metadata does not start network=%s: %s", metadata->network->name,
			e.text);
		timer_set_after(metadata->again, AGAIN_NS);
	}
}

/* Only for what comes in by the bridge. */
static int listen_at(const struct network *network, int *ret, uint16_t *ret_port, struct error *e)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t size = sizeof(address);
	memcpy(&address.sin_addr, network->config.ipv4.address.bytes, sizeof(address.sin_addr));
	cleanup(close) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 ||
		setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, network->bridge,
			(socklen_t)strlen(network->bridge)) < 0 ||
		bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(fd, BACKLOG) < 0 || getsockname(fd, (struct sockaddr *)&address, &size) < 0)
		return error_errno(e, "listen on %s", network->bridge);
	*ret_port = ntohs(address.sin_port);
	*ret = TAKE_FD(fd);
	return 0;
}

static void metadata_free(struct metadata *metadata)
{
	let_go(metadata);
	source_free(metadata->again);
	close_cleanup(&metadata->listener);
	free(metadata);
}

static int begin(struct networks *networks, struct network *network, struct error *e)
{
	struct metadata *metadata = alloc(struct metadata);
	*metadata = (struct metadata){ .networks = networks,
		.network = network,
		.listener = -1,
		.channel = -1,
		.process = { .pidfd = -1 },
		.again = loop_add_timer(networks->service->loop, start_again, metadata) };
	int r = listen_at(network, &metadata->listener, &metadata->port, e);
	if (r == 0)
		r = spawn(metadata, e);
	if (r == 0)
		r = firewall_add_metadata(networks->firewall, network->bridge, metadata->port, e);
	network->metadata = metadata;
	if (r < 0)
		metadata_stop(networks, network);
	return r;
}

void metadata_start(struct networks *networks, struct network *network)
{
	struct error e = {};
	if (network->metadata || !network->config.ipv4.address.family)
		return;
	cleanup(free) char *url = alloc_printf("/1.0/networks/%s", network->name);
	if (begin(networks, network, &e) < 0)
		service_warning(
			networks->service, WARNING, "low", network->project, url, "%s", e.text);
	else
		service_warning_resolve(networks->service, WARNING, network->project, url);
}

void metadata_stop(struct networks *networks, struct network *network)
{
	struct metadata *metadata = TAKE_PTR(network->metadata);
	int status;
	if (!metadata)
		return;
	(void)!firewall_delete_metadata(networks->firewall, network->bridge, metadata->port, NULL);
	if (metadata->process.pidfd >= 0) {
		(void)!process_signal(metadata->process.pidfd, SIGKILL);
		source_free(TAKE_PTR(metadata->child));
		(void)!process_wait(metadata->process.pidfd, &status);
	}
	metadata_free(metadata);
}

void metadata_leave(struct network *network)
{
	struct metadata *metadata = TAKE_PTR(network->metadata);
	if (metadata)
		metadata_free(metadata);
}
