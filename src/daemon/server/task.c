/* SPDX-License-Identifier: Apache-2.0 */
/*
 * task.c - lines of KEY VALUE.
 */
#include "daemon/server/task.h"

#include <stdio.h>
#include <string.h>

#include "base/loop.h"
#include "base/text.h"
#include "model/json.h"

#define WORD_MAX    100
#define KEYS        "/root/.ssh/authorized_keys"
#define RECORDS_MAX 64

/* `only` NULL: all. */
static void add_files(struct text *text, const json_t *deployment, const char *only)
{
	const json_t *files = json_object_get(deployment, "files");
	for (size_t i = 0; i < json_array_size(files); i++) {
		const json_t *file = json_array_get(files, i);
		if (only && !text_equal(json_text(file, "path"), only))
			continue;
		const char *data = json_text(file, "data") ?: "";
		size_t length = strlen(data);
		cleanup(free) char *hex = alloc_array(2 * length + 1, char);
		text_hex(data, length, hex);
		text_printf(text, "file %s %s%s%s\n", json_text(file, "mode"),
			json_text(file, "path"), length ? " " : "", hex);
	}
}

char *server_task_lines(const struct server *server, const char *name)
{
	const json_t *task = json_object_get(server->object, "task");
	const json_t *deployment = json_object_get(server->object, "deployment");
	struct text text = {};
	text_printf(&text, "task %s\nserial %lld\n", name,
		(long long)json_integer_value(json_object_get(task, "serial")));
	if (text_equal(name, "deploy")) {
		text_printf(&text, "image /image\ndigest %s\n", json_text(deployment, "digest"));
		if (json_text(deployment, "disk"))
			text_printf(&text, "disk %s\n", json_text(deployment, "disk"));
		if (json_is_true(json_object_get(deployment, "is_plain")))
			text_add(&text, "plain yes\n");
		add_files(&text, deployment, NULL);
	}
	if (text_equal(name, "rescue"))
		add_files(&text, deployment, KEYS);
	/* In its owner's network somebody else gives addresses. */
	if (text_equal(name, "rescue") && json_integer_value(json_object_get(deployment, "vlan")))
		text_add(&text, "network dhcp\n");
	if (text_equal(name, "save") && json_text(server->object, "disk"))
		text_printf(&text, "disk %s\n", json_text(server->object, "disk"));
	if (text_equal(name, "boot")) {
		const char *how = json_text(json_object_get(server->object, "config"), "boot.how");
		text_printf(&text, "how %s\n", text_equal(how, "reboot") ? "reboot" : "kexec");
		if (json_text(server->object, "disk"))
			text_printf(&text, "disk %s\n", json_text(server->object, "disk"));
	}
	return text_take(&text);
}

json_t *server_task_erased(const char *lines)
{
	json_t *record = json_array();
	char now[TEXT_TIME_SIZE];
	text_format_time(loop_wall_clock(), now);
	for (const char *line = lines; line && *line && json_array_size(record) < RECORDS_MAX;
		line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
		char disk[32], method[24];
		unsigned long long ms, bytes;
		if (sscanf(line, "erased %31[a-zA-Z0-9] %23[a-z-] %llu %llu", disk, method, &ms,
			    &bytes) != 4)
			continue;
		json_array_append_new(record,
			json_pack("{s:s, s:s, s:I, s:I, s:s}", "disk", disk, "method", method, "ms",
				(json_int_t)(ms & INT64_MAX), "bytes",
				(json_int_t)(bytes & INT64_MAX), "at", now));
	}
	return record;
}

char *server_task_word(const char *lines, const char *word)
{
	size_t length = strlen(word);
	for (const char *line = lines; line && *line;
		line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
		if (strncmp(line, word, length) != 0 || line[length] != ' ')
			continue;
		char value[WORD_MAX + 1];
		size_t count = 0;
		for (const char *c = line + length + 1; *c && *c != '\n' && count < WORD_MAX; c++)
			value[count++] = *c >= 0x20 && *c < 0x7f ? *c : '?';
		value[count] = '\0';
		return alloc_text(value);
	}
	return NULL;
}
