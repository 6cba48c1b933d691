/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - berth-agent: the host's hands in a guest, as a service or as its first process.
 *
 * usage: berth-agent           serves the host over vsock; as process 1 it is the guest's init, too
 *        berth-agent --stdio   serves one connection on standard input (for tests)
 *        berth-agent --console serves one connection on the console: of a unikernel, for its files
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/deploy.h"
#include "agent/init.h"
#include "agent/serve.h"
#include "agent/tune.h"

/* A server in a child, so that what kills it does not kill the guest. */
static void serve_in_child(void)
{
	struct error e = {};
	int listener = serve_listen(&e);
	if (listener < 0) {
		init_say("berth-agent: %s", e.text);
		return;
	}
	if (fork() == 0)
		serve_run(listener);
	close(listener);
}

static int be_init(void)
{
	struct init init = {};
	struct error e = {};
	if (init_set_up(&init, &e) < 0)
		init_say("berth-agent: %s", e.text);
	if (deploy_is_wanted())
		deploy_run();
	serve_in_child();
	init_say("berth-agent: the guest is up");
	init_run(&init);
}

int main(int argc, char **argv)
{
	struct error e = {};
	if (argc == 2 && strcmp(argv[1], "--stdio") == 0) {
		serve_connection(STDIN_FILENO);
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "--console") == 0) {
		int console = open("/dev/console", O_RDWR | O_CLOEXEC);
		if (console >= 0)
			serve_connection(console);
		return console < 0;
	}
	/* Words of the kernel's command line that are nobody's else come as arguments. */
	if (getpid() == 1)
		return be_init();
	if (argc != 1) {
		fprintf(stderr, "usage: berth-agent [--stdio | --console]\n");
		return 2;
	}
	tune_memory();
	int listener = serve_listen(&e);
	if (listener < 0) {
		fprintf(stderr, "berth-agent: %s\n", e.text);
		return 1;
	}
	serve_run(listener);
}
