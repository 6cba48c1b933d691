/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fw_cfg.h - what firmware asks the machine: numbers by key and files by name, at ports 0x510 to 0x51b.
 */
#pragma once

#include "vmm/bus.h"
#include "vmm/guest.h"
#include "vmm/state.h"

#define FW_CFG_FILES_MAX  24
#define FW_CFG_NAME_SIZE  56
#define FW_CFG_KEYS       0x20
#define FW_CFG_FIRST_FILE 0x20

struct fw_cfg_item {
	char name[FW_CFG_NAME_SIZE];
	uint8_t *data; /* owned */
	uint32_t bytes;
};

struct fw_cfg {
	struct bus *bus;
	struct guest *guest;
	struct region ports;
	struct fw_cfg_item keys[FW_CFG_KEYS];
	struct fw_cfg_item files[FW_CFG_FILES_MAX];
	uint32_t file_count;
	uint16_t key;
	uint32_t offset;
	uint64_t dma_at;
};

int fw_cfg_init(struct fw_cfg *fw, struct bus *bus, struct guest *guest, struct error *e) must_use;
void fw_cfg_done(struct fw_cfg *fw);

/* Copies the bytes. Keys are below FW_CFG_KEYS. */
void fw_cfg_key(struct fw_cfg *fw, uint16_t key, const void *data, uint32_t bytes);
void fw_cfg_number(struct fw_cfg *fw, uint16_t key, uint64_t value, uint32_t bytes);
void fw_cfg_file(struct fw_cfg *fw, const char *name, const void *data, uint32_t bytes);

void fw_cfg_save(const struct fw_cfg *fw, struct state *state);
int fw_cfg_load(struct fw_cfg *fw, const struct state *state, struct error *e) must_use;
