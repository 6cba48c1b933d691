/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipmi_session.c - the session: opened when it is needed, one command after another.
 *
 * OpenIPMI calls back for every command, at the latest when it gives up. A question that was cancelled is
 * forgotten in its call, so that a late answer meets nobody.
 */
#include "metal/ipmi_session.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <OpenIPMI/ipmi_auth.h>
#include <OpenIPMI/ipmi_err.h>
#include <OpenIPMI/ipmi_lan.h>
#include <OpenIPMI/ipmiif.h>

#include "base/text.h"
#include "metal/ipmi_loop.h"
#include "metal/ipmi_suite.h"

#define SESSION_COMMANDS 2
#define COMMAND_US       1000000
#define SUITE_NS         (3 * NS_PER_SEC) /* without a word to suite 17 */

struct ipmi_call {
	struct ipmi *ipmi; /* NULL: nobody waits any more */
	ipmi_next *next;
};

static int why_of(int code, bool is_opening, struct error *e)
{
	char text[128];
	unsigned int refusal =
		IPMI_IS_RMCPP_ERR((unsigned int)code) ? IPMI_GET_RMCPP_ERR((unsigned int)code) : 0;
	if (is_opening &&
		(refusal == IPMI_RMCPP_INSUFFICIENT_RESOURCES_FOR_SESSION ||
			refusal == IPMI_RMCPP_INSUFFICIENT_RESOURCES_FOR_ROLE))
		return error_set(e, -EBUSY, "the BMC has no session left");
	/* What does not match the password is no valid argument to the library. */
	if (is_opening && (code == EINVAL || IPMI_IS_RMCPP_ERR((unsigned int)code)))
		return error_set(e, -EACCES,
			"the BMC opens no session: are user, password and its right to log in so?");
	/* To the first question of all. */
	if (code == ETIMEDOUT || (is_opening && code == ENOENT))
		return error_set(e, -ETIMEDOUT, "the BMC does not answer");
	ipmi_get_error_string((unsigned int)code, text, sizeof(text));
	return error_set(e, -EIO, "the BMC: %s", text);
}

void ipmi_end(struct ipmi *ipmi, int code, const struct error *e)
{
	static const struct error none;
	void (*end)(struct ipmi *, int, const struct error *) = ipmi->end;
	ipmi->end = NULL;
	ipmi->begin = NULL;
	if (end)
		end(ipmi, code, e ?: &none);
}

void ipmi_end_refused(struct ipmi *ipmi, const char *what, const struct ipmi_answer *answer)
{
	struct error e = {};
	int code = ipmi_completion_errno(answer->completion);
	error_set(&e, code, "%s: the BMC says 0x%02x: %s", what, answer->completion,
		ipmi_completion_text(answer->completion));
	ipmi_end(ipmi, code, &e);
}

void ipmi_end_broken(struct ipmi *ipmi, const char *what)
{
	struct error e = {};
	error_set(&e, -EBADMSG, "%s: the BMC's answer is cut short", what);
	ipmi_end(ipmi, -EBADMSG, &e);
}

static int answered(ipmi_con_t *connection, ipmi_msgi_t *item)
{
	struct ipmi_call *call = item->data1;
	struct ipmi *ipmi = call->ipmi;
	ipmi_next *next = call->next;
	(void)connection;
	free(call);
	if (!ipmi)
		return IPMI_MSG_ITEM_NOT_USED;
	ipmi->call = NULL;
	struct ipmi_answer answer = { .completion = 0xff };
	if (item->msg.data_len > 0) {
		answer.completion = item->msg.data[0];
		answer.data = item->msg.data + 1;
		answer.length = item->msg.data_len - 1u;
	}
	next(ipmi, &answer);
	return IPMI_MSG_ITEM_NOT_USED;
}

