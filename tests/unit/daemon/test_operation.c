/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/operation.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/text.h"
#include "daemon_test.h"
#include "http/websocket.h"
#include "model/json.h"

static int64_t status_of(struct service *service, const char *id)
{
	struct operation *operation = operation_find(service, id);
	return operation ? (int64_t)operation_status(operation) : -1;
}

static void it_runs_and_ends_and_says_so(void)
{
	struct service *service = service_for_test();
	struct operation *operation = operation_new(service,
		&(struct operation_options){ .description = "Testing",
			.resources = json_pack("{s:[s]}", "instances", "/1.0/instances/c1") });
	cleanup(free) char *id = alloc_text(operation_id(operation));
	expect_equal(status_of(service, id), OPERATION_RUNNING);
	expect_equal(operation_count_running(service), 1);
	operation_set(operation, "a", json_integer(1));
	operation_done(operation, json_pack("{s:i}", "return", 7));
	expect_equal(operation_count_running(service), 0);
	cleanup(json_decref) json_t *json = operation_json(operation_find(service, id));
	expect_text(json_text(json, "status"), "Success");
	expect_text(json_text(json, "class"), "task");
	expect_text(json_text(json, "err"), "");
	expect(json_is_false(json_object_get(json, "may_cancel")));
	cleanup(free) char *metadata =
		json_dumps(json_object_get(json, "metadata"), JSON_COMPACT | JSON_SORT_KEYS);
	expect_text(metadata, "{\"a\":1,\"return\":7}");
	service_end(service);
}

static void failures_have_their_reason(void)
{
	struct service *service = service_for_test();
	struct operation *a =
		operation_new(service, &(struct operation_options){ .description = "Testing" });
	struct operation *b =
		operation_new(service, &(struct operation_options){ .description = "Testing" });
	cleanup(free) char *id_a = alloc_text(operation_id(a)), *id_b = alloc_text(operation_id(b));
	struct error e = { "the disk is full" };
	operation_end(a, -ENOSPC, &e);
	operation_end(b, -ECANCELED, NULL);
	cleanup(json_decref) json_t *json_a = operation_json(operation_find(service, id_a));
	cleanup(json_decref) json_t *json_b = operation_json(operation_find(service, id_b));
	expect_equal(json_integer_value(json_object_get(json_a, "status_code")), 400);
	expect_text(json_text(json_a, "err"), "the disk is full");
	expect_equal(json_integer_value(json_object_get(json_b, "status_code")), 401);
	expect_text(json_text(json_b, "err"), "Operation cancelled");
	service_end(service);
}

static int cancel(void *data, struct operation *operation, struct error *e)
{
	(void)operation;
	return *(bool *)data ? error_set(e, -EBUSY, "not now") : 0;
}

static void it_can_be_cancelled_if_its_owner_can(void)
{
	struct service *service = service_for_test();
	bool is_busy = true;
	struct operation *operation = operation_new(service,
		&(struct operation_options){
			.description = "Testing", .cancel = cancel, .data = &is_busy });
	struct operation *fixed =
		operation_new(service, &(struct operation_options){ .description = "Testing" });
	struct error e = {};
	expect_equal(operation_cancel(fixed, &e), -EINVAL);
	expect_contains(e.text, "can't be cancelled");
	expect_equal(operation_cancel(operation, &e), -EBUSY);
	expect_equal(operation_status(operation), OPERATION_RUNNING);
	is_busy = false;
	expect_equal(operation_cancel(operation, &e), 0);
	expect_equal(operation_status(operation), OPERATION_CANCELLING);
	cleanup(free) char *id = alloc_text(operation_id(operation));
	operation_failed(operation, -ECANCELED, NULL);
	expect_equal(operation_cancel(operation_find(service, id), &e), -EINVAL);
	service_end(service);
}

static unsigned int connections;

static void connected(
	void *data, struct operation *operation, const char *name, struct websocket *websocket)
{
	(void)data, (void)operation;
	expect_text(name, "control");
	connections++;
	websocket_free(websocket);
}

