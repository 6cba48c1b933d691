/* SPDX-License-Identifier: Apache-2.0 */
/*
 * berth-tender-run - the runner of one unikernel, and its helpers; berth-tender becomes it.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/loop.h"
#include "base/text.h"
#include "tender/exec.h"
#include "tender/instance.h"
#include "tender/measure.h"

/* What costs less here, and by how much. */
static int explain_engine(void)
{
	uint64_t process = measure_process(), machine = 0;
	struct error e = {};
	if (measure_machine(&machine, &e) < 0)
		printf("process, because there is no kvm: %s\n", e.text);
	else
		printf("%s, because a call to the host takes %" PRIu64
		       " ns in a process and %" PRIu64 " ns under kvm\n",
			machine < process ? "kvm" : "process", process, machine);
	return 0;
}

int main(int count, char **words)
{
	uint64_t began_ns = loop_now();
	if (count == 3 && text_equal(words[1], "run"))
		return instance_main(words, words[2], began_ns);
	if (count == 2 && text_equal(words[1], "exec"))
		return exec_main();
	if (count == 2 && text_equal(words[1], "files"))
		return files_main();
	if (count == 2 && text_equal(words[1], "--explain-engine"))
		return explain_engine();
	fputs("usage: berth-tender run PLAN | exec | files | --explain-engine\n", stderr);
	return 2;
}