void ipmi_send(struct ipmi *ipmi, uint8_t network_function, uint8_t command, const uint8_t *data,
	size_t length, ipmi_next *next)
{
	ipmi_system_interface_addr_t address = { .addr_type = IPMI_SYSTEM_INTERFACE_ADDR_TYPE,
		.channel = IPMI_BMC_CHANNEL };
	uint8_t bytes[32];
	struct error e = {};
	assert(length <= sizeof(bytes) && !ipmi->call);
	if (length)
		memcpy(bytes, data, length);
	ipmi_msg_t message = { .netfn = network_function,
		.cmd = command,
		.data = bytes,
		.data_len = (unsigned short)length };
	ipmi_msgi_t *item = ipmi_alloc_msg_item();
	if (!item || !ipmi->connection || !ipmi->is_up) {
		if (item)
			ipmi_free_msg_item(item);
		error_set(&e, -ECONNRESET, "the session with the BMC is gone");
		ipmi_end(ipmi, -ECONNRESET, &e);
		return;
	}
	struct ipmi_call *call = alloc(struct ipmi_call);
	*call = (struct ipmi_call){ ipmi, next };
	ipmi->call = call;
	item->data1 = call;
	int code = ipmi->connection->send_command(ipmi->connection, (ipmi_addr_t *)(void *)&address,
		sizeof(address), &message, answered, item);
	if (code == 0)
		return;
	ipmi->call = NULL;
	free(call);
	ipmi_free_msg_item(item);
	ipmi_end(ipmi, why_of(code, false, &e), &e);
}

/* Some say nothing to a suite that they do not have: after a silence the next session tries the other. */
static void try_other_suite(struct ipmi *ipmi)
{
	if (!ipmi->cipher && !ipmi->is_suite_known)
		ipmi->suite =
			ipmi->suite == IPMI_SUITE_SHA256 ? IPMI_SUITE_SHA1 : IPMI_SUITE_SHA256;
}

void ipmi_cancel(struct bmc *bmc)
{
	struct ipmi *ipmi = container_of(bmc, struct ipmi, bmc);
	if (ipmi->connection && !ipmi->is_up)
		try_other_suite(ipmi);
	if (ipmi->call)
		ipmi->call->ipmi = NULL;
	ipmi->call = NULL;
	ipmi->begin = NULL;
	ipmi->end = NULL;
	/* What it waited for may be a session that hangs: the next question opens another. */
	ipmi_disconnect(ipmi);
}

static void let_go(struct ipmi *ipmi)
{
	ipmi_con_t *connection = TAKE_PTR(ipmi->connection);
	ipmi->is_up = false;
	if (ipmi->call)
		ipmi->call->ipmi = NULL;
	ipmi->call = NULL;
	connection->user_data = NULL;
	connection->close_connection(connection);
}

void ipmi_disconnect(struct ipmi *ipmi)
{
	ipmi->is_again = false;
	if (!ipmi->connection) {
		ipmi->is_up = false;
		return;
	}
	ipmi->down(ipmi, "the session ended");
	let_go(ipmi);
}

/* The library would wait twice as long: some drop what asks for a suite that they do not have. */
void ipmi_suite_is_late(void *data)
{
	struct ipmi *ipmi = data;
	if (!ipmi->connection || ipmi->is_up || ipmi->is_sha256 || ipmi->is_again ||
		ipmi->suite != IPMI_SUITE_SHA256)
		return;
	ipmi->suite = IPMI_SUITE_SHA1;
	let_go(ipmi);
	ipmi_connect(ipmi);
}

static void again_now(void *data)
{
	struct ipmi *ipmi = data;
	if (!ipmi->connection || !ipmi->is_again)
		return;
	ipmi->is_again = false;
	let_go(ipmi);
	ipmi_connect(ipmi);
}

static void lost_now(void *data)
{
	struct ipmi *ipmi = data;
	/* A new one may be there by now. */
	if (!ipmi->connection || !ipmi->was_refused)
		return;
	ipmi->was_refused = false;
	ipmi_disconnect(ipmi);
}

static void changed(ipmi_con_t *connection, int code, unsigned int port, int is_any_up, void *data)
{
	struct ipmi *ipmi = data;
	struct error e = {};
	(void)port;
	if (connection != ipmi->connection)
		return;
	if (ipmi->is_again)
		return;
	unsigned int in_use = ipmi->is_sha256 ? IPMI_SUITE_SHA256 : IPMI_SUITE_SHA1;
	bool is_fit = !ipmi->cipher || ipmi->cipher == in_use;
	if (is_fit && (code == 0 || is_any_up)) {
		void (*begin)(struct ipmi *) = TAKE_PTR(ipmi->begin);
		ipmi->suite = in_use;
		ipmi->is_suite_known = true;
		ipmi->is_up = true;
		ipmi->was_refused = false;
		ipmi->up(ipmi);
		if (begin)
			begin(ipmi);
		return;
	}
	bool is_opening = !ipmi->is_up;
	/* Without a word about the suite, too: EINVAL before anybody said who he is. */
	bool is_refused = is_opening &&
		(ipmi_suite_is_refused(code) ||
			(code == EINVAL && ipmi->suite == IPMI_SUITE_SHA256 && !ipmi->is_sha256));
	if (is_refused && !ipmi->cipher && ipmi->suite == IPMI_SUITE_SHA256) {
		/* Not within the library's own call. */
		ipmi->suite = IPMI_SUITE_SHA1;
		ipmi->is_again = true;
		loop_defer(ipmi->loop, again_now, ipmi);
		return;
	}
	int why = is_refused || code == 0
		? error_set(
			  &e, -EACCES, "the BMC opens no session with cipher suite %u", ipmi->suite)
		: why_of(code, is_opening, &e);
	if (is_opening && why == -ETIMEDOUT)
		try_other_suite(ipmi);
	ipmi->is_up = false;
	ipmi->was_refused = true;
	loop_defer(ipmi->loop, lost_now, ipmi);
	if (ipmi->call)
		ipmi->call->ipmi = NULL;
	ipmi->call = NULL;
	ipmi_end(ipmi, why, &e);
}

