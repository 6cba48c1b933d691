/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netboot.c - the provisioning network goes on and off with the daemon's config.
 */
#include "daemon/server/netboot.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/config.h"
#include "daemon/job.h"
#include "daemon/remote.h"
#include "daemon/server/netboot_dhcp.h"
#include "daemon/warnings.h"

#define USUAL_PORT      8470
#define USUAL_ARGUMENTS "console=tty0 console=ttyS0,115200n8 panic=60 quiet"
#define FIRST_HOST      10u

static void off(struct netboot *netboot)
{
	if (netboot->job)
		job_cancel(TAKE_PTR(netboot->job));
	netboot_dhcp_stop(TAKE_PTR(netboot->dhcp));
	free(TAKE_PTR(netboot->interface));
	free(TAKE_PTR(netboot->kernel));
	if (netboot->initial >= 0)
		close(netboot->initial);
	netboot->initial = -1;
	netboot->is_on = false;
	netboot->why = (struct error){};
}

static int find_address(struct netboot *netboot, struct error *e)
{
	struct ifaddrs *all;
	int r = -ENODEV;
	if (getifaddrs(&all) < 0)
		return error_errno(e, "list the addresses of this host");
	for (const struct ifaddrs *one = all; one; one = one->ifa_next) {
		struct sockaddr_in address, mask;
		if (!one->ifa_addr || one->ifa_addr->sa_family != AF_INET || !one->ifa_netmask ||
			!text_equal(one->ifa_name, netboot->interface))
			continue;
		memcpy(&address, one->ifa_addr, sizeof(address));
		memcpy(&mask, one->ifa_netmask, sizeof(mask));
		netboot->address = address.sin_addr;
		netboot->prefix = (uint32_t)__builtin_popcount(mask.sin_addr.s_addr);
		r = 0;
		break;
	}
	freeifaddrs(all);
	if (r < 0)
		return error_set(
			e, r, "berth.metal.interface: %s has no IPv4 address", netboot->interface);
	if (netboot->prefix < 8 || netboot->prefix > 26)
		return error_set(e, -EINVAL,
			"berth.metal.interface: a /%u is no network for servers", netboot->prefix);
	return 0;
}

static int find_kernel(struct netboot *netboot, char **ret_dir, struct error *e)
{
	const char *configured = config_get(netboot->service, "berth.metal.kernel");
	cleanup(free) char *dir =
		alloc_text(configured ?: config_get(netboot->service, "berth.kernel"));
	glob_t found = {};
	if (!dir)
		return error_set(e, -ENOENT,
			"berth.metal.kernel: servers need a kernel; unpack Debian's linux-image-amd64 and "
			"say where");
	cleanup(free) char *pattern = alloc_printf("%s/boot/vmlinuz*", dir);
	if (glob(pattern, 0, NULL, &found) != 0) {
		globfree(&found);
		return error_set(e, -ENOENT, "berth.metal.kernel: there is no %s", pattern);
	}
	netboot->kernel = alloc_text(found.gl_pathv[found.gl_pathc - 1]);
	globfree(&found);
	*ret_dir = TAKE_PTR(dir);
	return 0;
}

static struct in_addr host_at(const struct netboot *netboot, uint32_t n)
{
	uint32_t mask = UINT32_MAX << (32 - netboot->prefix);
	return (struct in_addr){ htonl((ntohl(netboot->address.s_addr) & mask) + n) };
}

static int start_dhcp(struct netboot *netboot, struct error *e)
{
	char first[INET_ADDRSTRLEN], last[INET_ADDRSTRLEN], mask[INET_ADDRSTRLEN];
	uint32_t all = UINT32_C(1) << (32 - netboot->prefix);
	struct in_addr low = host_at(netboot, all / 2), high = host_at(netboot, all - 2);
	struct in_addr bits = { htonl(UINT32_MAX << (32 - netboot->prefix)) };
	cleanup(free) char *url = netboot_url(netboot->service);
	const struct netboot_dhcp_options options = { .interface = netboot->interface,
		.first = inet_ntop(AF_INET, &low, first, sizeof(first)),
		.last = inet_ntop(AF_INET, &high, last, sizeof(last)),
		.mask = inet_ntop(AF_INET, &bits, mask, sizeof(mask)),
		.url = url,
		.has_discovery = netboot->has_discovery };
	return netboot_dhcp_start(netboot->service, &options, &netboot->dhcp, e);
}

