/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pci.c - the virtio registers in one memory BAR.
 *
 * The BAR: common registers, ISR, device configuration, doorbells (4 bytes a queue), MSI-X table and
 * pending bits, a page each (the table two). A doorbell is an eventfd: with the engine's help a guest's
 * write wakes the I/O thread and nothing else; without it the register's write does the same. The bell of a
 * queue that is served at once is never the engine's.
 */
#include "vmm/virtio/pci.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#define BAR             0
#define BAR_BYTES       0x8000
#define COMMON_AT       0x0000u
#define ISR_AT          0x1000u
#define DEVICE_AT       0x2000u
#define NOTIFY_AT       0x3000u
#define MSIX_TABLE_AT   0x4000u
#define MSIX_PENDING_AT 0x6000u
#define WINDOW_BYTES    0x1000u
#define NOTIFY_STEP     4u
#define NO_VECTOR       0xffff
#define ISR_QUEUE       1
#define ISR_CONFIG      2

struct doorbell {
	struct virtio_pci *transport;
	uint16_t queue;
	int event_fd;
	uint64_t at; /* where the engine watches, or 0 */
	struct source *source;
};

struct virtio_pci {
	struct pci_device pci;
	struct virtio_device *device;
	struct doorbell *doorbells;
	uint32_t device_feature_select, driver_feature_select;
	uint16_t queue_select, config_vector;
	uint8_t isr, config_generation;
	bool is_paused;
	uint8_t config_access; /* offset of the capability that reads and writes the BAR */
};

static struct queue *selected(struct virtio_pci *transport)
{
	if (transport->queue_select >= transport->device->queue_count)
		return NULL;
	return &transport->device->queues[transport->queue_select];
}

static uint32_t features_word(uint64_t features, uint32_t select)
{
	return select < 2 ? (uint32_t)(features >> (32 * select)) : 0;
}

static struct virtio_pci_common common_state(struct virtio_pci *transport)
{
	const struct virtio_device *device = transport->device;
	const struct queue *queue = selected(transport);
	struct virtio_pci_common common = {
		.device_feature_select = transport->device_feature_select,
		.device_feature = features_word(device->features, transport->device_feature_select),
		.driver_feature_select = transport->driver_feature_select,
		.driver_feature = features_word(device->acked, transport->driver_feature_select),
		.config_vector = transport->config_vector,
		.queue_count = device->queue_count,
		.status = device->status,
		.config_generation = transport->config_generation,
		.queue_select = transport->queue_select,
	};
	if (queue) {
		common.queue_size = queue->size;
		common.queue_vector = queue->vector;
		common.queue_enable = queue->is_ready || queue->is_broken;
		common.queue_notify_offset = transport->queue_select;
		common.queue_desc = queue->desc_at;
		common.queue_driver = queue->driver_at;
		common.queue_device = queue->device_at;
	}
	return common;
}

static void queue_enable(struct virtio_pci *transport, struct queue *queue)
{
	struct virtio_device *device = transport->device;
	if (queue->is_ready || !(device->status & VIRTIO_STATUS_FEATURES_OK))
		return;
	if (queue_start(queue, virtio_has(device, VIRTIO_F_PACKED),
		    virtio_has(device, VIRTIO_F_EVENT_INDEX)) < 0)
		virtio_broken(device);
}

static uint16_t valid_vector(const struct virtio_pci *transport, uint64_t vector)
{
	return vector < transport->pci.msix_count ? (uint16_t)vector : NO_VECTOR;
}

static void address_write(uint64_t *address, uint64_t offset, uint32_t bytes, uint64_t value)
{
	if (offset + bytes <= sizeof(*address))
		memcpy((uint8_t *)address + offset, &value, bytes);
}

