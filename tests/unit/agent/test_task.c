/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/task.h"

#include <errno.h>

#include "test.h"

static void reads_a_task(void)
{
	cleanup(task_free) struct task *task = NULL;
	expect_equal(task_read("task deploy\nserial 7\nimage /image\ndigest ab cd\n"
			       "file 0600 /etc/a 6869\nfile 0644 /etc/empty\n"
			       "agentfile 0600 /etc/key 6b\n",
			     &task, NULL),
		0);
	expect_text(task->name, "deploy");
	expect_equal(task->serial, 7);
	expect_text(task_value(task, "digest"), "ab cd");
	expect(task_value(task, "disk") == NULL);
	expect_equal(task->file_count, 3);
	expect_text(task->files[0].path, "/etc/a");
	expect_text(task->files[0].data, "hi");
	expect_equal(task->files[0].mode, 0600);
	expect_equal(task->files[1].length, 0);
	expect(!task->files[1].is_agents);
	expect(task->files[2].is_agents);
}

static void refuses_other_lines(void)
{
	static const char *const cases[] = { "", "serial 1\n", "task\n", "task x\nserial y\n",
		"task x\nfile 0600\n", "task x\nfile 9999 /a 00\n", "task x\nfile 0600 a 00\n",
		"task x\nfile 0600 /a 0g\n", "task x\nfile 0600 /a/../b 00\n", "task x\nalone\n" };
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct task *task;
		struct error e = {};
		expect(task_read(cases[i], &task, &e) < 0);
		expect(e.text[0] != '\0');
	}
}

static const struct test tests[] = {
	{ "a task is read with its files", reads_a_task },
	{ "a line that is none is refused", refuses_other_lines },
};

TEST_MAIN(tests)
