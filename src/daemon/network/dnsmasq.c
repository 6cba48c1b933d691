/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dnsmasq.c - the DHCP and DNS server of one network, a dnsmasq that is watched and restarted.
 *
 * Theory of operation. Our dnsmasq is known by one argument, --dhcp-leasefile in this daemon's directory:
 * the only way to find one that a killed daemon left, since it closes every descriptor it could have
 * inherited. It notices files that come, change and go in hosts/ by itself; of those that go from dhcp/
 * it must be told, once for many.
 */
#include "daemon/network/dnsmasq.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/text.h"
#include "daemon/service.h"
#include "daemon/warnings.h"
#include "host/process.h"

#define ARGUMENTS_MAX    64
#define COMMAND_LINE_MAX 8192
#define LEASES_MAX       (8 * MIB)
#define NSS_MAX          4096
#define RESTART_FIRST_NS (100 * NS_PER_MS)
#define RESTART_LAST_NS  (30 * NS_PER_SEC)
#define RUNS_WELL_NS     (10 * NS_PER_SEC)
#define TELL_AFTER_NS    (500 * NS_PER_MS)
#define END_WAIT_MS      500
#define NAME_BYTES       128
#define WARNING          "DHCP and DNS of a network do not run"

struct dnsmasq {
	struct service *service;
	char *network;
	char *url;
	int hosts, dhcp;                /* directories */
	char *arguments[ARGUMENTS_MAX]; /* owned, NULL last */
	size_t argument_count;
	struct process process; /* pidfd -1: it does not run */
	struct source *child;
	struct source *restart; /* timer */
	struct source *tell;    /* timer */
	uint64_t started_ns;
	uint64_t delay_ns;
};

static char *find_program(void)
{
	static const char *const paths[] = { "/usr/sbin/dnsmasq", "/usr/bin/dnsmasq",
		"/usr/local/sbin/dnsmasq", "/sbin/dnsmasq" };
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		if (access(paths[i], X_OK) == 0)
			return alloc_text(paths[i]);
	return NULL;
}

/* Whom it becomes when it has its sockets: Debian's own user, or nobody. */
struct user {
	const char *name;
	gid_t group;
	char group_name[64];
};

static struct user find_user(void)
{
	static const char *const names[] = { "dnsmasq", "nobody" };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct user user = { .name = names[i] };
		struct passwd entry, *found = NULL;
		struct group group, *found_group = NULL;
		char buffer[NSS_MAX];
		if (getpwnam_r(names[i], &entry, buffer, sizeof(buffer), &found) != 0 || !found)
			continue;
		user.group = found->pw_gid;
		if (getgrgid_r(user.group, &group, buffer, sizeof(buffer), &found_group) != 0 ||
			!found_group)
			continue;
		snprintf(user.group_name, sizeof(user.group_name), "%s", group.gr_name);
		return user;
	}
	return (struct user){ .name = "root", .group_name = "root" };
}

static void end(const struct process *process, int signal)
{
	struct pollfd poll_fd = { .fd = process->pidfd, .events = POLLIN };
	(void)!process_signal(process->pidfd, signal);
	if (poll(&poll_fd, 1, END_WAIT_MS) != 1) {
		(void)!process_signal(process->pidfd, SIGKILL);
		(void)poll(&poll_fd, 1, END_WAIT_MS);
	}
}

/* True if the process's command line has `argument`, or one that starts so. */
static bool has_argument(int proc, const char *pid, const char *argument)
{
	cleanup(free) char *path = alloc_printf("%s/cmdline", pid);
	cleanup(close) int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	char line[COMMAND_LINE_MAX];
	ssize_t length = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);
	if (length <= 0)
		return false;
	line[length] = '\0';
	for (const char *at = line; at < line + length; at += strlen(at) + 1)
		if (text_starts(at, argument))
			return true;
	return false;
}

static bool is_dnsmasq(int proc, const char *pid)
{
	cleanup(free) char *path = alloc_printf("%s/comm", pid);
	char name[32];
	return file_read_line(proc, path, name, sizeof(name)) > 0 && text_equal(name, "dnsmasq");
}

