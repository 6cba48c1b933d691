/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rng.c - getrandom(2) into the guest's buffers, at most 4 KiB a request.
 */
#include "vmm/virtio/rng.h"

#include <sys/random.h>

#define QUEUE_SIZE    64
#define REQUEST_BYTES 4096

struct rng {
	struct virtio_device device;
	struct chain chain;
};

static struct rng *rng_of(struct virtio_device *device)
{
	return container_of(device, struct rng, device);
}

static uint32_t fill(const struct chain *chain)
{
	uint8_t bytes[256];
	uint64_t wanted = chain->write_bytes < REQUEST_BYTES ? chain->write_bytes : REQUEST_BYTES;
	uint64_t done = 0;
	while (done < wanted) {
		size_t part = wanted - done < sizeof(bytes) ? wanted - done : sizeof(bytes);
		ssize_t n = getrandom(bytes, part, 0);
		if (n <= 0)
			break;
		done += chain_write(chain, done, bytes, (size_t)n);
	}
	return (uint32_t)done;
}

static void kicked(struct virtio_device *device, uint16_t index)
{
	struct chain *chain = &rng_of(device)->chain;
	struct queue *queue = &device->queues[index];
	int r, budget = VIRTIO_BUDGET;
	while ((r = queue_pop(queue, chain)) > 0 && budget-- > 0)
		queue_push(queue, chain, fill(chain));
	if (r < 0)
		virtio_broken(device);
	else if (queue_arm(queue))
		virtio_again(device, index);
	virtio_notify(device, queue);
}

static void nothing(struct virtio_device *device)
{
	(void)device;
}

static void save(const struct virtio_device *device, struct state *state, const char *name)
{
	(void)device;
	state_put(state, name, 1, NULL, 0);
}

static int load(
	struct virtio_device *device, const struct state *state, const char *name, struct error *e)
{
	(void)device;
	return state_get(state, name, 1, NULL, 0, e);
}

static void free_rng(struct virtio_device *device)
{
	struct rng *rng = rng_of(device);
	virtio_device_done(device);
	free(rng);
}

static const struct virtio_driver rng_driver = {
	.name = "rng",
	.id = VIRTIO_ID_RNG,
	.class_code = 0x00ff00,
	.started = nothing,
	.kicked = kicked,
	.reset = nothing,
	.config_written = virtio_config_is_fixed,
	.settle = nothing,
	.save = save,
	.load = load,
	.free = free_rng,
};

struct virtio_device *rng_new(struct guest *guest, struct loop *loop, struct bus *bus)
{
	struct rng *rng = alloc(struct rng);
	virtio_device_init(&rng->device, &rng_driver, guest, loop, bus, 1, QUEUE_SIZE);
	return &rng->device;
}