static void queue_register_write(
	struct virtio_pci *transport, uint64_t offset, uint32_t bytes, uint64_t value)
{
	struct queue *queue = selected(transport);
	if (!queue)
		return;
	if (offset == offsetof(struct virtio_pci_common, queue_vector)) {
		queue->vector = valid_vector(transport, value);
		return;
	}
	if (queue->is_ready)
		return;
	if (offset == offsetof(struct virtio_pci_common, queue_size)) {
		if (value <= queue->size_max)
			queue->size = (uint16_t)value;
	} else if (offset == offsetof(struct virtio_pci_common, queue_enable)) {
		if (value == 1)
			queue_enable(transport, queue);
	} else if (offset >= offsetof(struct virtio_pci_common, queue_device)) {
		address_write(&queue->device_at,
			offset - offsetof(struct virtio_pci_common, queue_device), bytes, value);
	} else if (offset >= offsetof(struct virtio_pci_common, queue_driver)) {
		address_write(&queue->driver_at,
			offset - offsetof(struct virtio_pci_common, queue_driver), bytes, value);
	} else if (offset >= offsetof(struct virtio_pci_common, queue_desc)) {
		address_write(&queue->desc_at,
			offset - offsetof(struct virtio_pci_common, queue_desc), bytes, value);
	}
}

static void driver_feature_write(struct virtio_pci *transport, uint32_t value)
{
	struct virtio_device *device = transport->device;
	uint32_t select = transport->driver_feature_select;
	if (select >= 2 || (device->status & VIRTIO_STATUS_FEATURES_OK))
		return;
	device->acked &= ~(UINT64_C(0xffffffff) << (32 * select));
	device->acked |= (uint64_t)value << (32 * select);
}

static void device_reset(struct virtio_pci *transport)
{
	virtio_set_status(transport->device, 0);
	transport->config_vector = NO_VECTOR;
	transport->queue_select = 0;
	transport->isr = 0;
	pci_line(&transport->pci, false);
}

static void common_write(
	struct virtio_pci *transport, uint64_t offset, uint32_t bytes, uint64_t value)
{
	switch (offset) {
	case offsetof(struct virtio_pci_common, device_feature_select):
		transport->device_feature_select = (uint32_t)value;
		break;
	case offsetof(struct virtio_pci_common, driver_feature_select):
		transport->driver_feature_select = (uint32_t)value;
		break;
	case offsetof(struct virtio_pci_common, driver_feature):
		driver_feature_write(transport, (uint32_t)value);
		break;
	case offsetof(struct virtio_pci_common, config_vector):
		transport->config_vector = valid_vector(transport, value);
		break;
	case offsetof(struct virtio_pci_common, status):
		if ((uint8_t)value == 0)
			device_reset(transport);
		else
			virtio_set_status(transport->device, (uint8_t)value);
		break;
	case offsetof(struct virtio_pci_common, queue_select):
		transport->queue_select = (uint16_t)value;
		break;
	default:
		queue_register_write(transport, offset, bytes, value);
	}
}

static uint64_t isr_read(struct virtio_pci *transport)
{
	uint8_t isr = transport->isr;
	transport->isr = 0;
	pci_line(&transport->pci, false);
	return isr;
}

static uint64_t bar_read(void *data, uint64_t offset, uint32_t bytes)
{
	struct virtio_pci *transport = data;
	struct virtio_device *device = transport->device;
	uint64_t window = offset & ~(uint64_t)(WINDOW_BYTES - 1), inside = offset - window;
	switch (window) {
	case COMMON_AT: {
		struct virtio_pci_common common = common_state(transport);
		return bytes_get(&common, sizeof(common), inside, bytes);
	}
	case ISR_AT:
		return inside == 0 ? isr_read(transport) : 0;
	case DEVICE_AT:
		return bytes_get(device->config, device->config_size, inside, bytes);
	case NOTIFY_AT:
		return 0;
	case MSIX_PENDING_AT:
		return pci_msix_pending_read(&transport->pci, inside, bytes);
	default:
		if (offset >= MSIX_TABLE_AT && offset < MSIX_PENDING_AT)
			return pci_msix_table_read(&transport->pci, offset - MSIX_TABLE_AT, bytes);
		return UINT64_MAX;
	}
}

static void ring(struct doorbell *doorbell)
{
	uint64_t one = 1;
	/* It fails only when the counter is full: then the bell rings already. */
	if (write(doorbell->event_fd, &one, sizeof(one)) < 0)
		return;
}

static bool is_at_once(const struct virtio_device *device, uint64_t queue)
{
	return queue > 0 && queue == device->queue_at_once;
}

