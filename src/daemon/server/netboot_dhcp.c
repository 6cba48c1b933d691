/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netboot_dhcp.c - starts dnsmasq for servers that boot from the network, and again whenever it ends.
 *
 * Two of its options save 17 seconds at every start: iPXE waits for a router advertisement beside DHCP, so one is
 * sent; and for other boot servers' offers, so it is told that there are none (option 175, suboption 176).
 */
#include "daemon/server/netboot_dhcp.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/network/dnsmasq.h"
#include "daemon/warnings.h"
#include "host/process.h"

#define ARGUMENTS_MAX 64
#define AGAIN_NS      (2 * NS_PER_SEC)

struct netboot_dhcp {
	struct service *service;
	char *arguments[ARGUMENTS_MAX];
	size_t argument_count;
	struct process process;
	struct source *child, *again;
};

static void add(struct netboot_dhcp *dhcp, char *argument)
{
	assert(dhcp->argument_count < ARGUMENTS_MAX - 1);
	dhcp->arguments[dhcp->argument_count++] = argument;
}

static const char *find_program(void)
{
	static const char *const paths[] = { "/usr/sbin/dnsmasq", "/usr/bin/dnsmasq",
		"/usr/local/sbin/dnsmasq" };
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		if (access(paths[i], X_OK) == 0)
			return paths[i];
	return NULL;
}

static void add_arguments(struct netboot_dhcp *dhcp, const struct netboot_dhcp_options *options)
{
	static const char *const always[] = { "--keep-in-foreground",
		"--conf-file=", "--pid-file=", "--port=0", "--no-hosts", "--no-ping",
		"--bind-interfaces", "--except-interface=lo", "--dhcp-authoritative", "--enable-ra",
		"--enable-tftp", "--tftp-unique-root=ip", "--dhcp-no-override", "--log-dhcp",
		"--dhcp-match=set:ipxe,175", "--dhcp-match=set:bios,option:client-arch,0",
		"--dhcp-match=set:efi,option:client-arch,7",
		"--dhcp-match=set:efi,option:client-arch,9",
		"--dhcp-match=set:http,option:client-arch,16",
		"--dhcp-boot=tag:!ipxe,tag:bios,undionly.kpxe",
		"--dhcp-boot=tag:!ipxe,tag:efi,ipxe.efi",
		"--dhcp-option-force=tag:http,60,HTTPClient", "--dhcp-option=encap:175,176,1b" };
	const char *dir = dhcp->service->dir_path;
	const struct passwd *user = getpwnam("dnsmasq") ?: getpwnam("nobody");
	for (size_t i = 0; i < ARRAY_SIZE(always); i++)
		add(dhcp, alloc_text(always[i]));
	add(dhcp, alloc_printf("--user=%s", user ? user->pw_name : "root"));
	add(dhcp, alloc_printf("--interface=%s", options->interface));
	add(dhcp, alloc_printf("--log-facility=%s/metal/log", dir));
	add(dhcp, alloc_printf("--dhcp-leasefile=%s/metal/state/leases", dir));
	add(dhcp, alloc_printf("--dhcp-hostsdir=%s/metal/hosts", dir));
	add(dhcp, alloc_printf("--tftp-root=%s/metal/tftp", dir));
	add(dhcp,
		alloc_printf(
			"--dhcp-range=%s,%s,%s,10m", options->first, options->last, options->mask));
	add(dhcp, alloc_printf("--dhcp-range=::,constructor:%s,ra-only", options->interface));
	add(dhcp, alloc_printf("--ra-param=%s,4,0", options->interface));
	add(dhcp, alloc_printf("--dhcp-boot=tag:ipxe,%s/boot/${net0/mac:hexhyp}", options->url));
	add(dhcp, alloc_printf("--dhcp-boot=tag:!ipxe,tag:http,%s/files/ipxe.efi", options->url));
	if (!options->has_discovery)
		add(dhcp, alloc_text("--dhcp-ignore=tag:!known"));
}

static void ended(void *data, pid_t pid, int status);

static int spawn(struct netboot_dhcp *dhcp, struct error *e)
{
	const char *const *arguments = (const char *const *)dhcp->arguments;
	struct process_options options = { .program = dhcp->arguments[0],
		.args = arguments,
		.stdin_fd = -1,
		.stdout_fd = -1,
		.stderr_fd = STDERR_FILENO,
		.die_with_us = true };
	int r = process_spawn(&options, &dhcp->process, e);
	if (r < 0) {
		dhcp->process.pidfd = -1;
		return r;
	}
	return loop_add_child(dhcp->service->loop, dhcp->process.pid, dhcp->process.pidfd, ended,
		dhcp, &dhcp->child);
}

