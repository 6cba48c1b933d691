/* SPDX-License-Identifier: Apache-2.0 */
/*
 * static_signal.c - says that it is ready, computes without a call until SIGTERM comes, says so from its handler and ends
 * with 7; with an argument it waits instead.
 */
#include <signal.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t has_ended;

static void on_term(int number)
{
	static const char words[] = "told to end\n";
	if (number == SIGTERM && write(1, words, sizeof(words) - 1) > 0)
		has_ended = 1;
}

int main(int argc, char **argv)
{
	static const char words[] = "to be told\n";
	volatile double sum = 1;
	sigset_t told, before;
	(void)argv;
	(void)signal(SIGTERM, on_term);
	(void)sigemptyset(&told);
	(void)sigaddset(&told, SIGTERM);
	if (argc > 1)
		(void)sigprocmask(
			SIG_BLOCK, &told, &before); /* it comes while this waits, not just before */
	if (write(1, words, sizeof(words) - 1) < 0)
		return 1;
	while (!has_ended) {
		if (argc > 1)
			(void)sigsuspend(&before);
		sum = sum * 1.0000001 + 1;
	}
	return sum > 0 ? 7 : 8;
}