static void notify(struct virtio_pci *transport, uint64_t queue)
{
	struct virtio_device *device = transport->device;
	if (queue >= device->queue_count)
		return;
	if (!is_at_once(device, queue))
		ring(&transport->doorbells[queue]);
	else if (device->is_started && device->queues[queue].is_ready)
		device->driver->kicked(device, (uint16_t)queue);
}

static void device_config_write(
	struct virtio_pci *transport, uint64_t offset, uint32_t bytes, uint64_t value)
{
	struct virtio_device *device = transport->device;
	if (offset > device->config_size || bytes > device->config_size - offset || bytes > 8)
		return;
	if (!device->config_is_writable)
		return;
	memcpy((uint8_t *)device->config + offset, &value, bytes);
	device->driver->config_written(device, (uint32_t)offset, bytes);
}

static void bar_write(void *data, uint64_t offset, uint32_t bytes, uint64_t value)
{
	struct virtio_pci *transport = data;
	uint64_t window = offset & ~(uint64_t)(WINDOW_BYTES - 1), inside = offset - window;
	switch (window) {
	case COMMON_AT:
		common_write(transport, inside, bytes, value);
		break;
	case DEVICE_AT:
		device_config_write(transport, inside, bytes, value);
		break;
	case NOTIFY_AT:
		notify(transport, inside / NOTIFY_STEP);
		break;
	default:
		if (offset >= MSIX_TABLE_AT && offset < MSIX_PENDING_AT)
			pci_msix_table_write(&transport->pci, offset - MSIX_TABLE_AT, bytes, value);
	}
}

static const struct region_calls bar_calls = { bar_read, bar_write };

static void kicked(void *data, int fd, uint32_t events)
{
	struct doorbell *doorbell = data;
	struct virtio_device *device = doorbell->transport->device;
	uint64_t count;
	(void)events;
	if (read(fd, &count, sizeof(count)) < 0)
		return;
	const struct wires *wires = doorbell->transport->pci.pci->wires;
	bus_guard(device->bus);
	if (wires->rung)
		wires->rung(wires->data);
	if (device->is_started && device->queues[doorbell->queue].is_ready &&
		!is_at_once(device, doorbell->queue))
		device->driver->kicked(device, doorbell->queue);
}

/* Linux's INTx handler and MSI-X alike: a vector if they are on, else the ISR and the line. */
static void send(struct virtio_pci *transport, uint16_t vector, uint8_t isr)
{
	if (pci_msix_is_enabled(&transport->pci)) {
		pci_msix_send(&transport->pci, vector);
		return;
	}
	transport->isr |= isr;
	pci_line(&transport->pci, true);
}

static void queue_interrupt(void *data, uint16_t vector)
{
	send(data, vector, ISR_QUEUE);
}

static void config_interrupt(void *data)
{
	struct virtio_pci *transport = data;
	transport->config_generation++;
	send(transport, transport->config_vector, ISR_CONFIG);
}

static void doorbell_move(struct virtio_pci *transport, struct doorbell *doorbell, uint64_t at)
{
	const struct wires *wires = transport->pci.pci->wires;
	if (doorbell->at == at)
		return;
	if (doorbell->at)
		wires->doorbell(wires->data, doorbell->at, doorbell->event_fd, false);
	doorbell->at = 0;
	if (at && wires->doorbell(wires->data, at, doorbell->event_fd, true) == 0)
		doorbell->at = at;
}

static void bar_moved(struct pci_device *pci, int index)
{
	struct virtio_pci *transport = container_of(pci, struct virtio_pci, pci);
	const struct pci_bar *bar = &pci->bars[index];
	for (uint16_t i = 0; i < transport->device->queue_count; i++)
		if (!is_at_once(transport->device, i))
			doorbell_move(transport, &transport->doorbells[i],
				bar->is_mapped ? bar->region.at + NOTIFY_AT + NOTIFY_STEP * i : 0);
}

/* The capability by which firmware that cannot reach the BAR reads and writes it. */
static bool config_access(
	struct virtio_pci *transport, uint32_t offset, uint64_t *at, uint32_t *bytes)
{
	struct virtio_pci_capability capability;
	if (offset < transport->config_access + sizeof(capability) ||
		offset >= transport->config_access + sizeof(capability) + 4)
		return false;
	memcpy(&capability, transport->pci.config + transport->config_access, sizeof(capability));
	*at = capability.offset;
	*bytes = capability.bytes;
	return capability.bar == BAR && (*bytes == 1 || *bytes == 2 || *bytes == 4) &&
		*at <= BAR_BYTES - *bytes && *at % *bytes == 0;
}

