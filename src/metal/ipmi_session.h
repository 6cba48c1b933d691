/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipmi_session.h - one session with an IPMI BMC: a command after another, and what comes back; for the
 * driver's own files.
 */
#pragma once

#include <OpenIPMI/ipmi_conn.h>
#include <OpenIPMI/ipmi_sol.h>

#include "metal/bmc.h"
#include "metal/ipmi_record.h"

#define IPMI_SENSORS_MAX 128
#define IPMI_ANSWER_MAX  64

struct ipmi;
struct ipmi_call;

/* What the BMC answered to a command: its completion code, and the bytes behind it. */
struct ipmi_answer {
	uint8_t completion;
	const uint8_t *data;
	size_t length;
};
typedef void ipmi_next(struct ipmi *ipmi, const struct ipmi_answer *answer);

struct ipmi {
	struct bmc bmc;
	struct loop *loop;
	char *address, *port, *user, *password;
	ipmi_con_t *connection; /* NULL: none */
	bool is_up;
	bool was_refused;    /* the last one came to nothing */
	unsigned int cipher; /* the suite that is asked for; 0: 17, or 3 if the BMC has none such */
	unsigned int suite;  /* that is tried, or is in use */
	bool is_suite_known; /* it was in use once */
	struct source *silence; /* while suite 17 is tried */
	bool is_again;          /* a session with the other one is opened next */
	bool is_sha256;         /* the BMC took suite 17 */
	struct ipmi_call *call; /* whose answer is awaited */

	/* The question that is being answered; `end` NULL: none. */
	void (*begin)(struct ipmi *ipmi); /* once the session is there; NULL: it has begun */
	void (*end)(struct ipmi *ipmi, int code, const struct error *e);
	union {
		bmc_done *plain;
		bmc_state_done *state;
		bmc_json_done *json;
	} done;
	void *data;
	struct bmc_state state;
	json_t *result; /* owned */
	uint8_t request[IPMI_BOOT_BYTES];
	enum bmc_action action;
	uint16_t record; /* of sensors or events, that is read next */
	uint32_t records;
	size_t index;
	uint8_t reservation[2];
	uint8_t bytes[256]; /* of a record of a sensor, so far */
	size_t length, wanted;

	struct ipmi_sensor *sensors; /* NULL until they were read */
	size_t sensor_count;
	bool has_no_watts;

	/* The session is up, or gone: what rests on it is told. */
	void (*up)(struct ipmi *ipmi);
	void (*down)(struct ipmi *ipmi, const char *why);

	struct bmc_console_calls console;
	bool is_console_wanted;
	ipmi_sol_conn_t *sol;
};

/* Begins a question: `begin` is called once there is a session, `end` if there can be none. */
void ipmi_begin(struct ipmi *ipmi, void (*begin)(struct ipmi *ipmi),
	void (*end)(struct ipmi *ipmi, int code, const struct error *e), void *data);

/* Sends one command; `next` gets what comes. If nothing does the question ends with why. */
void ipmi_send(struct ipmi *ipmi, uint8_t network_function, uint8_t command, const uint8_t *data,
	size_t length, ipmi_next *next);

/* Ends the question. */
void ipmi_end(struct ipmi *ipmi, int code, const struct error *e);
/* With what the completion code means: "CALL: ...". */
void ipmi_end_refused(struct ipmi *ipmi, const char *what, const struct ipmi_answer *answer);
void ipmi_end_broken(struct ipmi *ipmi, const char *what);

void ipmi_connect(struct ipmi *ipmi);
void ipmi_suite_is_late(void *data);
void ipmi_disconnect(struct ipmi *ipmi);
void ipmi_cancel(struct bmc *bmc);