void dnsmasq_clear(struct service *service)
{
	cleanup(free) char *argument = alloc_printf("--dhcp-leasefile=%s/", service->dir_path);
	DIR *proc = opendir("/proc");
	for (struct dirent *entry = proc ? readdir(proc) : NULL; entry; entry = readdir(proc)) {
		uint64_t pid;
		if (text_to_u64(entry->d_name, &pid) < 0 || !is_dnsmasq(dirfd(proc), entry->d_name))
			continue;
		cleanup(close) int pidfd = process_open((pid_t)pid);
		/* Looked at after the pidfd is there: it can't be another process's by now. */
		if (pidfd >= 0 && has_argument(dirfd(proc), entry->d_name, argument))
			end(&(struct process){ .pid = (pid_t)pid, .pidfd = pidfd }, SIGTERM);
	}
	if (proc)
		closedir(proc);
}

static void add(struct dnsmasq *dnsmasq, char *argument)
{
	assert(dnsmasq->argument_count < ARGUMENTS_MAX - 1);
	dnsmasq->arguments[dnsmasq->argument_count++] = argument;
}

static void add_ipv4(struct dnsmasq *dnsmasq, const struct network_config *config)
{
	const struct network_family *family = &config->ipv4;
	char first[ADDRESS_TEXT], last[ADDRESS_TEXT];
	if (!family->address.family)
		return;
	add(dnsmasq, alloc_printf("--listen-address=%s", address_format(&family->address, first)));
	if (!family->dhcp)
		return;
	/* All but the network's own, its broadcast and the bridge's, which dnsmasq leaves out. */
	struct address low = address_network(&family->address),
		       high = address_last(&family->address);
	struct address_range all = { address_plus(&low, 1),
		address_plus(&low, address_minus(&high, &low) - 1) };
	const struct address_range *ranges = family->range_count ? family->ranges : &all;
	for (size_t i = 0; i < (family->range_count ?: 1); i++)
		add(dnsmasq,
			alloc_printf("--dhcp-range=%s,%s,%s",
				address_format(&ranges[i].first, first),
				address_format(&ranges[i].last, last), family->dhcp_expiry));
	if (family->dhcp_gateway.family)
		add(dnsmasq,
			alloc_printf("--dhcp-option=option:router,%s",
				address_format(&family->dhcp_gateway, first)));
	if (config->mtu)
		add(dnsmasq, alloc_printf("--dhcp-option=option:mtu,%u", config->mtu));
}

static void add_ipv6(
	struct dnsmasq *dnsmasq, const char *bridge, const struct network_config *config)
{
	const struct network_family *family = &config->ipv6;
	char first[ADDRESS_TEXT], last[ADDRESS_TEXT];
	if (!family->address.family)
		return;
	add(dnsmasq, alloc_printf("--listen-address=%s", address_format(&family->address, first)));
	add(dnsmasq, alloc_text("--enable-ra"));
	if (!family->dhcp) {
		add(dnsmasq, alloc_printf("--dhcp-range=::,constructor:%s,ra-only", bridge));
		return;
	}
	if (!family->is_stateful) {
		add(dnsmasq, alloc_printf("--dhcp-range=::,constructor:%s,ra-stateless", bridge));
		return;
	}
	const char *mode = family->address.prefix == 64 ? "slaac," : "";
	struct address low = address_network(&family->address);
	struct address_range all = { address_plus(&low, 2), address_last(&family->address) };
	const struct address_range *ranges = family->range_count ? family->ranges : &all;
	for (size_t i = 0; i < (family->range_count ?: 1); i++)
		add(dnsmasq,
			alloc_printf("--dhcp-range=%s,%s,%s%u,%s",
				address_format(&ranges[i].first, first),
				address_format(&ranges[i].last, last), mode, family->address.prefix,
				family->dhcp_expiry));
}

static void add_dns(
	struct dnsmasq *dnsmasq, const char *bridge, const struct network_config *config)
{
	if (config->dns == NETWORK_DNS_NONE) {
		add(dnsmasq, alloc_text("--port=0"));
		return;
	}
	add(dnsmasq, alloc_printf("--domain=%s", config->domain));
	add(dnsmasq, alloc_printf("--local=/%s/", config->domain));
	add(dnsmasq, alloc_printf("--interface-name=_gateway.%s,%s", config->domain, bridge));
	add(dnsmasq, alloc_text("--bogus-priv"));
	add(dnsmasq, alloc_text("--cache-size=1000"));
	if (config->dns == NETWORK_DNS_MANAGED)
		add(dnsmasq, alloc_text("--dhcp-ignore-names"));
	if (config->search) {
		add(dnsmasq, alloc_printf("--dhcp-option=option:domain-search,%s", config->search));
		add(dnsmasq,
			alloc_printf("--dhcp-option=option6:domain-search,%s", config->search));
	}
}

