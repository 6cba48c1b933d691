/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hvt_calls.c - the hypercalls of Solo5's hvt. Arguments are copied, then checked, then used.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "tender/hvt_machine.h"

#define PUTS_MAX MIB

static struct solo5_device *find_device(const struct hvt *hvt, uint64_t index, uint32_t type)
{
	struct solo5_manifest *manifest = &hvt->solo5->manifest;
	if (index >= manifest->count)
		return NULL;
	struct solo5_device *device = &manifest->devices[index];
	return device->is_attached && device->type == type ? device : NULL;
}

static int walltime(const struct hvt *hvt, void *arguments)
{
	struct timespec now;
	(void)hvt;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	uint64_t ns = (uint64_t)now.tv_sec * NS_PER_SEC + (uint64_t)now.tv_nsec;
	memcpy(arguments, &ns, sizeof(ns));
	return 0;
}

static int put(const struct hvt *hvt, void *arguments)
{
	struct solo5_hvt_puts puts;
	memcpy(&puts, arguments, sizeof(puts));
	const char *text = hvt_at(hvt, puts.data, puts.bytes);
	if (!text || puts.bytes > PUTS_MAX)
		return -EFAULT;
	while (puts.bytes > 0) {
		ssize_t n = write(STDOUT_FILENO, text, puts.bytes);
		if (n < 0 && errno != EINTR)
			return 0; /* nobody reads it */
		text += n > 0 ? n : 0;
		puts.bytes -= n > 0 ? (uint64_t)n : 0;
	}
	return 0;
}

static int wait_for_cards(const struct hvt *hvt, void *arguments)
{
	struct solo5_hvt_poll wait;
	struct pollfd fds[SOLO5_DEVICES_MAX];
	uint32_t devices[SOLO5_DEVICES_MAX], count = 0;
	memcpy(&wait, arguments, sizeof(wait));
	for (uint32_t i = 0; i < hvt->solo5->manifest.count; i++) {
		const struct solo5_device *device = find_device(hvt, i, SOLO5_DEVICE_NET);
		if (!device)
			continue;
		devices[count] = i;
		fds[count++] = (struct pollfd){ .fd = (int)device->host, .events = POLLIN };
	}
	const struct timespec left = { .tv_sec = (time_t)(wait.timeout_ns / NS_PER_SEC),
		.tv_nsec = (long)(wait.timeout_ns % NS_PER_SEC) };
	int ready = ppoll(fds, count, &left, NULL);
	wait.ready = 0;
	wait.result = ready > 0 ? ready : 0;
	for (uint32_t i = 0; ready > 0 && i < count; i++)
		if (fds[i].revents)
			wait.ready |= UINT64_C(1) << devices[i];
	memcpy(arguments, &wait, sizeof(wait));
	return 0;
}

static int32_t move_block(const struct hvt *hvt, struct solo5_hvt_block *block, bool is_write)
{
	const struct solo5_device *device = find_device(hvt, block->device, SOLO5_DEVICE_BLOCK);
	void *data = hvt_at(hvt, block->data, block->bytes);
	if (!device || !data || block->offset % device->block.block_bytes != 0 ||
		block->bytes != device->block.block_bytes ||
		block->offset > device->block.capacity_bytes ||
		block->bytes > device->block.capacity_bytes - block->offset)
		return SOLO5_INVALID;
	ssize_t done = is_write
		? pwrite((int)device->host, data, block->bytes, (off_t)block->offset)
		: pread((int)device->host, data, block->bytes, (off_t)block->offset);
	return done == (ssize_t)block->bytes ? SOLO5_OK : SOLO5_FAILED;
}

static int block_call(const struct hvt *hvt, void *arguments, bool is_write)
{
	struct solo5_hvt_block block;
	memcpy(&block, arguments, sizeof(block));
	block.result = move_block(hvt, &block, is_write);
	memcpy(arguments, &block, sizeof(block));
	return 0;
}

static int block_write(const struct hvt *hvt, void *arguments)
{
	return block_call(hvt, arguments, true);
}

static int block_read(const struct hvt *hvt, void *arguments)
{
	return block_call(hvt, arguments, false);
}

static int net_call(const struct hvt *hvt, void *arguments, bool is_write)
{
	struct solo5_hvt_net net;
	memcpy(&net, arguments, sizeof(net));
	const struct solo5_device *device = find_device(hvt, net.device, SOLO5_DEVICE_NET);
	void *data = hvt_at(hvt, net.data, net.bytes);
	net.result = SOLO5_INVALID;
	if (device && data) {
		ssize_t done = is_write ? write((int)device->host, data, net.bytes)
					: read((int)device->host, data, net.bytes);
		net.result = done >= 0                 ? SOLO5_OK
			: !is_write && errno == EAGAIN ? SOLO5_AGAIN
						       : SOLO5_FAILED;
		if (done >= 0 && !is_write)
			net.bytes = (uint64_t)done;
	}
	memcpy(arguments, &net, sizeof(net));
	return 0;
}

static int net_write(const struct hvt *hvt, void *arguments)
{
	return net_call(hvt, arguments, true);
}

static int net_read(const struct hvt *hvt, void *arguments)
{
	return net_call(hvt, arguments, false);
}

int hvt_call(struct hvt *hvt, uint32_t number, uint64_t address, struct error *e)
{
	static const struct {
		uint32_t bytes;
		int (*serve)(const struct hvt *hvt, void *arguments);
	} calls[] = {
		[SOLO5_HVT_WALLTIME] = { 8, walltime },
		[SOLO5_HVT_PUTS] = { sizeof(struct solo5_hvt_puts), put },
		[SOLO5_HVT_POLL] = { sizeof(struct solo5_hvt_poll), wait_for_cards },
		[SOLO5_HVT_BLOCK_WRITE] = { sizeof(struct solo5_hvt_block), block_write },
		[SOLO5_HVT_BLOCK_READ] = { sizeof(struct solo5_hvt_block), block_read },
		[SOLO5_HVT_NET_WRITE] = { sizeof(struct solo5_hvt_net), net_write },
		[SOLO5_HVT_NET_READ] = { sizeof(struct solo5_hvt_net), net_read },
	};
	static_assert(ARRAY_SIZE(calls) == SOLO5_HVT_HALT, "halt is served by who runs the CPU");
	if (number >= ARRAY_SIZE(calls) || !calls[number].serve)
		return error_set(e, -EINVAL, "there is no hypercall %u", number);
	void *arguments = hvt_at(hvt, address, calls[number].bytes);
	if (!arguments || calls[number].serve(hvt, arguments) < 0)
		return error_set(e, -EFAULT,
			"the hypercall %u names memory that the guest does not have", number);
	return 0;
}
