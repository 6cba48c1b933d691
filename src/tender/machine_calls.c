/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine_calls.c - what a library OS in a machine asks for. Arguments are copied, then checked, then used.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tender/machine_parts.h"
#include "tender/machine_state.h"
#include "unikernel/platform.h"

#define TRANSFER_MOST (16 * MIB)

static int64_t result_of(ssize_t r)
{
	return r < 0 ? -errno : r;
}

void *machine_at(const struct machine *machine, uint64_t at, uint64_t bytes, bool is_read)
{
	if (bytes > TRANSFER_MOST)
		return NULL;
	if (at <= machine->memory_bytes && bytes <= machine->memory_bytes - at)
		return machine->memory + at;
	if (is_read && at >= machine->image_at && at - machine->image_at <= machine->image_bytes &&
		bytes <= machine->image_bytes - (at - machine->image_at))
		return (uint8_t *)(uintptr_t)machine->options->root + (at - machine->image_at);
	return NULL;
}

static int64_t start(struct machine *machine, const uint64_t *arguments)
{
	if (arguments[0] % sizeof(uint64_t) || !machine_at(machine, arguments[0], 8, false))
		return -EFAULT;
	machine->signals_at = arguments[0];
	return 0;
}

/* The program is about to run: who started us is told. */
static int64_t begin(struct machine *machine, const uint64_t *arguments)
{
	struct timespec now;
	(void)arguments;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	if (machine->options->report)
		machine->options->report->started_ns =
			(uint64_t)now.tv_sec * NS_PER_SEC + (uint64_t)now.tv_nsec;
	return result_of(close(MACHINE_READY_FD));
}

static int64_t console_write(struct machine *machine, const uint64_t *arguments)
{
	const void *data = machine_at(machine, arguments[1], arguments[2], true);
	int fd = arguments[0] == 2 ? STDERR_FILENO : STDOUT_FILENO;
	return data ? result_of(write(fd, data, arguments[2])) : -EFAULT;
}

static int64_t console_read(struct machine *machine, const uint64_t *arguments)
{
	void *data = machine_at(machine, arguments[0], arguments[1], false);
	return data ? result_of(read(STDIN_FILENO, data, arguments[1])) : -EFAULT;
}

static int64_t console_ready(struct machine *machine, const uint64_t *arguments)
{
	struct pollfd console = { .fd = STDIN_FILENO, .events = POLLIN };
	const struct timespec now = {};
	(void)machine;
	(void)arguments;
	return ppoll(&console, 1, &now, NULL) > 0;
}

static int64_t wait_for(struct machine *machine, const uint64_t *arguments)
{
	bool wants_console = arguments[1] != 0, has_card = machine->options->card->fd != 0;
	struct pollfd both[2] = { { .fd = wants_console ? STDIN_FILENO : -1, .events = POLLIN },
		{ .fd = has_card ? MACHINE_CARD_FD : -1, .events = POLLIN } };
	machine->wait_left.tv_sec = (time_t)(arguments[0] / NS_PER_SEC % INT32_MAX);
	machine->wait_left.tv_nsec = (long)(arguments[0] % NS_PER_SEC);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (machine->signals) /* one that comes later makes it nothing itself */
		machine->wait_left.tv_sec = machine->wait_left.tv_nsec = 0;
	/* Not libc's, which would take a copy of the time. */
	if (syscall(SYS_ppoll, both, 2, &machine->wait_left, NULL, sizeof(uint64_t)) <= 0)
		return 0;
	return (both[0].revents ? PLATFORM_CONSOLE : 0u) | (both[1].revents ? PLATFORM_NET : 0u);
}

static int64_t net_send(struct machine *machine, const uint64_t *arguments)
{
	struct machine_part parts[MACHINE_PARTS_MOST];
	struct iovec vectors[MACHINE_PARTS_MOST];
	if (arguments[1] > MACHINE_PARTS_MOST || !machine->options->card->fd)
		return -EINVAL;
	const void *list =
		machine_at(machine, arguments[0], arguments[1] * sizeof(struct machine_part), true);
	if (!list)
		return -EFAULT;
	memcpy(parts, list, arguments[1] * sizeof(struct machine_part));
	for (uint64_t i = 0; i < arguments[1]; i++) {
		void *data = machine_at(machine, parts[i].at, parts[i].bytes, true);
		if (!data)
			return -EFAULT;
		vectors[i] = (struct iovec){ data, parts[i].bytes };
	}
	return result_of(writev(MACHINE_CARD_FD, vectors, (int)arguments[1]));
}

