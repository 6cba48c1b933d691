/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipmi_console.c - serial over LAN: the server's serial port through its BMC.
 */
#include "metal/ipmi_console.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <OpenIPMI/ipmi_err.h>

#include "metal/ipmi_session.h"

static int output(ipmi_sol_conn_t *sol, const void *bytes, size_t length, void *data)
{
	struct ipmi *ipmi = data;
	(void)sol;
	if (ipmi->console.output)
		ipmi->console.output(ipmi->console.data, bytes, length);
	return 0;
}

static void changed(ipmi_sol_conn_t *sol, ipmi_sol_state state, int code, void *data)
{
	struct ipmi *ipmi = data;
	char why[96];
	if (state != ipmi_sol_state_closed || sol != ipmi->sol)
		return;
	ipmi_get_error_string((unsigned int)code, why, sizeof(why));
	ipmi_console_down(ipmi, why);
}

void ipmi_console_up(struct ipmi *ipmi)
{
	if (!ipmi->is_console_wanted || ipmi->sol)
		return;
	int code = ipmi_sol_create(ipmi->connection, &ipmi->sol);
	if (code == 0) {
		ipmi_sol_register_data_received_callback(ipmi->sol, output, ipmi);
		ipmi_sol_register_connection_state_callback(ipmi->sol, changed, ipmi);
		/* Encrypted like the rest of the session. */
		(void)!ipmi_sol_set_use_authentication(ipmi->sol, 1);
		(void)!ipmi_sol_set_use_encryption(ipmi->sol, 1);
		code = ipmi_sol_open(ipmi->sol);
	}
	if (code != 0)
		ipmi_console_down(ipmi, "serial over LAN does not open");
}

static void sol_free(void *data)
{
	ipmi_sol_free(data);
}

void ipmi_console_down(struct ipmi *ipmi, const char *why)
{
	ipmi_sol_conn_t *sol = TAKE_PTR(ipmi->sol);
	if (sol) {
		ipmi_sol_deregister_data_received_callback(sol, output, ipmi);
		ipmi_sol_deregister_connection_state_callback(sol, changed, ipmi);
		ipmi_sol_force_close(sol);
		/* The library may be in the midst of calling it. */
		loop_defer(ipmi->loop, sol_free, sol);
	}
	/* Also if there never was a session to open it in: whoever wants it asks again. */
	if (ipmi->is_console_wanted) {
		ipmi->is_console_wanted = false;
		ipmi->console.closed(ipmi->console.data, why);
	}
}

int ipmi_console_open(struct bmc *bmc, const struct bmc_console_calls *calls, struct error *e)
{
	struct ipmi *ipmi = container_of(bmc, struct ipmi, bmc);
	ipmi->console = *calls;
	ipmi->is_console_wanted = true;
	if (ipmi->is_up) {
		ipmi_console_up(ipmi);
		return 0;
	}
	/* Nobody may have a question for long. */
	if (!ipmi->connection)
		ipmi_connect(ipmi);
	if (ipmi->connection)
		return 0;
	ipmi->is_console_wanted = false;
	return error_set(e, -EIO, "there is no session with the BMC");
}

void ipmi_console_write(struct bmc *bmc, const void *bytes, size_t length)
{
	struct ipmi *ipmi = container_of(bmc, struct ipmi, bmc);
	/* What can't be sent is lost, as on a line that nobody listens at. */
	if (ipmi->sol && length <= INT32_MAX)
		(void)!ipmi_sol_write(ipmi->sol, bytes, (int)length, NULL, NULL);
}

void ipmi_console_close(struct bmc *bmc)
{
	struct ipmi *ipmi = container_of(bmc, struct ipmi, bmc);
	ipmi->is_console_wanted = false;
	ipmi_console_down(ipmi, "closed");
}
