/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fw_cfg.c - the firmware configuration device: byte by byte, or by DMA.
 */
#include "vmm/fw_cfg.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>

#define PORT          0x510
#define PORT_BYTES    12
#define SELECT        0
#define DATA          1
#define DMA           4
#define KEY_SIGNATURE 0x00
#define KEY_ID        0x01
#define KEY_DIRECTORY 0x19
#define KEY_MASK      0xbfff /* bit 15: keys of the architecture; bit 14 once was for writing */
#define ID_DMA        2
#define DMA_SIGNATURE UINT64_C(0x51454d5520434647)
#define DMA_ERROR     1u
#define DMA_READ      2u
#define DMA_SKIP      4u
#define DMA_SELECT    8u
#define DMA_WRITE     16u

struct directory_entry {
	uint32_t bytes; /* big endian, as the key */
	uint16_t key, reserved;
	char name[FW_CFG_NAME_SIZE];
};

struct dma {
	uint32_t control, bytes;
	uint64_t at;
};

static const struct fw_cfg_item *selected(const struct fw_cfg *fw)
{
	if (fw->key < FW_CFG_KEYS)
		return &fw->keys[fw->key];
	if (fw->key < FW_CFG_FIRST_FILE + fw->file_count)
		return &fw->files[fw->key - FW_CFG_FIRST_FILE];
	return NULL;
}

static void set(struct fw_cfg_item *item, const void *data, uint32_t bytes)
{
	free(item->data);
	item->data = alloc_array(bytes + 1, uint8_t);
	item->bytes = bytes;
	memcpy(item->data, data, bytes);
}

void fw_cfg_key(struct fw_cfg *fw, uint16_t key, const void *data, uint32_t bytes)
{
	assert(key < FW_CFG_KEYS);
	set(&fw->keys[key], data, bytes);
}

void fw_cfg_number(struct fw_cfg *fw, uint16_t key, uint64_t value, uint32_t bytes)
{
	fw_cfg_key(fw, key, &value, bytes);
}

static void write_directory(struct fw_cfg *fw)
{
	struct {
		uint32_t count;
		struct directory_entry entries[FW_CFG_FILES_MAX];
	} directory = { .count = htobe32(fw->file_count) };
	for (uint32_t i = 0; i < fw->file_count; i++) {
		struct directory_entry *entry = &directory.entries[i];
		entry->bytes = htobe32(fw->files[i].bytes);
		entry->key = htobe16((uint16_t)(FW_CFG_FIRST_FILE + i));
		memcpy(entry->name, fw->files[i].name, sizeof(entry->name));
	}
	fw_cfg_key(fw, KEY_DIRECTORY, &directory,
		(uint32_t)(4 + fw->file_count * sizeof(struct directory_entry)));
}

void fw_cfg_file(struct fw_cfg *fw, const char *name, const void *data, uint32_t bytes)
{
	assert(fw->file_count < FW_CFG_FILES_MAX && strlen(name) < FW_CFG_NAME_SIZE);
	struct fw_cfg_item *item = &fw->files[fw->file_count++];
	snprintf(item->name, sizeof(item->name), "%s", name);
	set(item, data, bytes);
	write_directory(fw);
}

/* Takes `bytes` of the selected item, zeroes behind its end. */
static void take(struct fw_cfg *fw, uint8_t *to, uint32_t bytes)
{
	const struct fw_cfg_item *item = selected(fw);
	uint32_t there = item && fw->offset < item->bytes ? item->bytes - fw->offset : 0;
	uint32_t part = bytes < there ? bytes : there;
	if (to) {
		if (part)
			memcpy(to, item->data + fw->offset, part);
		memset(to + part, 0, bytes - part);
	}
	fw->offset += part;
}

static uint32_t dma_read(struct fw_cfg *fw, uint64_t at, uint32_t bytes)
{
	uint8_t *to = guest_slice(fw->guest, at, bytes);
	if (!to)
		return DMA_ERROR;
	take(fw, to, bytes);
	guest_wrote(fw->guest, at, bytes);
	return 0;
}