static void ended(void *data, pid_t pid, int status)
{
	struct netboot_dhcp *dhcp = data;
	char why[DNSMASQ_WHY_BYTES];
	(void)pid;
	source_free(TAKE_PTR(dhcp->child));
	close(TAKE_FD(dhcp->process.pidfd));
	log_warning("dnsmasq of the provisioning network ended status=%d", status);
	service_warning(dhcp->service, "Network boot", "high", NULL, "/1.0/berth/servers",
		"dnsmasq of the provisioning network ended %s. It is started again",
		dnsmasq_why(status, why));
	timer_set_after(dhcp->again, AGAIN_NS);
}

static void start_again(void *data)
{
	struct netboot_dhcp *dhcp = data;
	struct error e = {};
	if (spawn(dhcp, &e) < 0) {
		log_error("dnsmasq of the provisioning network: %s", e.text);
		timer_set_after(dhcp->again, AGAIN_NS);
	}
}

/* What firmware asks for before it is iPXE. */
static int copy_loaders(int tftp, struct error *e)
{
	static const char *const names[] = { "undionly.kpxe", "ipxe.efi" };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		cleanup(free) char *from = alloc_printf("/usr/lib/ipxe/%s", names[i]);
		cleanup(close) int in = open(from, O_RDONLY | O_CLOEXEC);
		if (in < 0)
			return error_set(e, -ENOENT,
				"%s is missing; `apt-get install ipxe` brings it", from);
		cleanup(close) int out =
			openat(tftp, names[i], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
		int r = out < 0 ? -errno : file_copy(in, out);
		if (r < 0)
			return error_code(e, r, "copy %s", from);
		(void)fchmod(out, 0644);
	}
	return 0;
}

static int make_dirs(struct service *service, struct error *e)
{
	static const char *const dirs[] = { "metal/hosts", "metal/tftp", "metal/state" };
	const struct passwd *user = getpwnam("dnsmasq") ?: getpwnam("nobody");
	cleanup(close) int tftp = -1;
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		int r = file_make_dirs(service->dir, dirs[i], 0755);
		if (r < 0)
			return error_code(e, r, "make %s/%s", service->dir_path, dirs[i]);
	}
	if (user && fchownat(service->dir, "metal/state", user->pw_uid, user->pw_gid, 0) < 0)
		return error_errno(e, "give metal/state to dnsmasq");
	tftp = openat(service->dir, "metal/tftp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return tftp < 0 ? error_errno(e, "open metal/tftp") : copy_loaders(tftp, e);
}

int netboot_dhcp_start(struct service *service, const struct netboot_dhcp_options *options,
	struct netboot_dhcp **ret, struct error *e)
{
	const char *program = find_program();
	if (!program)
		return error_set(e, -ENOENT,
			"there is no dnsmasq on this host; `apt-get install dnsmasq-base` brings it");
	int r = make_dirs(service, e);
	if (r < 0)
		return r;
	struct netboot_dhcp *dhcp = alloc(struct netboot_dhcp);
	dhcp->service = service;
	dhcp->process.pidfd = -1;
	dhcp->again = loop_add_timer(service->loop, start_again, dhcp);
	add(dhcp, alloc_text(program));
	add_arguments(dhcp, options);
	r = spawn(dhcp, e);
	if (r < 0) {
		netboot_dhcp_stop(dhcp);
		return r;
	}
	*ret = dhcp;
	return 0;
}

void netboot_dhcp_tell(const struct netboot_dhcp *dhcp)
{
	if (dhcp && dhcp->process.pidfd >= 0)
		(void)!process_signal(dhcp->process.pidfd, SIGHUP);
}

void netboot_dhcp_stop(struct netboot_dhcp *dhcp)
{
	int status;
	if (!dhcp)
		return;
	source_free(dhcp->child);
	source_free(dhcp->again);
	if (dhcp->process.pidfd >= 0) {
		(void)!process_signal(dhcp->process.pidfd, SIGKILL);
		(void)!process_wait(dhcp->process.pidfd, &status);
		close(dhcp->process.pidfd);
	}
	for (size_t i = 0; i < dhcp->argument_count; i++)
		free(dhcp->arguments[i]);
	free(dhcp);
}