static bool is_true(struct service *service, const char *key, bool usual)
{
	const char *value = config_get(service, key);
	return value ? text_equal(value, "true") : usual;
}

static void is_over(struct netboot *netboot, const struct error *e)
{
	struct service *service = netboot->service;
	off(netboot);
	netboot->why = *e;
	log_error("network boot is off: %s", e->text);
	service_warning(service, "Network boot", "high", NULL, "/1.0/berth/servers",
		"network boot is off: %s", e->text);
	if (netboot->changed)
		netboot->changed(service);
}

/* The last step: who boots finds all of it. */
static void initial_made(void *data, int code, json_t *result, const struct error *e)
{
	struct service *service = data;
	struct netboot *netboot = service->netboot;
	struct error error = {};
	/* Another one has taken its place, or is not wanted any more. */
	if (code == -ECANCELED || !netboot)
		return;
	netboot->job = NULL;
	netboot->initial_bytes = (uint64_t)json_integer_value(json_object_get(result, "bytes"));
	if (code == 0 && netboot->has_dhcp) {
		e = &error;
		code = start_dhcp(netboot, &error);
	}
	if (code < 0) {
		is_over(netboot, e);
		return;
	}
	netboot->is_on = true;
	netboot->why = (struct error){};
	log_info("network boot is on interface=%s", netboot->interface);
	if (netboot->changed)
		netboot->changed(service);
}

static int make_initial(struct netboot *netboot, const char *kernel, struct error *e)
{
	cleanup(free) char *agent = NULL;
	int r = service_program(netboot->service, "berth-agent", &agent, e);
	if (r < 0)
		return r;
	netboot->initial = memfd_create("initrd", MFD_CLOEXEC);
	if (netboot->initial < 0)
		return error_errno(e, "make the initial file system");
	error_set(&netboot->why, -ENOTCONN, "the provisioning network is being set up");
	return job_start(netboot->service,
		&(struct job_options){ .task = json_pack("{s:s, s:s, s:s}", "task", "initial",
					       "kernel", kernel, "agent", agent),
			.fds = { netboot->initial },
			.fd_count = 1,
			.done = initial_made,
			.data = netboot->service },
		&netboot->job, e);
}

static int on(struct netboot *netboot, const char *interface, struct error *e)
{
	struct service *service = netboot->service;
	const char *port = config_get(service, "berth.metal.port");
	cleanup(free) char *kernel = NULL;
	uint64_t number = USUAL_PORT;
	netboot->interface = alloc_text(interface);
	if (port && text_to_u64(port, &number) < 0)
		number = USUAL_PORT;
	netboot->port = (uint16_t)number;
	netboot->has_discovery = is_true(service, "berth.metal.discovery", false);
	netboot->has_dhcp = is_true(service, "berth.metal.dhcp", true);
	netboot->is_warm = is_true(service, "berth.metal.warm", true);
	int r = find_address(netboot, e);
	if (r == 0)
		r = find_kernel(netboot, &kernel, e);
	if (r == 0)
		r = make_initial(netboot, kernel, e);
	return r;
}

static void carry_out(void *data)
{
	struct netboot *netboot = data;
	struct service *service = netboot->service;
	const char *interface = config_get(service, "berth.metal.interface");
	struct error e = {};
	netboot->is_waiting = false;
	off(netboot);
	if (interface && on(netboot, interface, &e) < 0)
		is_over(netboot, &e);
	else if (netboot->changed)
		netboot->changed(service);
}

static void changed(struct service *service, const char *value)
{
	struct netboot *netboot = service->netboot;
	(void)value;
	if (!netboot || netboot->is_waiting)
		return;
	netboot->is_waiting = true;
	loop_defer(service->loop, carry_out, netboot);
}

static int check_bool(const char *value, struct error *e)
{
	if (text_equal(value, "true") || text_equal(value, "false"))
		return 0;
	return error_set(e, -EINVAL, "true or false is wanted");
}