static void has_begun(void *user_data)
{
	struct ipmi *ipmi = user_data;
	ipmi->is_sha256 = true;
}

void ipmi_connect(struct ipmi *ipmi)
{
	char *addresses[] = { ipmi->address }, *ports[] = { ipmi->port };
	const struct ipmi_suite suite = ipmi_suite_of(ipmi->suite);
	ipmi_lanp_parm_t options[] = {
		{ .parm_id = IPMI_LANP_PARMID_AUTHTYPE, .parm_val = IPMI_AUTHTYPE_RMCP_PLUS },
		{ .parm_id = IPMI_LANP_PARMID_PRIVILEGE, .parm_val = IPMI_PRIVILEGE_ADMIN },
		{ .parm_id = IPMI_LANP_PARMID_ADDRS, .parm_data = addresses, .parm_data_len = 1 },
		{ .parm_id = IPMI_LANP_PARMID_PORTS, .parm_data = ports, .parm_data_len = 1 },
		{ .parm_id = IPMI_LANP_PARMID_USERNAME,
			.parm_data = ipmi->user,
			.parm_data_len = (unsigned int)strlen(ipmi->user) },
		{ .parm_id = IPMI_LANP_PARMID_PASSWORD,
			.parm_data = ipmi->password,
			.parm_data_len = (unsigned int)strlen(ipmi->password) },
		{ .parm_id = IPMI_LANP_MAX_OUTSTANDING_MSG_COUNT, .parm_val = SESSION_COMMANDS },
		{ .parm_id = IPMI_LANP_DEFAULT_TIMEOUT, .parm_val = COMMAND_US },
		{ .parm_id = IPMI_LANP_AUTHENTICATION_ALGORITHM, .parm_val = suite.authentication },
		{ .parm_id = IPMI_LANP_INTEGRITY_ALGORITHM, .parm_val = suite.integrity },
		{ .parm_id = IPMI_LANP_CONFIDENTIALITY_ALGORITHM,
			.parm_val = suite.confidentiality },
	};
	static os_handler_t *handler;
	struct error e = {};
	if (!handler) {
		handler = ipmi_loop_new(ipmi->loop);
		ipmi_init(handler);
		ipmi_suite_register(ipmi->cipher, has_begun);
	}
	ipmi->is_sha256 = false;
	int code =
		ipmi_lanp_setup_con(options, ARRAY_SIZE(options), handler, ipmi, &ipmi->connection);
	if (code == 0) {
		ipmi->was_refused = false;
		ipmi->connection->add_con_change_handler(ipmi->connection, changed, ipmi);
		code = ipmi->connection->start_con(ipmi->connection);
	} else {
		ipmi->connection = NULL;
	}
	if (code == 0) {
		if (!ipmi->cipher && !ipmi->is_suite_known && ipmi->suite == IPMI_SUITE_SHA256)
			timer_set_after(ipmi->silence, SUITE_NS);
		return;
	}
	ipmi_disconnect(ipmi);
	ipmi_end(ipmi, why_of(code, true, &e), &e);
}

void ipmi_begin(struct ipmi *ipmi, void (*begin)(struct ipmi *ipmi),
	void (*end)(struct ipmi *ipmi, int code, const struct error *e), void *data)
{
	assert(!ipmi->end);
	ipmi->end = end;
	ipmi->data = data;
	if (ipmi->is_up && !ipmi->was_refused) {
		begin(ipmi);
		return;
	}
	ipmi->begin = begin;
	if (ipmi->was_refused)
		ipmi_disconnect(ipmi);
	if (!ipmi->connection)
		ipmi_connect(ipmi);
}