static void config_reading(struct pci_device *pci, uint32_t offset, uint32_t bytes)
{
	struct virtio_pci *transport = container_of(pci, struct virtio_pci, pci);
	uint64_t at;
	(void)bytes;
	if (!config_access(transport, offset, &at, &bytes))
		return;
	uint64_t value = bar_read(transport, at, bytes);
	memcpy(pci->config + transport->config_access + sizeof(struct virtio_pci_capability),
		&value, bytes);
}

static void config_written(struct pci_device *pci, uint32_t offset, uint32_t bytes)
{
	struct virtio_pci *transport = container_of(pci, struct virtio_pci, pci);
	uint64_t at, value = 0;
	(void)bytes;
	if (!config_access(transport, offset, &at, &bytes))
		return;
	memcpy(&value,
		pci->config + transport->config_access + sizeof(struct virtio_pci_capability),
		bytes);
	bar_write(transport, at, bytes, value);
}

static void ring_again(void *data, uint16_t queue)
{
	struct virtio_pci *transport = data;
	ring(&transport->doorbells[queue]);
}

static const struct pci_device_calls pci_calls = { config_written, config_reading, bar_moved };

static uint8_t add_capability(
	struct pci_device *pci, uint8_t type, uint32_t offset, uint32_t bytes, uint8_t extra)
{
	uint8_t length = (uint8_t)(sizeof(struct virtio_pci_capability) + extra);
	uint8_t at = pci_capability(pci, 9, length);
	struct virtio_pci_capability capability = {
		.id = 9,
		.next = pci->config[at + 1],
		.length = length,
		.type = type,
		.bar = BAR,
		.offset = offset,
		.bytes = bytes,
	};
	memcpy(pci->config + at, &capability, sizeof(capability));
	return at;
}

static void describe(struct virtio_pci *transport)
{
	struct pci_device *pci = &transport->pci;
	const struct virtio_device *device = transport->device;
	uint16_t id = device->driver->id;
	pci_identify(pci, VIRTIO_PCI_VENDOR, (uint16_t)(VIRTIO_PCI_PRODUCT_BASE + id),
		device->driver->class_code, 1, VIRTIO_PCI_VENDOR, 0x1100);
	pci_bar(pci, BAR, false, BAR_BYTES, &bar_calls, transport);
	add_capability(pci, VIRTIO_PCI_COMMON, COMMON_AT, sizeof(struct virtio_pci_common), 0);
	add_capability(pci, VIRTIO_PCI_ISR, ISR_AT, 1, 0);
	if (device->config_size)
		add_capability(pci, VIRTIO_PCI_DEVICE, DEVICE_AT, device->config_size, 0);
	uint8_t notify = add_capability(
		pci, VIRTIO_PCI_NOTIFY, NOTIFY_AT, NOTIFY_STEP * device->queue_count, 4);
	uint32_t step = NOTIFY_STEP;
	memcpy(pci->config + notify + sizeof(struct virtio_pci_capability), &step, sizeof(step));
	transport->config_access = add_capability(pci, VIRTIO_PCI_CONFIG, 0, 0, 4);
	pci->writable[transport->config_access + offsetof(struct virtio_pci_capability, bar)] =
		0xff;
	memset(pci->writable + transport->config_access +
			offsetof(struct virtio_pci_capability, offset),
		0xff, 12);
	pci_msix_init(
		pci, (uint16_t)(device->queue_count + 1), BAR, MSIX_TABLE_AT, MSIX_PENDING_AT);
}

static void doorbells_close(struct virtio_pci *transport)
{
	for (uint16_t i = 0; transport->doorbells && i < transport->device->queue_count; i++) {
		struct doorbell *doorbell = &transport->doorbells[i];
		source_free(doorbell->source);
		if (doorbell->event_fd >= 0)
			close(doorbell->event_fd);
	}
	free(transport->doorbells);
	transport->doorbells = NULL;
}