static void a_secret_opens_one_socket_once(void)
{
	struct service *service = service_for_test();
	struct operation *operation = operation_new(service,
		&(struct operation_options){ .class = OPERATION_WEBSOCKET,
			.description = "Testing",
			.connected = connected });
	operation_add_socket(operation, "0");
	operation_add_socket(operation, "control");
	cleanup(json_decref) json_t *json = operation_json(operation);
	const json_t *fds = json_object_get(json_object_get(json, "metadata"), "fds");
	const char *secret = json_text(fds, "control");
	expect_equal(strlen(secret), 64);
	cleanup(free) char *wrong = alloc_text(secret);
	wrong[63] ^= 1;
	expect(operation_take_secret(operation, wrong) == NULL);
	expect(operation_take_secret(operation, "") == NULL);
	expect_text(operation_take_secret(operation, secret), "control");
	expect(operation_take_secret(operation, secret) == NULL);

	int ends[2];
	expect_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	cleanup(free) char *id = alloc_text(operation_id(operation));
	operation_connect(
		service, id, "control", websocket_new(service->loop, ends[0], false, NULL, 0));
	expect_equal(connections, 1);
	close(ends[1]);
	operation_done(operation, NULL);
	service_end(service);
}

static void ended(void *data, struct operation *operation)
{
	*(enum operation_status *)data = operation_status(operation);
}

static void who_waits_is_told_and_who_left_is_not(void)
{
	struct service *service = service_for_test();
	enum operation_status one = 0, two = 0;
	struct operation_wait a = { .ended = ended, .data = &one };
	struct operation_wait b = { .ended = ended, .data = &two };
	struct operation *operation =
		operation_new(service, &(struct operation_options){ .description = "Testing" });
	operation_wait(operation, &a);
	operation_wait(operation, &b);
	operation_unwait(operation, &a);
	operation_failed(operation, -EIO, NULL);
	expect_equal(one, 0);
	expect_equal(two, OPERATION_FAILURE);
	service_end(service);
}

static void progress_is_as_clients_read_it(void)
{
	struct service *service = service_for_test();
	struct operation *operation =
		operation_new(service, &(struct operation_options){ .description = "Testing" });
	operation_progress(operation, "unpack", "Unpack: 12% (8.01MB/s)", 12, 8010966);
	cleanup(json_decref) json_t *json = operation_json(operation);
	cleanup(free) char *text =
		json_dumps(json_object_get(json, "metadata"), JSON_COMPACT | JSON_SORT_KEYS);
	expect_text(text,
		"{\"progress\":{\"percent\":\"12\",\"speed\":\"8010966\",\"stage\":"
		"\"unpack\"},\"unpack_progress\":\"Unpack: 12% (8.01MB/s)\"}");
	operation_done(operation, NULL);
	service_end(service);
}

static void two_thousand_are_found_and_forgotten(void)
{
	struct service *service = service_for_test();
	for (size_t i = 0; i < 2000; i++) {
		struct operation *operation = operation_new(
			service, &(struct operation_options){ .description = "Testing" });
		expect(operation_find(service, operation_id(operation)) == operation);
		if (i % 2)
			operation_done(operation, NULL);
	}
	expect_equal(operation_count_running(service), 1000);
	expect(operation_find(service, "") == NULL);
	expect(operation_find(service, "zz") == NULL);
	service_end(service);
}

static const struct test tests[] = {
	{ "it runs, ends and says so", it_runs_and_ends_and_says_so },
	{ "failures have their reason", failures_have_their_reason },
	{ "it can be cancelled if its owner can", it_can_be_cancelled_if_its_owner_can },
	{ "a secret opens one socket, once", a_secret_opens_one_socket_once },
	{ "who waits is told, and who left is not", who_waits_is_told_and_who_left_is_not },
	{ "progress is as clients read it", progress_is_as_clients_read_it },
	{ "two thousand are found, and forgotten", two_thousand_are_found_and_forgotten },
};
TEST_MAIN(tests)
