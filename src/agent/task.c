/* SPDX-License-Identifier: Apache-2.0 */
/*
 * task.c - lines of KEY VALUE; files as MODE PATH HEX, and those of the agent in the system.
 */
#include "agent/task.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void task_free(struct task *task)
{
	if (!task)
		return;
	for (size_t i = 0; i < task->file_count; i++)
		free(task->data[i]);
	free(task->text);
	free(task);
}

const char *task_value(const struct task *task, const char *key)
{
	for (size_t i = 0; i < task->value_count; i++)
		if (text_equal(task->values[i].key, key))
			return task->values[i].value;
	return NULL;
}

static int read_file(struct task *task, char *line, bool is_agents)
{
	char *rest = NULL;
	const char *mode = strtok_r(line, " ", &rest), *path = strtok_r(NULL, " ", &rest);
	const char *hex = strtok_r(NULL, " ", &rest) ?: "";
	char *end = NULL;
	size_t length = strlen(hex) / 2;
	if (!mode || !path || path[0] != '/' || strstr(path, "/../") ||
		task->file_count == TASK_FILES_MAX)
		return -EBADMSG;
	unsigned long bits = strtoul(mode, &end, 8);
	if (*end || bits > 0777)
		return -EBADMSG;
	char *data = alloc_array(length + 1, char);
	if (text_from_hex(hex, data, length) < 0) {
		free(data);
		return -EBADMSG;
	}
	task->data[task->file_count] = data;
	task->files[task->file_count++] =
		(struct tenant_file){ path, data, length, (uint32_t)bits, is_agents };
	return 0;
}

static int read_line(struct task *task, char *line)
{
	char *space = strchr(line, ' ');
	if (!space || !space[1])
		return -EBADMSG;
	*space = '\0';
	if (text_equal(line, "file") || text_equal(line, "agentfile"))
		return read_file(task, space + 1, line[0] == 'a');
	if (text_equal(line, "serial"))
		return text_to_u64(space + 1, &task->serial);
	if (text_equal(line, "task"))
		task->name = space + 1;
	else if (task->value_count == TASK_VALUES_MAX)
		return -EBADMSG;
	else {
		task->values[task->value_count].key = line;
		task->values[task->value_count++].value = space + 1;
	}
	return 0;
}

int task_read(const char *text, struct task **ret, struct error *e)
{
	cleanup(task_free) struct task *task = alloc(struct task);
	char *rest = NULL;
	task->text = alloc_text(text);
	for (char *line = strtok_r(task->text, "\n", &rest); line;
		line = strtok_r(NULL, "\n", &rest))
		if (read_line(task, line) < 0)
			return error_set(e, -EBADMSG, "the task has a line \"%.40s\"", line);
	if (!task->name)
		return error_set(e, -EBADMSG, "the task has no name");
	*ret = TAKE_PTR(task);
	return 0;
}
