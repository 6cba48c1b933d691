/* SPDX-License-Identifier: Apache-2.0 */
/*
 * switch_openvswitch.c - access VLANs by ovs-vsctl, which waits until the switch has carried it out.
 */
#include "daemon/server/switch_openvswitch.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/text.h"
#include "host/process.h"

#define NAME_MAX_BYTES 15
#define WAIT           "--timeout=10"

struct setting {
	struct service *service;
	struct process process;
	struct source *child;
	char *port;
	switch_done *done;
	void *data;
};

static const char *find_program(void)
{
	static const char *const paths[] = { "/usr/bin/ovs-vsctl", "/usr/local/bin/ovs-vsctl" };
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		if (access(paths[i], X_OK) == 0)
			return paths[i];
	return NULL;
}

static int check(const char *port, struct error *e)
{
	size_t length = strlen(port);
	if (length > 0 && length <= NAME_MAX_BYTES && port[0] != '-' &&
		strspn(port, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
			length)
		return 0;
	return error_set(e, -EINVAL, "\"%.40s\" is no port of an Open vSwitch", port);
}

static void ended(void *data, pid_t pid, int status)
{
	struct setting *setting = data;
	struct error e = {};
	int code = 0;
	(void)pid;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		code = error_set(
			&e, -EIO, "ovs-vsctl could not set the VLAN of port %s", setting->port);
	setting->done(setting->data, code, &e);
	source_free(setting->child);
	close(setting->process.pidfd);
	free(setting->port);
	free(setting);
}

static int set(struct service *service, const char *port, uint32_t vlan, switch_done *done,
	void *data, struct error *e)
{
	char tag[24];
	const char *program = find_program();
	if (!program)
		return error_set(e, -ENOENT,
			"there is no ovs-vsctl on this host; `apt-get install openvswitch-switch` "
			"brings it");
	snprintf(tag, sizeof(tag), "tag=%u", vlan);
	/* Without a tag a port carries all VLANs: what is untagged is the provisioning network. */
	const char *const args[] = { program, WAIT, vlan ? "set" : "clear", "port", port,
		vlan ? tag : "tag", NULL };
	const struct process_options options = { .program = program,
		.args = args,
		.stdin_fd = -1,
		.stdout_fd = -1,
		.stderr_fd = STDERR_FILENO };
	struct setting *setting = alloc(struct setting);
	*setting = (struct setting){
		.service = service, .port = alloc_text(port), .done = done, .data = data
	};
	int r = process_spawn(&options, &setting->process, e);
	if (r == 0)
		r = loop_add_child(service->loop, setting->process.pid, setting->process.pidfd,
			ended, setting, &setting->child);
	if (r < 0) {
		free(setting->port);
		free(setting);
	}
	return r;
}

const struct switch_driver switch_openvswitch = {
	.name = "openvswitch",
	.check = check,
	.set = set,
};
