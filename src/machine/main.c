/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - berth-machine: the runner of microVMs and its helpers.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "machine/machine.h"

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	(void)signal(SIGPIPE, SIG_IGN);
	if (strcmp(verb, "run") == 0 && argc == 3)
		return run_main(argv[2]);
	if (strcmp(verb, "exec") == 0 && argc == 2)
		return exec_main();
	if (strcmp(verb, "files") == 0 && argc == 2)
		return files_main();
	if (strcmp(verb, "stop") == 0 && argc == 2)
		return stop_main();
	if (strcmp(verb, "usage") == 0 && argc == 2)
		return usage_main();
	if (strcmp(verb, "tell") == 0 && argc == 2)
		return tell_main();
	(void)fprintf(stderr, "usage: berth-machine run plan.json\n");
	return 2;
}