static void add_arguments(
	struct dnsmasq *dnsmasq, const struct dnsmasq_options *options, const struct user *user)
{
	cleanup(free) char *base =
		alloc_printf("%s/networks/%s", dnsmasq->service->dir_path, options->network);
	static const char *const always[] = { "--keep-in-foreground",
		"--conf-file=", "--pid-file=", "--no-hosts", "--no-ping", "--bind-interfaces",
		"--except-interface=lo", "--dhcp-authoritative", "--dhcp-no-override",
		"--dhcp-rapid-commit", "--quiet-dhcp", "--quiet-dhcp6", "--quiet-ra",
		"--dhcp-lease-max=65536" };
	for (size_t i = 0; i < ARRAY_SIZE(always); i++)
		add(dnsmasq, alloc_text(always[i]));
	add(dnsmasq, alloc_printf("--user=%s", user->name));
	add(dnsmasq, alloc_printf("--group=%s", user->group_name));
	add(dnsmasq, alloc_printf("--log-facility=%s/log", base));
	add(dnsmasq, alloc_printf("--interface=%s", options->bridge));
	add(dnsmasq, alloc_printf("--dhcp-leasefile=%s/leases", base));
	add(dnsmasq, alloc_printf("--hostsdir=%s/hosts", base));
	add(dnsmasq, alloc_printf("--dhcp-hostsdir=%s/dhcp", base));
	add_ipv4(dnsmasq, options->config);
	add_ipv6(dnsmasq, options->bridge, options->config);
	add_dns(dnsmasq, options->bridge, options->config);
}

