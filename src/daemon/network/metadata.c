/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metadata.c - the metadata service of each network: instances ask 169.254.169.254 who they are.
 *
 * The socket listens at a port of the network's gateway that the kernel chooses; the packet filter redirects to it.
 * It stays the daemon's, so that a berth-metadata that ends is followed by another one.
 */
#include "daemon/network/metadata.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "abi/metadata.h"
#include "base/channel.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/companion.h"
#include "daemon/instance/instances.h"
#include "daemon/network/table.h"
#include "daemon/warnings.h"
#include "model/json.h"

#define BACKLOG  256
#define AGAIN_NS (2 * NS_PER_SEC)
#define WARNING  "Metadata service of a network does not run"

struct metadata {
	struct networks *networks;
	struct network *network;
	int listener;
	uint16_t port;
	struct companion companion; /* berth-metadata */
	struct source *again;
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
	int r = channel_send(
		metadata->companion.channel, &message, sizeof(message), &fd, fd < 0 ? 0 : 1);
	if (r < 0 && r != -EPIPE)
		log_warning("metadata not answered network=%s code=%d", metadata->network->name, r);
}

static void on_message(void *data)
{
	struct metadata *metadata = data;
	struct metadata_question question;
	/* Some a turn: others want the loop, too. */
	for (int i = 0; i < 16; i++) {
		size_t length =
			companion_receive(&metadata->companion, &question, sizeof(question));
		if (!length)
			return;
		if (length == sizeof(question) && question.version == METADATA_VERSION)
			answer(metadata, &question);
	}
}

static void ended(void *data, int wait_status)
{
	struct metadata *metadata = data;
	log_warning(
		"berth-metadata ended network=%s status=%d", metadata->network->name, wait_status);
	timer_set_after(metadata->again, AGAIN_NS);
}

static int spawn(struct metadata *metadata, struct error *e)
{
	const struct process_fd fds[] = { { "listen", metadata->listener } };
	return companion_start(&metadata->companion, metadata->networks->service,
		&(struct companion_options){ .program = "berth-metadata",
			.fds = fds,
			.fd_count = ARRAY_SIZE(fds),
			.ready = on_message,
			.ended = ended,
			.data = metadata },
		e);
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
	companion_leave(&metadata->companion);
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
		.companion = COMPANION_NONE,
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
	if (!metadata)
		return;
	(void)!firewall_delete_metadata(networks->firewall, network->bridge, metadata->port, NULL);
	companion_stop(&metadata->companion);
	metadata_free(metadata);
}

void metadata_leave(struct network *network)
{
	struct metadata *metadata = TAKE_PTR(network->metadata);
	if (metadata)
		metadata_free(metadata);
}
