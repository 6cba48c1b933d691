/* SPDX-License-Identifier: Apache-2.0 */
/*
 * remote.c - the TLS port and the server's own certificate.
 *
 * A new address is bound before it is stored, so that one which can't be is refused and the old port stays.
 * The certificate (DIR/server.crt, DIR/server.key) is made when it is first needed: a daemon without a port
 * has none. An administrator may put another one there.
 */
#include "daemon/remote.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/config.h"
#include "daemon/warnings.h"

#define PORT_USUAL       8443
#define BACKLOG          1024
#define CONNECTIONS_MAX  4096
#define HANDSHAKE_NS     (10 * NS_PER_SEC)
#define CERTIFICATE_FILE "server.crt"
#define KEY_FILE         "server.key"
#define WARNING          "Unable to listen on the HTTPS address"

/* A port that is given up, for the connections it still has. */
struct retired {
	struct tls_server *server;
	struct retired *next;
};

struct remote {
	struct service *service;
	struct retired *retired;
	remote_accept_call *accept;
	void *data;
	struct certificate certificate;
	char *key;
	struct tls_server *server;
	struct sockaddr_storage address; /* of the port */
	/* Bound for a change that is not stored yet. */
	int next_fd;
	struct sockaddr_storage next_address;
};

/* -- the certificate ------------------------------------------------------------------------------ */

static int make_certificate(struct remote *remote, struct error *e)
{
	char host[256] = "berth";
	(void)gethostname(host, sizeof(host) - 1);
	/* A common name holds 64 characters. */
	host[64] = '\0';
	cleanup(free) char *pem = NULL, *key = NULL;
	int r = certificate_make(host, &pem, &key, e);
	if (r == 0)
		r = file_replace(remote->service->dir, KEY_FILE, key, strlen(key), 0600, e);
	if (r == 0)
		r = file_replace(remote->service->dir, CERTIFICATE_FILE, pem, strlen(pem), 0644, e);
	if (r == 0)
		r = certificate_read(pem, strlen(pem), &remote->certificate, e);
	if (r < 0)
		return r;
	remote->key = TAKE_PTR(key);
	log_info("made a certificate fingerprint=%s", remote->certificate.fingerprint);
	return 0;
}

static int load_certificate(struct remote *remote, struct error *e)
{
	cleanup(free) char *pem = NULL, *key = NULL;
	size_t length;
	if (remote->key)
		return 0;
	int r = file_read(
		remote->service->dir, CERTIFICATE_FILE, CERTIFICATE_MAX_SIZE, &pem, &length, NULL);
	if (r == -ENOENT)
		return make_certificate(remote, e);
	if (r < 0)
		return error_code(e, r, "read " CERTIFICATE_FILE);
	r = file_read(remote->service->dir, KEY_FILE, CERTIFICATE_MAX_SIZE, &key, NULL, e);
	if (r == 0)
		r = certificate_read(pem, length, &remote->certificate, e);
	if (r < 0)
		return error_prefix(e, r, CERTIFICATE_FILE);
	remote->key = TAKE_PTR(key);
	return 0;
}

int remote_certificate(struct service *service, const struct certificate **ret, struct error *e)
{
	int r = load_certificate(service->remote, e);
	if (r == 0)
		*ret = &service->remote->certificate;
	return r;
}

const struct certificate *remote_known_certificate(const struct service *service)
{
	const struct remote *remote = service->remote;
	return remote && remote->key ? &remote->certificate : NULL;
}

/* -- the port ------------------------------------------------------------------------------------- */

/* "ADDRESS", "ADDRESS:PORT", ":PORT", "[ADDRESS]:PORT"; no names. */
static int parse(const char *text, struct sockaddr_storage *ret, struct error *e)
{
	char host[64] = "";
	const char *port = NULL, *colon = strrchr(text, ':'), *end = strchr(text, ']');
	size_t length = strlen(text);
	if (text[0] == '[' && end) {
		length = (size_t)(end - text) - 1;
		port = end[1] == ':' ? end + 2 : NULL;
		if (end[1] && !port)
			length = sizeof(host);
		text++;
	} else if (colon && strchr(text, ':') == colon) {
		length = (size_t)(colon - text);
		port = colon + 1;
	}
	uint64_t number = PORT_USUAL;
	bool is_good = length < sizeof(host) &&
		(!port || (text_to_u64(port, &number) == 0 && number > 0 && number <= UINT16_MAX));
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)number) };
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons((uint16_t)number) };
	if (is_good) {
		memcpy(host, text, length);
		host[length] = '\0';
	}
	*ret = (struct sockaddr_storage){};
	if (is_good && (length == 0 || inet_pton(AF_INET6, host, &six.sin6_addr) == 1))
		memcpy(ret, &six, sizeof(six));
	else if (is_good && inet_pton(AF_INET, host, &four.sin_addr) == 1)
		memcpy(ret, &four, sizeof(four));
	else
		return error_set(e, -EINVAL,
			"\"%.80s\" is no address like 192.0.2.1:8443, [2001:db8::1]:8443 or :8443",
			text);
	return 0;
}