static int open_directory(
	struct dnsmasq *dnsmasq, const char *name, gid_t group, int *ret, struct error *e)
{
	cleanup(free) char *path = alloc_printf("networks/%s/%s", dnsmasq->network, name);
	int r = file_make_dirs(dnsmasq->service->dir, "networks", 0711);
	if (r == 0)
		r = file_make_dirs(dnsmasq->service->dir, path, 0750);
	if (r < 0)
		return error_code(e, r, "make %s/%s", dnsmasq->service->dir_path, path);
	cleanup(close) int fd = openat(
		dnsmasq->service->dir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	/* Root's own, and readable for the server. */
	if (fd < 0 || fchown(fd, 0, group) < 0 || fchmod(fd, 0750) < 0)
		return error_errno(e, "open %s/%s", dnsmasq->service->dir_path, path);
	*ret = TAKE_FD(fd);
	return 0;
}

/* What an earlier daemon wrote: the instances' module leases again what is still there. */
static void empty(int directory)
{
	cleanup(close) int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *listing = copy < 0 ? NULL : fdopendir(copy);
	if (!listing)
		return;
	copy = -1;
	for (struct dirent *entry = readdir(listing); entry; entry = readdir(listing))
		if (entry->d_name[0] != '.')
			(void)unlinkat(directory, entry->d_name, 0);
	closedir(listing);
}

static void ended(void *data, pid_t pid, int status);

static int spawn(struct dnsmasq *dnsmasq, struct error *e)
{
	const char *const *arguments = (const char *const *)dnsmasq->arguments;
	struct process_options options = {
		.program = dnsmasq->arguments[0],
		.args = arguments,
		.stdin_fd = -1,
		.stdout_fd = -1,
		.stderr_fd = STDERR_FILENO,
		.new_session = true,
	};
	int r = process_spawn(&options, &dnsmasq->process, e);
	if (r < 0) {
		dnsmasq->process.pidfd = -1;
		return r;
	}
	dnsmasq->started_ns = loop_now();
	r = loop_add_child(dnsmasq->service->loop, dnsmasq->process.pid, dnsmasq->process.pidfd,
		ended, dnsmasq, &dnsmasq->child);
	assert(r == 0);
	return 0;
}

static void start_again_later(struct dnsmasq *dnsmasq)
{
	if (dnsmasq->delay_ns == 0 || loop_now() - dnsmasq->started_ns > RUNS_WELL_NS)
		dnsmasq->delay_ns = RESTART_FIRST_NS;
	timer_set_after(dnsmasq->restart, dnsmasq->delay_ns);
	dnsmasq->delay_ns *= 2;
	if (dnsmasq->delay_ns > RESTART_LAST_NS)
		dnsmasq->delay_ns = RESTART_LAST_NS;
}

const char *dnsmasq_why(int wait_status, char buffer[DNSMASQ_WHY_BYTES])
{
	/* As its manual page has them. */
	static const char *const reasons[] = { "", ": it does not take its options",
		": an address or a port that it serves is another program's",
		": a file can't be read or written", ": there is no memory" };
	if (WIFSIGNALED(wait_status)) {
		snprintf(buffer, DNSMASQ_WHY_BYTES, "by signal %d", WTERMSIG(wait_status));
	} else {
		unsigned status = (unsigned)WEXITSTATUS(wait_status);
		snprintf(buffer, DNSMASQ_WHY_BYTES, "with status %u%s", status,
			status < ARRAY_SIZE(reasons) ? reasons[status] : "");
	}
	return buffer;
}

static void ended(void *data, pid_t pid, int status)
{
	struct dnsmasq *dnsmasq = data;
	char why[DNSMASQ_WHY_BYTES];
	(void)pid;
	source_free(TAKE_PTR(dnsmasq->child));
	close(TAKE_FD(dnsmasq->process.pidfd));
	log_warning("dnsmasq ended network=%s status=%d", dnsmasq->network, status);
	service_warning(dnsmasq->service, WARNING, "moderate", NULL, dnsmasq->url,
		"dnsmasq of network %s ended %s. It is started again", dnsmasq->network,
		dnsmasq_why(status, why));
	start_again_later(dnsmasq);
}

static void restart(void *data)
{
	struct dnsmasq *dnsmasq = data;
	struct error e = {};
	if (dnsmasq->process.pidfd >= 0) {
		service_warning_resolve(dnsmasq->service, WARNING, NULL, dnsmasq->url);
		return;
	}
	int r = spawn(dnsmasq, &e);
	if (r < 0) {
		log_error("dnsmasq does not start network=%s: %s", dnsmasq->network, e.text);
		start_again_later(dnsmasq);
		return;
	}
	timer_set_after(dnsmasq->restart, RUNS_WELL_NS);
}

static void tell(void *data)
{
	struct dnsmasq *dnsmasq = data;
	if (dnsmasq->process.pidfd >= 0)
		(void)!process_signal(dnsmasq->process.pidfd, SIGHUP);
}

static void forget(struct dnsmasq *dnsmasq)
{
	source_free(dnsmasq->child);
	source_free(dnsmasq->restart);
	source_free(dnsmasq->tell);
	for (size_t i = 0; i < dnsmasq->argument_count; i++)
		free(dnsmasq->arguments[i]);
	close_cleanup(&dnsmasq->process.pidfd);
	close_cleanup(&dnsmasq->hosts);
	close_cleanup(&dnsmasq->dhcp);
	free(dnsmasq->network);
	free(dnsmasq->url);
	free(dnsmasq);
}

int dnsmasq_start(struct service *service, const struct dnsmasq_options *options,
	struct dnsmasq **ret, struct error *e)
{
	char *program = find_program();
	if (!program)
		return error_set(e, -ENOENT,
			"there is no dnsmasq on this host; `apt-get install dnsmasq-base` brings it");
	struct dnsmasq *dnsmasq = alloc(struct dnsmasq);
	*dnsmasq = (struct dnsmasq){
		.service = service,
		.network = alloc_text(options->network),
		.url = alloc_printf("/1.0/networks/%s", options->network),
		.hosts = -1,
		.dhcp = -1,
		.process = { .pidfd = -1 },
	};
	dnsmasq->restart = loop_add_timer(service->loop, restart, dnsmasq);
	dnsmasq->tell = loop_add_timer(service->loop, tell, dnsmasq);
	add(dnsmasq, program);
	struct user user = find_user();
	add_arguments(dnsmasq, options, &user);
	int above = -1, r = open_directory(dnsmasq, ".", user.group, &above, e);
	if (r == 0) {
		/* It grows as long as one runs. */
		(void)unlinkat(above, "log", 0);
		close(above);
		r = open_directory(dnsmasq, "hosts", user.group, &dnsmasq->hosts, e);
	}
	if (r == 0)
		r = open_directory(dnsmasq, "dhcp", user.group, &dnsmasq->dhcp, e);
	if (r == 0) {
		empty(dnsmasq->hosts);
		empty(dnsmasq->dhcp);
		r = spawn(dnsmasq, e);
	}
	if (r < 0) {
		forget(dnsmasq);
		return r;
	}
	*ret = dnsmasq;
	return 0;
}

void dnsmasq_stop(struct dnsmasq *dnsmasq)
{
	int status;
	if (!dnsmasq)
		return;
	if (dnsmasq->process.pidfd >= 0) {
		end(&dnsmasq->process, SIGTERM);
		source_free(TAKE_PTR(dnsmasq->child));
		(void)!process_wait(dnsmasq->process.pidfd, &status);
	}
	forget(dnsmasq);
}

void dnsmasq_leave(struct dnsmasq *dnsmasq)
{
	if (dnsmasq)
		forget(dnsmasq);
}

void dnsmasq_remove_files(struct service *service, const char *network)
{
	cleanup(free) char *path = alloc_printf("networks/%s", network);
	(void)!file_remove_tree(service->dir, path);
}

/* Readers see the old or the new file; not kept over a crash of the host, which needs it no more. */
static int write_file(int directory, const char *name, const char *text, struct error *e)
{
	char hidden[NAME_BYTES];
	snprintf(hidden, sizeof(hidden), ".%s", name);
	(void)unlinkat(directory, hidden, 0);
	cleanup(close) int fd = openat(
		directory, hidden, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return error_errno(e, "make the entry %s of dnsmasq", name);
	int r = file_write_all(fd, text, strlen(text));
	if (r == 0 && (fchmod(fd, 0644) < 0 || renameat(directory, hidden, directory, name) < 0))
		r = -errno;
	return r < 0 ? error_code(e, r, "write the entry %s of dnsmasq", name) : 0;
}

static void add_name(struct text *text, const struct address *address, const char *name)
{
	char buffer[ADDRESS_TEXT];
	if (address->family)
		text_printf(text, "%s %s %.*s\n", address_format(address, buffer), name,
			(int)strcspn(name, "."), name);
}

int dnsmasq_put(struct dnsmasq *dnsmasq, const struct dnsmasq_host *host, struct error *e)
{
	char buffer[ADDRESS_TEXT];
	cleanup(text_done) struct text names = {}, lease = {};
	if (host->name) {
		add_name(&names, &host->ipv4, host->name);
		add_name(&names, &host->ipv6, host->name);
	}
	text_add(&lease, host->mac);
	if (host->ipv4.family)
		text_printf(&lease, ",%s", address_format(&host->ipv4, buffer));
	if (host->ipv6.family)
		text_printf(&lease, ",[%s]", address_format(&host->ipv6, buffer));
	if (host->name)
		text_printf(&lease, ",%.*s", (int)strcspn(host->name, "."), host->name);
	text_add_char(&lease, '\n');
	int r = write_file(dnsmasq->hosts, host->file, text_str(&names), e);
	if (r == 0)
		r = write_file(dnsmasq->dhcp, host->file, text_str(&lease), e);
	return r;
}

void dnsmasq_delete(struct dnsmasq *dnsmasq, const char *file)
{
	(void)unlinkat(dnsmasq->hosts, file, 0);
	if (unlinkat(dnsmasq->dhcp, file, 0) == 0)
		timer_set_after(dnsmasq->tell, TELL_AFTER_NS);
}

/* "EXPIRY MAC ADDRESS NAME CLIENT-ID", for DHCPv6 "EXPIRY IAID ADDRESS NAME DUID"; "duid ..." between. */
static void read_lease(char *line, dnsmasq_lease_call *call, void *data)
{
	char *fields[4] = {}, *rest = line;
	uint8_t mac[MAC_SIZE];
	struct address address;
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		fields[i] = strsep(&rest, " ");
	if (!fields[3] || address_parse(fields[2], &address) < 0)
		return;
	call(data, mac_parse(fields[1], mac) == 0 ? fields[1] : "", fields[2],
		text_equal(fields[3], "*") ? "" : fields[3]);
}

void dnsmasq_leases(
	struct service *service, const char *network, dnsmasq_lease_call *call, void *data)
{
	cleanup(free) char *path = alloc_printf("networks/%s/leases", network);
	cleanup(free) char *text = NULL;
	if (file_read(service->dir, path, LEASES_MAX, &text, NULL, NULL) < 0)
		return;
	char *rest = text;
	for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n"))
		read_lease(line, call, data);
}