static void dma_run(struct fw_cfg *fw)
{
	struct dma dma;
	if (guest_read(fw->guest, fw->dma_at, &dma, sizeof(dma)) < 0)
		return;
	uint32_t control = be32toh(dma.control), bytes = be32toh(dma.bytes), result = 0;
	if (control & DMA_SELECT) {
		fw->key = (uint16_t)(control >> 16) & KEY_MASK;
		fw->offset = 0;
	}
	if ((control & DMA_READ) && bytes)
		result = dma_read(fw, be64toh(dma.at), bytes);
	else if (control & DMA_SKIP)
		take(fw, NULL, bytes);
	else if (control & DMA_WRITE)
		result = DMA_ERROR;
	result = htobe32(result);
	if (guest_write(fw->guest, fw->dma_at, &result, sizeof(result)) < 0)
		return;
	guest_wrote(fw->guest, fw->dma_at, sizeof(result));
}

static uint64_t fw_read(void *data, uint64_t offset, uint32_t bytes)
{
	struct fw_cfg *fw = data;
	if (offset == DATA && bytes == 1) {
		uint8_t byte;
		take(fw, &byte, 1);
		return byte;
	}
	if (offset >= DMA) {
		uint64_t signature = htobe64(DMA_SIGNATURE);
		return bytes_get(&signature, sizeof(signature), offset - DMA, bytes);
	}
	return UINT64_MAX;
}

static void fw_write(void *data, uint64_t offset, uint32_t bytes, uint64_t value)
{
	struct fw_cfg *fw = data;
	if (offset == SELECT && bytes == 2) {
		fw->key = value & KEY_MASK;
		fw->offset = 0;
	} else if (offset == DMA && bytes == 4) {
		fw->dma_at = (uint64_t)be32toh((uint32_t)value) << 32;
	} else if (offset == DMA + 4 && bytes == 4) {
		fw->dma_at |= be32toh((uint32_t)value);
		dma_run(fw);
		fw->dma_at = 0;
	}
}

static const struct region_calls fw_calls = { fw_read, fw_write };

int fw_cfg_init(struct fw_cfg *fw, struct bus *bus, struct guest *guest, struct error *e)
{
	*fw = (struct fw_cfg){
		.bus = bus,
		.guest = guest,
		.ports = { &fw_calls, fw, PORT, PORT_BYTES },
	};
	fw_cfg_key(fw, KEY_SIGNATURE, "QEMU", 4);
	fw_cfg_number(fw, KEY_ID, 1 | ID_DMA, 4);
	write_directory(fw);
	int r = bus_add(bus, BUS_PORTS, &fw->ports);
	return r < 0 ? error_code(e, r, "firmware configuration at port 0x510") : 0;
}

void fw_cfg_done(struct fw_cfg *fw)
{
	if (!fw->bus)
		return;
	bus_remove(fw->bus, BUS_PORTS, &fw->ports);
	for (uint32_t i = 0; i < FW_CFG_KEYS; i++)
		free(fw->keys[i].data);
	for (uint32_t i = 0; i < fw->file_count; i++)
		free(fw->files[i].data);
}

struct fw_cfg_saved {
	uint64_t dma_at;
	uint32_t offset;
	uint16_t key, reserved;
};
static_assert(sizeof(struct fw_cfg_saved) == 16, "layout");

void fw_cfg_save(const struct fw_cfg *fw, struct state *state)
{
	struct fw_cfg_saved saved = { fw->dma_at, fw->offset, fw->key, 0 };
	state_put(state, "fw_cfg", 1, &saved, sizeof(saved));
}

int fw_cfg_load(struct fw_cfg *fw, const struct state *state, struct error *e)
{
	struct fw_cfg_saved saved;
	int r = state_get(state, "fw_cfg", 1, &saved, sizeof(saved), e);
	if (r < 0)
		return r;
	fw->dma_at = saved.dma_at;
	fw->offset = saved.offset;
	fw->key = saved.key;
	return 0;
}
