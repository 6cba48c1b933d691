/* SPDX-License-Identifier: Apache-2.0 */
/*
 * berth-tender-run - the runner of one unikernel, and its helpers; berth-tender becomes it.
 */
#include <stdio.h>

#include "base/loop.h"
#include "base/text.h"
#include "tender/exec.h"
#include "tender/instance.h"

int main(int count, char **words)
{
	uint64_t began_ns = loop_now();
	if (count == 3 && text_equal(words[1], "run"))
		return instance_main(words, words[2], began_ns);
	if (count == 2 && text_equal(words[1], "exec"))
		return exec_main();
	if (count == 2 && text_equal(words[1], "files"))
		return files_main();
	fputs("usage: berth-tender run PLAN | exec | files\n", stderr);
	return 2;
}