static int doorbells_open(struct virtio_pci *transport, struct error *e)
{
	uint16_t count = transport->device->queue_count;
	transport->doorbells = alloc_array(count, struct doorbell);
	for (uint16_t i = 0; i < count; i++)
		transport->doorbells[i] = (struct doorbell){ transport, i, -1, 0, NULL };
	for (uint16_t i = 0; i < count; i++) {
		struct doorbell *doorbell = &transport->doorbells[i];
		doorbell->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (doorbell->event_fd < 0)
			return error_errno(e, "eventfd");
		int r = loop_add_fd(transport->device->loop, doorbell->event_fd, EPOLLIN, kicked,
			doorbell, &doorbell->source);
		if (r < 0)
			return error_code(e, r, "watch a doorbell");
	}
	return 0;
}

int virtio_pci_new(struct pci *pci, uint8_t slot, struct virtio_device *device,
	struct virtio_pci **ret, struct error *e)
{
	struct virtio_pci *transport = alloc(struct virtio_pci);
	transport->device = device;
	transport->config_vector = NO_VECTOR;
	transport->pci.calls = &pci_calls;
	device->interrupt = queue_interrupt;
	device->config_interrupt = config_interrupt;
	device->ring = ring_again;
	device->transport = transport;
	describe(transport);
	int r = doorbells_open(transport, e);
	if (r == 0)
		r = pci_add(pci, &transport->pci, slot, 0, e);
	if (r < 0) {
		doorbells_close(transport);
		free(transport->pci.msix);
		free(transport);
		return r;
	}
	*ret = transport;
	return 0;
}

void virtio_pci_free(struct virtio_pci *transport)
{
	if (!transport)
		return;
	virtio_set_status(transport->device, 0);
	pci_remove(&transport->pci);
	doorbells_close(transport);
	transport->device->driver->free(transport->device);
	free(transport);
}

struct virtio_device *virtio_pci_device(struct virtio_pci *transport)
{
	return transport->device;
}

void virtio_pci_reset(struct virtio_pci *transport)
{
	device_reset(transport);
}

void virtio_pci_pause(struct virtio_pci *transport, bool is_paused)
{
	if (transport->is_paused == is_paused)
		return;
	transport->is_paused = is_paused;
	if (is_paused)
		transport->device->driver->settle(transport->device);
	for (uint16_t i = 0; i < transport->device->queue_count; i++) {
		struct doorbell *doorbell = &transport->doorbells[i];
		if (source_set_events(doorbell->source, is_paused ? 0 : EPOLLIN) < 0)
			continue;
		/* What the guest put in before it stopped, or before it was saved, waits. */
		if (!is_paused)
			ring(doorbell);
	}
}

struct transport_saved {
	uint32_t device_feature_select, driver_feature_select;
	uint16_t queue_select, config_vector;
	uint8_t isr, config_generation, reserved[2];
};
static_assert(sizeof(struct transport_saved) == 16, "layout");

void virtio_pci_save(struct virtio_pci *transport, struct state *state)
{
	struct transport_saved saved = {
		.device_feature_select = transport->device_feature_select,
		.driver_feature_select = transport->driver_feature_select,
		.queue_select = transport->queue_select,
		.config_vector = transport->config_vector,
		.isr = transport->isr,
		.config_generation = transport->config_generation,
	};
	char name[STATE_NAME_SIZE];
	state_put(state, state_name(name, "virtio-pci", transport->pci.slot), 1, &saved,
		sizeof(saved));
	virtio_save(transport->device, state, state_name(name, "virtio", transport->pci.slot));
}

int virtio_pci_load(struct virtio_pci *transport, const struct state *state, struct error *e)
{
	struct transport_saved saved;
	char name[STATE_NAME_SIZE];
	int r = state_get(state, state_name(name, "virtio-pci", transport->pci.slot), 1, &saved,
		sizeof(saved), e);
	if (r < 0)
		return r;
	transport->device_feature_select = saved.device_feature_select;
	transport->driver_feature_select = saved.driver_feature_select;
	transport->queue_select = saved.queue_select;
	transport->config_vector = saved.config_vector;
	transport->isr = saved.isr;
	transport->config_generation = saved.config_generation;
	return virtio_load(
		transport->device, state, state_name(name, "virtio", transport->pci.slot), e);
}