static int check_address(const char *value, struct error *e)
{
	struct sockaddr_storage address;
	return parse(value, &address, e);
}

static int check_password(const char *value, struct error *e)
{
	(void)value;
	return error_set(
		e, -EINVAL, "passwords are not taken; make a token instead (lxc config trust add)");
}

static int listen_at(const struct sockaddr_storage *address, struct error *e)
{
	socklen_t size = address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
							: sizeof(struct sockaddr_in);
	cleanup(close) int fd =
		socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
	if (fd < 0)
		return error_errno(e, "socket");
	int on = 1, off = 0;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (address->ss_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, (const struct sockaddr *)address, size) < 0 || listen(fd, BACKLOG) < 0)
		return error_errno(e, "listen");
	return TAKE_FD(fd);
}

static bool is_any(const struct sockaddr_storage *address)
{
	if (address->ss_family == AF_INET6)
		return IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)address)->sin6_addr);
	return ((const struct sockaddr_in *)address)->sin_addr.s_addr == 0;
}

static uint16_t port_of(const struct sockaddr_storage *address)
{
	return ntohs(address->ss_family == AF_INET6
			? ((const struct sockaddr_in6 *)address)->sin6_port
			: ((const struct sockaddr_in *)address)->sin_port);
}

/* A host without IPv6 listens on 0.0.0.0 when any address is meant. */
static int open_port(const char *text, struct sockaddr_storage *ret, struct error *e)
{
	int r = parse(text, ret, e);
	if (r < 0)
		return r;
	int fd = listen_at(ret, e);
	if (fd == -EAFNOSUPPORT && is_any(ret)) {
		struct sockaddr_in four = { .sin_family = AF_INET,
			.sin_port = htons(port_of(ret)) };
		*ret = (struct sockaddr_storage){};
		memcpy(ret, &four, sizeof(four));
		fd = listen_at(ret, e);
	}
	return fd;
}

static void accepted(void *data, int fd, struct tls_peer *peer)
{
	struct remote *remote = data;
	remote->accept(remote->data, fd, peer);
}

/* Who asked for the change is perhaps one of its clients: they go on. */
static void retire(struct remote *remote)
{
	for (struct retired **at = &remote->retired; *at;) {
		struct retired *old = *at;
		if (tls_server_count(old->server) > 0) {
			at = &old->next;
			continue;
		}
		*at = old->next;
		tls_server_free(old->server);
		free(old);
	}
	if (!remote->server)
		return;
	tls_server_stop(remote->server);
	struct retired *retired = alloc(struct retired);
	*retired = (struct retired){ TAKE_PTR(remote->server), remote->retired };
	remote->retired = retired;
}

/* Takes `fd`. */
static int serve(
	struct remote *remote, int fd, const struct sockaddr_storage *address, struct error *e)
{
	int r = load_certificate(remote, e);
	if (r < 0) {
		close(fd);
		return r;
	}
	struct tls_options options = {
		.listen_fd = fd,
		.certificate = remote->certificate.pem,
		.key = remote->key,
		.connection_limit = CONNECTIONS_MAX,
		.handshake_timeout_ns = HANDSHAKE_NS,
		.accepted = accepted,
		.data = remote,
	};
	struct tls_server *server = NULL;
	r = tls_server_new(remote->service->loop, &options, &server, e);
	if (r < 0)
		return r;
	retire(remote);
	remote->server = server;
	remote->address = *address;
	return 0;
}

/* The port of an address that is only changed in its host part is bound still. */
static int prepare(struct service *service, const char *value, struct error *e)
{
	struct remote *remote = service->remote;
	if (remote->next_fd >= 0)
		close(TAKE_FD(remote->next_fd));
	if (!value)
		return 0;
	int r = load_certificate(remote, e);
	if (r < 0)
		return r;
	struct sockaddr_storage wanted;
	r = parse(value, &wanted, e);
	if (r < 0)
		return r;
	bool is_same_port = remote->server && port_of(&wanted) == port_of(&remote->address);
	/* As whoever holds the port is ourselves, it can only be let go of first. */
	if (is_same_port)
		retire(remote);
	int fd = open_port(value, &remote->next_address, e);
	if (fd < 0 && is_same_port) {
		int old = listen_at(&remote->address, NULL);
		if (old >= 0)
			(void)!serve(remote, old, &remote->address, NULL);
	}
	if (fd < 0)
		return fd;
	remote->next_fd = fd;
	return 0;
}

