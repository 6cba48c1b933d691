/* SPDX-License-Identifier: Apache-2.0 */
/*
 * berth-tender-run - the runner of one unikernel, and its helpers; berth-tender becomes it.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/loop.h"
#include "base/text.h"
#include "model/json.h"
#include "runner/await.h"
#include "tender/exec.h"
#include "tender/instance.h"
#include "tender/measure.h"

/* What costs less here, and by how much: in a sentence, or for the daemon. */
static int explain_engine(bool is_json)
{
	uint64_t process = measure_process(), machine = 0;
	struct error e = {};
	bool has_kvm = measure_machine(&machine, &e) == 0;
	const char *engine = has_kvm && machine < process ? "kvm" : "process";
	cleanup(free) char *why = has_kvm
		? alloc_printf("a call to the host takes %" PRIu64 " ns in a process and %" PRIu64
			       " ns under kvm",
			  process, machine)
		: alloc_printf("there is no kvm: %s", e.text);
	if (is_json) {
		cleanup(json_decref) json_t *json = json_pack("{s:i, s:s, s:s, s:I, s:I}",
			"version", 1, "engine", engine, "why", why, "process_ns",
			(json_int_t)process, "kvm_ns", (json_int_t)machine);
		return json_dumpf(json, stdout, JSON_COMPACT) < 0;
	}
	printf("%s, because %s\n", engine, why);
	return 0;
}

int main(int count, char **words)
{
	if (await_plan(count, words) < 0)
		return 0;
	uint64_t began_ns = loop_now();
	if (count == 3 && text_equal(words[1], "run"))
		return instance_main(words, words[2], began_ns);
	if (count == 2 && text_equal(words[1], "exec"))
		return exec_main();
	if (count == 2 && text_equal(words[1], "files"))
		return files_main();
	if (count == 2 && text_equal(words[1], "--explain-engine"))
		return explain_engine(false);
	if (count == 2 && text_equal(words[1], "--measure-engine"))
		return explain_engine(true);
	fputs("usage: berth-tender run PLAN | exec | files | --explain-engine | --measure-engine\n",
		stderr);
	return 2;
}
