/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - berth-container: the container runner, its exec helper and the OCI runtime's command line.
 */
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "base/base.h"
#include "base/loop.h"
#include "container/exec_helper.h"
#include "container/files.h"
#include "container/hotplug.h"
#include "container/monitor.h"
#include "container/oci/main.h"
#include "container/proxy.h"
#include "runner/await.h"

int main(int argc, char **argv)
{
	/* Nobody in a container may look into us, or through us at our program file. */
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	(void)umask(0);
	(void)signal(SIGPIPE, SIG_IGN);
	if (await_plan(argc, argv) < 0)
		return 0;
	uint64_t began_ns = loop_now();
	const char *verb = argc > 1 ? argv[1] : "";
	/* The id of a bundle's container has no such end and no slash. */
	bool is_plan = argc == 3 && (strchr(argv[2], '/') || strcmp(argv[2], "plan.json") == 0);
	if (strcmp(verb, "run") == 0 && is_plan)
		return monitor_main(argv[2], argv, began_ns);
	if (strcmp(verb, "exec") == 0 && argc == 2)
		return exec_helper_main(argv);
	if (strcmp(verb, "files") == 0 && argc == 2)
		return files_main(argv);
	if (strcmp(verb, "proxy") == 0 && argc == 2)
		return proxy_main();
	if (strcmp(verb, "devices") == 0 && argc == 2)
		return hotplug_main();
	return oci_main(argc, argv);
}
