/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - berth-container: the container runner, its exec helper and the OCI runtime's command line.
 */
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "base/base.h"
#include "base/loop.h"
#include "container/monitor.h"

int main(int argc, char **argv)
{
	uint64_t began_ns = loop_now();
	/* Nobody in a container may look into us, or through us at our program file. */
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	(void)umask(0);
	const char *verb = argc > 1 ? argv[1] : "";
	if (strcmp(verb, "run") == 0 && argc == 3)
		return monitor_main(argc - 1, argv + 1, began_ns);
	(void)fprintf(stderr, "usage: berth-container run plan.json\n");
	return 2;
}
