/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exit.c - the end of a unikernel.
 */
#include "unikernel/exit.h"

#include "unikernel/kept.h"

bool kernel_has_no_caller = true; /* until the program begins */

void kernel_exit(int status)
{
	kernel_has_no_caller = true;
	kept_close();
	platform_exit(status);
}

void kernel_panic(const char *sentence)
{
	static const char head[] = "unikernel: ";
	platform_console_write(2, head, sizeof(head) - 1);
	platform_console_write(2, sentence, strlen(sentence));
	platform_console_write(2, "\n", 1);
	kernel_exit(255);
}