static int64_t net_receive(struct machine *machine, const uint64_t *arguments)
{
	void *data = machine_at(machine, arguments[0], arguments[1], false);
	if (!data || !machine->options->card->fd)
		return -EFAULT;
	return result_of(read(MACHINE_CARD_FD, data, arguments[1]));
}

static int64_t volume_read(struct machine *machine, const uint64_t *arguments)
{
	void *data = machine_at(machine, arguments[1], arguments[2], false);
	if (!data || !machine->options->volume_fd)
		return -EFAULT;
	return result_of(
		pread(MACHINE_VOLUME_FD, data, arguments[2], (off_t)(arguments[0] & INT64_MAX)));
}

static int64_t volume_write(struct machine *machine, const uint64_t *arguments)
{
	const void *data = machine_at(machine, arguments[1], arguments[2], true);
	if (!data || !machine->options->volume_fd)
		return -EFAULT;
	return result_of(
		pwrite(MACHINE_VOLUME_FD, data, arguments[2], (off_t)(arguments[0] & INT64_MAX)));
}

static int64_t volume_flush(struct machine *machine, const uint64_t *arguments)
{
	(void)arguments;
	return machine->options->volume_fd ? result_of(fdatasync(MACHINE_VOLUME_FD)) : -EFAULT;
}

static int64_t release(struct machine *machine, const uint64_t *arguments)
{
	uint64_t at = arguments[0], bytes = arguments[1];
	if (at % 4096 || bytes % 4096 || at > machine->memory_bytes ||
		bytes > machine->memory_bytes - at)
		return -EINVAL;
	if (!machine->shows_state)
		return result_of(madvise(machine->memory + at, bytes, MADV_DONTNEED));
	/* What it is mapped from would show again. */
	return mmap(machine->memory + at, bytes, PROT_READ | PROT_WRITE, MACHINE_FRESH, -1, 0) ==
			MAP_FAILED
		? -errno
		: 0;
}

/* Asked for by a signal that only comes where there is a channel. */
static int64_t keep(struct machine *machine, const uint64_t *arguments)
{
	if (!machine->options->channel_fd)
		return -ENOTSUP;
	machine_state_send(machine, machine->call, (int)(arguments[0] & 4095));
	return 0;
}

int machine_call(struct machine *machine, uint32_t address)
{
	static int64_t (*const serve[])(struct machine * machine, const uint64_t *arguments) = {
		[MACHINE_START] = start,
		[MACHINE_BEGIN] = begin,
		[MACHINE_CONSOLE_WRITE] = console_write,
		[MACHINE_CONSOLE_READ] = console_read,
		[MACHINE_CONSOLE_READY] = console_ready,
		[MACHINE_WAIT] = wait_for,
		[MACHINE_NET_SEND] = net_send,
		[MACHINE_NET_RECEIVE] = net_receive,
		[MACHINE_VOLUME_READ] = volume_read,
		[MACHINE_VOLUME_WRITE] = volume_write,
		[MACHINE_VOLUME_FLUSH] = volume_flush,
		[MACHINE_RELEASE] = release,
		[MACHINE_KEEP] = keep,
	};
	struct machine_call call;
	void *place = machine_at(machine, address, sizeof(call), false);
	if (!place)
		return -EFAULT;
	memcpy(&call, place, sizeof(call));
	if (call.operation == MACHINE_EXIT) {
		machine->status = (int)(uint8_t)call.arguments[0];
		return 1;
	}
	machine->call = place;
	call.result = call.operation < ARRAY_SIZE(serve) && serve[call.operation]
		? serve[call.operation](machine, call.arguments)
		: -ENOSYS;
	memcpy(place, &call, sizeof(call));
	return 0;
}