static void changed(struct service *service, const char *value)
{
	struct remote *remote = service->remote;
	struct error e = {};
	if (!value) {
		retire(remote);
		return;
	}
	int fd = TAKE_FD(remote->next_fd);
	if (fd >= 0 && serve(remote, fd, &remote->next_address, &e) < 0)
		log_error("core.https_address: %s", e.text);
	service_warning_resolve(service, WARNING, NULL, "/1.0");
}

static const struct config_key address_key = { "core.https_address", check_address, prepare,
	changed };
static const struct config_key password_key = { "core.trust_password", check_password, NULL, NULL };

int remote_start(struct service *service, remote_accept_call *accept, void *data, struct error *e)
{
	(void)e;
	struct remote *remote = alloc(struct remote);
	remote->service = service;
	remote->accept = accept;
	remote->data = data;
	remote->next_fd = -1;
	service->remote = remote;
	config_add(service, &address_key);
	config_add(service, &password_key);
	const char *value = config_get(service, address_key.name);
	if (!value)
		return 0;
	struct error why = {};
	int r = prepare(service, value, &why);
	if (r == 0)
		r = serve(remote, TAKE_FD(remote->next_fd), &remote->next_address, &why);
	if (r == 0) {
		service_warning_resolve(service, WARNING, NULL, "/1.0");
		return 0;
	}
	log_error("core.https_address %s: %s", value, why.text);
	service_warning(service, WARNING, "high", NULL, "/1.0", "%s: %s", value, why.text);
	return 0;
}

void remote_close(struct service *service)
{
	if (service->remote)
		tls_server_stop(service->remote->server);
}

void remote_stop(struct service *service)
{
	struct remote *remote = TAKE_PTR(service->remote);
	if (!remote)
		return;
	retire(remote);
	while (remote->retired) {
		struct retired *old = remote->retired;
		remote->retired = old->next;
		tls_server_free(old->server);
		free(old);
	}
	if (remote->next_fd >= 0)
		close(remote->next_fd);
	certificate_done(&remote->certificate);
	free(remote->key);
	free(remote);
}

int remote_check_destination(const char *text, struct error *e)
{
	struct sockaddr_storage address;
	const char *end = strchr(text, ']'), *colon = strchr(text, ':');
	bool has_port = text[0] == '[' ? end && end[1] == ':'
				       : colon && colon != text && colon == strrchr(text, ':');
	if (has_port && parse(text, &address, NULL) == 0 && !is_any(&address))
		return 0;
	return error_set(e, -EINVAL,
		"\"%.80s\" is no address and port like 192.0.2.1:8443 or [2001:db8::1]:8443", text);
}

/* -- addresses ------------------------------------------------------------------------------------ */

static void add_address(json_t *list, const struct sockaddr *address, uint16_t port)
{
	char text[INET6_ADDRSTRLEN];
	bool is_six = address->sa_family == AF_INET6;
	const void *bytes = is_six
		? (const void *)&((const struct sockaddr_in6 *)address)->sin6_addr
		: (const void *)&((const struct sockaddr_in *)address)->sin_addr;
	if (inet_ntop(address->sa_family, bytes, text, sizeof(text)))
		json_array_append_new(
			list, json_sprintf(is_six ? "[%s]:%u" : "%s:%u", text, (unsigned int)port));
}

/* One that a client elsewhere may reach. */
static bool is_global(const struct ifaddrs *at, int family)
{
	if (!at->ifa_addr || (at->ifa_flags & IFF_LOOPBACK) || !(at->ifa_flags & IFF_UP))
		return false;
	if (at->ifa_addr->sa_family == AF_INET)
		return true;
	return at->ifa_addr->sa_family == AF_INET6 && family == AF_INET6 &&
		!IN6_IS_ADDR_LINKLOCAL(&((const struct sockaddr_in6 *)at->ifa_addr)->sin6_addr);
}

json_t *remote_addresses(const struct service *service)
{
	json_t *list = json_array();
	const struct remote *remote = service->remote;
	if (!remote || !remote->server)
		return list;
	struct ifaddrs *all = NULL;
	if (!is_any(&remote->address)) {
		add_address(
			list, (const struct sockaddr *)&remote->address, port_of(&remote->address));
		return list;
	}
	if (getifaddrs(&all) < 0)
		return list;
	for (const struct ifaddrs *at = all; at; at = at->ifa_next)
		if (is_global(at, remote->address.ss_family))
			add_address(list, at->ifa_addr, port_of(&remote->address));
	freeifaddrs(all);
	return list;
}
