/* SPDX-License-Identifier: Apache-2.0 */
/*
 * daemon_test.h - a service in a directory of its own with only the modules that a test names.
 */
#pragma once

#include <fcntl.h>
#include <stdlib.h>

#include "base/file.h"
#include "daemon/events.h"
#include "daemon/operation.h"
#include "daemon/service.h"
#include "test.h"

static char service_path[64];

static struct service *service_for_test(void)
{
	struct loop *loop = NULL;
	struct service *service = NULL;
	struct error e = {};
	strcpy(service_path, "/tmp/berth-daemon-XXXXXX");
	expect(mkdtemp(service_path) != NULL);
	test_removes_at_end(service_path);
	expect_equal(loop_new(&loop, NULL), 0);
	struct service_options options = { .dir_path = service_path, .store = "sqlite" };
	if (service_open(loop, &options, &service, &e) < 0)
		test_fail("%s", e.text);
	service->events = events_new(service);
	service->operations = operations_new(service);
	return service;
}

static void service_end(struct service *service)
{
	struct loop *loop = service->loop;
	operations_free(service->operations);
	events_free(service->events);
	service_close(service);
	loop_free(loop);
	expect_equal(file_remove_tree(AT_FDCWD, service_path), 0);
}
