/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/lldp.h"

#include <errno.h>
#include <string.h>

#include "test.h"

/* As a switch sends it: chassis by its MAC address, port by its name, 120 s, a description, a name, VLAN 100. */
static const uint8_t frame[] = "\x01\x80\xc2\x00\x00\x0e\x02\x00\x00\x00\x00\x01\x88\xcc"
			       "\x02\x07\x04\x02\x00\x00\x00\x00\x01"
			       "\x04\x06\x05"
			       "swp12"
			       "\x06\x02\x00\x78"
			       "\x08\x03top"
			       "\x0a\x04tor\x01"
			       "\xfe\x06\x00\x80\xc2\x01\x00\x64"
			       "\x00\x00";
#define BYTES (sizeof(frame) - 1)

static void reads_a_switch(void)
{
	struct lldp_neighbour neighbour;
	expect_equal(lldp_read(frame, BYTES, &neighbour), 0);
	expect_text(neighbour.chassis, "02:00:00:00:00:01");
	expect_text(neighbour.port, "swp12");
	expect_text(neighbour.system, "tor?");
	expect_equal(neighbour.vlan, 100);
}

static void refuses_what_is_cut(void)
{
	struct lldp_neighbour neighbour;
	/* Until the lifetime is there it says nothing. */
	for (size_t i = 0; i < 14 + 9 + 8 + 4; i++)
		expect_equal(lldp_read(frame, i, &neighbour), -EBADMSG);
	for (size_t i = 14 + 9 + 8 + 4; i < BYTES; i++)
		(void)!lldp_read(frame, i, &neighbour);
}

static void refuses_another_order_a_goodbye_and_other_frames(void)
{
	struct lldp_neighbour neighbour;
	uint8_t copy[BYTES];
	memcpy(copy, frame, BYTES);
	copy[14] = 0x04;
	expect_equal(lldp_read(copy, BYTES, &neighbour), -EBADMSG);
	memcpy(copy, frame, BYTES);
	copy[14 + 9 + 8 + 3] = 0;
	expect_equal(lldp_read(copy, BYTES, &neighbour), -EBADMSG);
	memcpy(copy, frame, BYTES);
	copy[13] = 0;
	expect_equal(lldp_read(copy, BYTES, &neighbour), -EBADMSG);
}

static void shows_addresses_as_addresses(void)
{
	static const uint8_t address[] = "\x01\x80\xc2\x00\x00\x0e\x02\x00\x00\x00\x00\x01\x88\xcc"
					 "\x02\x06\x05\x01\x0a\x00\x00\x01"
					 "\x04\x07\x03\x02\x00\x00\x00\x00\x02"
					 "\x06\x02\x00\x78";
	struct lldp_neighbour neighbour;
	expect_equal(lldp_read(address, sizeof(address) - 1, &neighbour), 0);
	expect_text(neighbour.chassis, "10.0.0.1");
	expect_text(neighbour.port, "02:00:00:00:00:02");
}

static const struct test tests[] = {
	{ "reads a switch", reads_a_switch },
	{ "refuses what is cut", refuses_what_is_cut },
	{ "refuses another order, a goodbye and other frames",
		refuses_another_order_a_goodbye_and_other_frames },
	{ "shows addresses as addresses", shows_addresses_as_addresses },
};

TEST_MAIN(tests)
