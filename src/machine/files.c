/* SPDX-License-Identifier: Apache-2.0 */
/*
 * files.c - `berth-machine files`: abi/files.h carried out by the guest's agent.
 */
#include <errno.h>

#include "agent/ask_files.h"
#include "host/process.h"
#include "machine/machine.h"

struct guest {
	int dir, pidfd;
};

static int connect_guest(void *data, uint32_t type, int *ret, struct error *e)
{
	const struct guest *guest = data;
	(void)type;
	return guest_connect(guest->dir, guest->pidfd, ret, e);
}

int files_main(void)
{
	int channel = process_named_fd("channel");
	struct guest guest = { process_named_fd("dir"), process_named_fd("pidfd") };
	struct error e = {};
	bool has_line = process_named_fd("line") >= 0;
	if (channel < 0 || (guest.dir < 0 && !has_line))
		return 2;
	if (guest.pidfd < 0 && !has_line) {
		error_set(&e, -EBUSY, "The files of a machine are reached while it runs");
		ask_files_refuse(channel, -EBUSY, &e);
		return 1;
	}
	return ask_files_serve(channel,
		&(struct ask_files){ .kind = has_line ? "server" : "machine",
			.connect = connect_guest,
			.data = &guest });
}
