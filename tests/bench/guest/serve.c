/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serve.c - runs what the host types on the guest's console, a line at a time.
 *
 * A line is a command for sh, or, if it begins with "=", words of a program that needs no shell. The
 * answer is the command's output and "@end STATUS"; "@ready" comes first.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define LINE_MAX_BYTES 1024
#define WORDS_MAX      32

static void quiet_terminal(void)
{
	struct termios settings;
	if (tcgetattr(0, &settings) < 0)
		return;
	settings.c_lflag &= ~(tcflag_t)ECHO;
	settings.c_oflag &= ~(tcflag_t)OPOST;
	settings.c_iflag &= ~(tcflag_t)ICRNL;
	tcsetattr(0, TCSANOW, &settings);
}

static _Noreturn void run(char *line)
{
	char *words[WORDS_MAX + 1], *rest = NULL;
	size_t count = 0;
	if (line[0] != '=') {
		execl("/bin/busybox", "sh", "-c", line, (char *)NULL);
		_exit(126);
	}
	for (char *word = strtok_r(line + 1, " ", &rest); word && count < WORDS_MAX;
		word = strtok_r(NULL, " ", &rest))
		words[count++] = word;
	words[count] = NULL;
	if (count)
		execv(words[0], words);
	_exit(126);
}

int main(void)
{
	char line[LINE_MAX_BYTES];
	quiet_terminal();
	setenv("PATH", "/bin:/bench", 1);
	printf("@ready\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		int status = 0;
		line[strcspn(line, "\n")] = 0;
		pid_t child = fork();
		if (child == 0)
			run(line);
		if (child > 0)
			waitpid(child, &status, 0);
		printf("@end %d\n",
			WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
		fflush(stdout);
	}
	return 0;
}
