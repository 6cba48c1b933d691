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

#define SESSION_COMMANDS 2
#define COMMAND_US       1000000

struct ipmi_call {
	struct ipmi *ipmi; /* NULL: nobody waits any more */
	ipmi_next *next;
};

static int why_of(int code, bool is_opening, struct error *e)
{
	char text[128];
	/* What does not match the password is no valid argument to the library. */
	if (is_opening && (code == EINVAL || IPMI_IS_RMCPP_ERR((unsigned int)code)))
		return error_set(e, -EACCES,
			"the BMC opens no session: are user, password and its right to log in so?");
	if (code == ETIMEDOUT)
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

void ipmi_cancel(struct bmc *bmc)
{
	struct ipmi *ipmi = container_of(bmc, struct ipmi, bmc);
	if (ipmi->call)
		ipmi->call->ipmi = NULL;
	ipmi->call = NULL;
	ipmi->begin = NULL;
	ipmi->end = NULL;
	/* What it waited for may be a session that hangs: the next question opens another. */
	ipmi_disconnect(ipmi);
}

void ipmi_disconnect(struct ipmi *ipmi)
{
	ipmi_con_t *connection = TAKE_PTR(ipmi->connection);
	ipmi->is_up = false;
	if (!connection)
		return;
	ipmi->down(ipmi, "the session ended");
	if (ipmi->call)
		ipmi->call->ipmi = NULL;
	ipmi->call = NULL;
	connection->user_data = NULL;
	connection->close_connection(connection);
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
	if (code == 0 || is_any_up) {
		void (*begin)(struct ipmi *) = TAKE_PTR(ipmi->begin);
		ipmi->is_up = true;
		ipmi->was_refused = false;
		ipmi->up(ipmi);
		if (begin)
			begin(ipmi);
		return;
	}
	int why = why_of(code, !ipmi->is_up, &e);
	ipmi->is_up = false;
	ipmi->was_refused = true;
	/* Not within the library's own call. */
	loop_defer(ipmi->loop, lost_now, ipmi);
	if (ipmi->call)
		ipmi->call->ipmi = NULL;
	ipmi->call = NULL;
	ipmi_end(ipmi, why, &e);
}

void ipmi_connect(struct ipmi *ipmi)
{
	char *addresses[] = { ipmi->address }, *ports[] = { ipmi->port };
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
	};
	static os_handler_t *handler;
	struct error e = {};
	if (!handler) {
		handler = ipmi_loop_new(ipmi->loop);
		ipmi_init(handler);
	}
	int code =
		ipmi_lanp_setup_con(options, ARRAY_SIZE(options), handler, ipmi, &ipmi->connection);
	if (code == 0) {
		ipmi->was_refused = false;
		ipmi->connection->add_con_change_handler(ipmi->connection, changed, ipmi);
		code = ipmi->connection->start_con(ipmi->connection);
	} else {
		ipmi->connection = NULL;
	}
	if (code == 0)
		return;
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
