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
#include "container/exec_helper.h"
#include "container/files.h"
#include "container/monitor.h"

int main(int argc, char **argv)
{
	uint64_t began_ns = loop_now();
	/* Nobody in a container may look into us, or through us at our program file. */
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	(void)umask(0);
	const char *verb = argc > 1 ? argv[1] : "";
	if (strcmp(verb, "run") == 0 && argc == 3)
		return monitor_main(argv[2], argv, began_ns);
	if (strcmp(verb, "exec") == 0 && argc == 2)
		return exec_helper_main(argv);
	if (strcmp(verb, "files") == 0 && argc == 2)
		return files_main(argv);
	(void)fprintf(stderr, "usage: berth-container run plan.json\n");
	return 2;
}
