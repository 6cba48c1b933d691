/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console.c - the virtio console.
 */
#include "vmm/virtio/console.h"

#define QUEUE_SIZE   64
#define RECEIVE      0
#define SEND         1
#define F_SIZE       0
#define F_EMERGENCY  2
#define OUTPUT_CHUNK 512

struct console_config {
	uint16_t columns, rows;
	uint32_t ports_max;
	uint32_t emergency;
};
static_assert(sizeof(struct console_config) == 12, "layout");

struct console {
	struct virtio_device device;
	struct console_config config;
	struct virtio_console_options options;
	struct chain chain;
};

static struct console *console_of(struct virtio_device *device)
{
	return container_of(device, struct console, device);
}

static void output(struct console *console, const struct chain *chain)
{
	uint8_t bytes[OUTPUT_CHUNK];
	uint64_t at = 0;
	size_t n;
	while ((n = chain_read(chain, at, bytes, sizeof(bytes))) > 0) {
		if (console->options.output)
			console->options.output(console->options.data, bytes, n);
		at += n;
	}
}

static void kicked(struct virtio_device *device, uint16_t index)
{
	struct console *console = console_of(device);
	struct queue *queue = &device->queues[index];
	int r, budget = VIRTIO_BUDGET;
	if (index == RECEIVE) {
		if (console->options.drained)
			console->options.drained(console->options.data);
		return;
	}
	while ((r = queue_pop(queue, &console->chain)) > 0 && budget-- > 0) {
		output(console, &console->chain);
		queue_push(queue, &console->chain, 0);
	}
	virtio_notify(device, queue);
	if (r < 0)
		virtio_broken(device);
	else if (queue_arm(queue))
		virtio_again(device, index);
}

size_t virtio_console_input(struct virtio_device *device, const uint8_t *bytes, size_t count)
{
	struct console *console = console_of(device);
	struct queue *queue = &device->queues[RECEIVE];
	size_t done = 0;
	int r = 0;
	if (!device->is_started || !queue->is_ready)
		return count; /* nobody listens: it is gone, as on a cable */
	while (done < count && (r = queue_pop(queue, &console->chain)) > 0) {
		size_t n = chain_write(&console->chain, 0, bytes + done, count - done);
		queue_push(queue, &console->chain, (uint32_t)n);
		done += n;
		if (n == 0)
			break;
	}
	if (r < 0) {
		virtio_broken(device);
		return count;
	}
	queue_arm(queue);
	virtio_notify(device, queue);
	return done;
}

void virtio_console_resize(struct virtio_device *device, uint16_t columns, uint16_t rows)
{
	struct console *console = console_of(device);
	console->config.columns = columns;
	console->config.rows = rows;
	virtio_config_changed(device);
}

void virtio_console_connect(
	struct virtio_device *device, const struct virtio_console_options *options)
{
	console_of(device)->options = *options;
}

static void nothing(struct virtio_device *device)
{
	(void)device;
}

static void config_written(struct virtio_device *device, uint32_t offset, uint32_t bytes)
{
	struct console *console = console_of(device);
	if (offset != offsetof(struct console_config, emergency) || bytes != 4)
		return;
	uint8_t byte = (uint8_t)console->config.emergency;
	if (console->options.output)
		console->options.output(console->options.data, &byte, 1);
}

static void save(const struct virtio_device *device, struct state *state, const char *name)
{
	const struct console *console = (const void *)device;
	static_assert(offsetof(struct console, device) == 0, "layout");
	state_put(state, name, 1, &console->config, sizeof(console->config));
}

static int load(
	struct virtio_device *device, const struct state *state, const char *name, struct error *e)
{
	struct console *console = console_of(device);
	return state_get(state, name, 1, &console->config, sizeof(console->config), e);
}

static void free_console(struct virtio_device *device)
{
	virtio_device_done(device);
	free(console_of(device));
}

static const struct virtio_driver console_driver = {
	.name = "console",
	.id = VIRTIO_ID_CONSOLE,
	.class_code = 0x078000,
	.started = nothing,
	.kicked = kicked,
	.reset = nothing,
	.config_written = config_written,
	.settle = nothing,
	.save = save,
	.load = load,
	.free = free_console,
};

struct virtio_device *virtio_console_new(struct guest *guest, struct loop *loop, struct bus *bus)
{
	struct console *console = alloc(struct console);
	struct virtio_device *device = &console->device;
	console->config = (struct console_config){ .columns = 80, .rows = 25, .ports_max = 1 };
	device->config = &console->config;
	device->config_size = sizeof(console->config);
	device->config_is_writable = true;
	device->features = UINT64_C(1) << F_SIZE | UINT64_C(1) << F_EMERGENCY;
	virtio_device_init(device, &console_driver, guest, loop, bus, 2, QUEUE_SIZE);
	return device;
}