static int check_interface(const char *value, struct error *e)
{
	if (strlen(value) < IF_NAMESIZE && if_nametoindex(value) != 0)
		return 0;
	return error_set(e, -EINVAL, "there is no interface %.40s", value);
}

static int check_port(const char *value, struct error *e)
{
	uint64_t port;
	if (text_to_u64(value, &port) == 0 && port > 0 && port <= UINT16_MAX)
		return 0;
	return error_set(e, -EINVAL, "a port is wanted, 1 to %d", UINT16_MAX);
}

static const struct config_key keys[] = {
	{ .name = "berth.metal.interface", .check = check_interface, .changed = changed },
	{ .name = "berth.metal.port", .check = check_port, .changed = changed },
	{ .name = "berth.metal.kernel", .changed = changed },
	{ .name = "berth.metal.discovery", .check = check_bool, .changed = changed },
	{ .name = "berth.metal.dhcp", .check = check_bool, .changed = changed },
	{ .name = "berth.metal.warm", .check = check_bool, .changed = changed },
	{ .name = "berth.metal.arguments" },
	{ .name = "berth.metal.agent", .check = remote_check_destination },
};

int netboot_start(struct service *service, struct error *e)
{
	(void)e;
	service->netboot = alloc(struct netboot);
	service->netboot->service = service;
	service->netboot->initial = -1;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		config_add(service, &keys[i]);
	/* With the first turn of the loop: who listens to changes is there by then. */
	changed(service, NULL);
	return 0;
}

void netboot_stop(struct service *service)
{
	struct netboot *netboot = TAKE_PTR(service->netboot);
	if (!netboot)
		return;
	off(netboot);
	free(netboot);
}

int netboot_check(const struct service *service, struct error *e)
{
	const struct netboot *netboot = service->netboot;
	if (netboot->is_on)
		return 0;
	if (netboot->why.text[0])
		return error_set(e, -ENOTCONN, "%s", netboot->why.text);
	return error_set(e, -ENOTCONN,
		"servers need a provisioning network: set berth.metal.interface to an interface "
		"of its own");
}

char *netboot_url(const struct service *service)
{
	char address[INET_ADDRSTRLEN];
	inet_ntop(AF_INET, &service->netboot->address, address, sizeof(address));
	return alloc_printf("http://%s:%u", address, service->netboot->port);
}

char *netboot_arguments(
	const struct service *service, const char *token, const char *mac, const char *address)
{
	const char *arguments =
		config_get(service->netboot->service, "berth.metal.arguments") ?: USUAL_ARGUMENTS;
	cleanup(free) char *url = netboot_url(service);
	return alloc_printf("%.512s berth.call=%s/agent/%s berth.nic=%s berth.address=%s",
		arguments, url, token, mac, address);
}

char *netboot_address(const struct service *service, uint32_t n)
{
	const struct netboot *netboot = service->netboot;
	char address[INET_ADDRSTRLEN];
	uint32_t all = UINT32_C(1) << (32 - netboot->prefix);
	if (!netboot->is_on || FIRST_HOST + n >= all / 2)
		return NULL;
	struct in_addr host = host_at(netboot, FIRST_HOST + n);
	if (host.s_addr == netboot->address.s_addr)
		return alloc_text("");
	inet_ntop(AF_INET, &host, address, sizeof(address));
	return alloc_printf("%s/%u", address, netboot->prefix);
}

int netboot_host_put(struct service *service, const char *name, const char *mac,
	const char *address, struct error *e)
{
	cleanup(free) char *line =
		alloc_printf("%s,%.*s,%s\n", mac, (int)strcspn(address, "/"), address, name);
	cleanup(free) char *path = alloc_printf("metal/hosts/%s", name);
	int r = file_make_dirs(service->dir, "metal/hosts", 0755);
	return r < 0 ? error_code(e, r, "make metal/hosts")
		     : file_replace(service->dir, path, line, strlen(line), 0644, e);
}

void netboot_host_delete(struct service *service, const char *name)
{
	cleanup(free) char *path = alloc_printf("metal/hosts/%s", name);
	if (unlinkat(service->dir, path, 0) == 0 && service->netboot)
		netboot_dhcp_tell(service->netboot->dhcp);
}
