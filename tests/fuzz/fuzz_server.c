/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_server.c - any bytes as what a server and the daemon say to each other, and what an image holds: an
 * inventory, a task, the head of an answer, a boot loader's configuration, partition tables;
 * and what a switch says.
 */
#include <errno.h>
#include <string.h>

#include "agent/call.h"
#include "agent/line_settings.h"
#include "agent/lldp.h"
#include "agent/partition.h"
#include "agent/task.h"
#include "agent/tenant.h"
#include "model/json.h"
#include "model/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void as_text(const char *text, size_t size)
{
	struct task *task;
	struct tenant_boot boot;
	int status;
	uint64_t length;
	struct error e = {};
	if (task_read(text, &task, &e) == 0)
		task_free(task);
	else
		assert(e.text[0] != '\0');
	if (tenant_read_boot(text, &boot) == 0)
		assert(boot.kernel[0] == '/');
	(void)!call_read_head(text, size, &status, &length);
	struct line_settings settings;
	if (line_settings_read(text, &settings, &e) == 0)
		assert(settings.address_count > 0 && settings.key[0]);
	status = line_answer_read(text);
	assert(status == -EBADMSG || status >= 100);
	cleanup(json_decref) json_t *told = json_loadb(text, size, 0, NULL);
	json_t *inventory;
	struct server_facts facts;
	if (json_is_object(told) && server_inventory_read(told, &inventory, NULL) == 0) {
		server_facts(inventory, &facts);
		json_decref(inventory);
	}
}

static void as_disk(const uint8_t *data, size_t size)
{
	uint8_t record[PARTITION_SECTOR] = {}, header[PARTITION_SECTOR] = {},
		backup[PARTITION_SECTOR];
	uint64_t sector;
	size_t bytes, first = size < sizeof(record) ? size : sizeof(record);
	memcpy(record, data, first);
	(void)partition_is_protective(record);
	(void)!partition_grow_mbr(record, 1 << 20);
	memcpy(header, data, first);
	if (partition_gpt_table(header, &sector, &bytes) < 0)
		return;
	cleanup(free) uint8_t *entries = alloc_array(bytes, uint8_t);
	memcpy(entries, data + first, size - first < bytes ? size - first : bytes);
	(void)!partition_grow_gpt(header, entries, bytes, 1 << 20, backup);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(free) char *text = alloc_array(size + 1, char);
	memcpy(text, data, size);
	as_text(text, size);
	as_disk(data, size);
	(void)tenant_read_type(data, size);
	struct lldp_neighbour neighbour;
	(void)!lldp_read(data, size, &neighbour);
	return 0;
}
