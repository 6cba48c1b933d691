/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine.c - an ear at each monitor (abi/vsock.h: LISTEN), of which only the descriptors count.
 */
#include "daemon/guest/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "abi/agent.h"
#include "abi/vsock.h"
#include "base/log.h"
#include "base/text.h"

#define FDS_MAX  4                /* of one message */
#define TURN_MAX 16               /* messages of one ear in a turn of the loop */
#define PAUSE_NS (50 * NS_PER_MS) /* and no more turns than these allow */

struct ear {
	struct guest_machines *machines;
	struct ear *next;
	char *project, *name;
	int fd;
	struct source *source, *pause;
};

struct guest_machines {
	struct service *service;
	guest_machine_take *take;
	void *data;
	struct ear *ears;
};

static void ear_free(struct ear *ear)
{
	source_free(ear->source);
	source_free(ear->pause);
	close(ear->fd);
	free(ear->project);
	free(ear->name);
	free(ear);
}

static void forget(struct ear *ear)
{
	for (struct ear **at = &ear->machines->ears; *at; at = &(*at)->next) {
		if (*at == ear) {
			*at = ear->next;
			break;
		}
	}
	ear_free(ear);
}

/* 1: a message was read, whatever it said; 0: there is none; or -errno. */
static int receive(struct ear *ear)
{
	struct guest_machines *machines = ear->machines;
	char line[64];
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control = {};
	struct iovec iov = { line, sizeof(line) };
	struct msghdr message = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(ear->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	for (struct cmsghdr *head = CMSG_FIRSTHDR(&message); head;
		head = CMSG_NXTHDR(&message, head)) {
		if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(head) + i * sizeof(fd), sizeof(fd));
			struct instance *instance =
				instance_find(machines->service, ear->project, ear->name);
			if (instance && instance->live)
				machines->take(machines->data, instance, fd);
			close(fd);
		}
	}
	return n == 0 ? -ECONNRESET : 1;
}

static void heard(void *data, int fd, uint32_t events)
{
	struct ear *ear = data;
	int r = 1, turns = TURN_MAX;
	(void)fd;
	(void)events;
	while (turns-- > 0 && (r = receive(ear)) > 0)
		continue;
	if (r < 0) {
		forget(ear);
		return;
	}
	if (r > 0 && source_set_events(ear->source, 0) == 0)
		timer_set_after(ear->pause, PAUSE_NS);
}

static void again(void *data)
{
	struct ear *ear = data;
	if (source_set_events(ear->source, EPOLLIN) < 0)
		forget(ear);
}

static int connect_monitor(const struct instance *instance, struct error *e)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char line[32];
	cleanup(close) int dir = -1;
	int r = instance_open_dir(instance, &dir, e);
	if (r < 0)
		return r;
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" VSOCK_SOCKET, dir);
	cleanup(close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int length = snprintf(line, sizeof(line), "LISTEN %d\n", AGENT_GUEST_API_PORT);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
		send(fd, line, (size_t)length, MSG_NOSIGNAL) != length)
		return error_errno(e, "listen to the machine");
	return TAKE_FD(fd);
}

void guest_machines_hear(struct guest_machines *machines, struct instance *instance)
{
	struct error e = {};
	uint32_t wanted = KIND_IS_MACHINE | KIND_HAS_AGENT;
	if ((instance->kind->can & wanted) != wanted || !instance->live)
		return;
	for (struct ear *ear = machines->ears; ear; ear = ear->next)
		if (text_equal(ear->name, instance->name) &&
			text_equal(ear->project, instance->project)) {
			/* Of the run before: its end was not seen yet. */
			forget(ear);
			break;
		}
	int fd = connect_monitor(instance, &e);
	struct ear *ear = fd < 0 ? NULL : alloc(struct ear);
	if (ear) {
		*ear = (struct ear){ .machines = machines,
			.next = machines->ears,
			.project = alloc_text(instance->project),
			.name = alloc_text(instance->name),
			.fd = fd };
		machines->ears = ear;
		ear->pause = loop_add_timer(machines->service->loop, again, ear);
		int r = loop_add_fd(machines->service->loop, fd, EPOLLIN, heard, ear, &ear->source);
		if (r == 0)
			return;
		error_code(&e, r, "watch the machine");
		forget(ear);
	}
	log_warning("no guest API instance=%s: %s", instance->name, e.text);
}

struct guest_machines *guest_machines_new(
	struct service *service, guest_machine_take *take, void *data)
{
	struct guest_machines *machines = alloc(struct guest_machines);
	*machines = (struct guest_machines){ service, take, data, NULL };
	return machines;
}

void guest_machines_free(struct guest_machines *machines)
{
	if (!machines)
		return;
	for (struct ear *next; machines->ears; machines->ears = next) {
		next = machines->ears->next;
		ear_free(machines->ears);
	}
	free(machines);
}
