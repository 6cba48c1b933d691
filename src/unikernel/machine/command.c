/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command.c - the command line that a machine's library OS is booted with.
 */
#include "unikernel/machine/command.h"

#include "abi/machine.h"

/* The next word with its NUL; NULL at the end. `*line` is moved behind it. */
static char *take_word(char **line)
{
	char *from = *line;
	while (*from == ' ')
		from++;
	if (!*from)
		return NULL;
	char *word = from, *to = from;
	bool is_quoted = false;
	for (; *from && (is_quoted || *from != ' '); from++) {
		if (*from == '"')
			is_quoted = !is_quoted;
		else
			*to++ = *from;
	}
	*line = *from ? from + 1 : from;
	*to = '\0';
	return word;
}

static bool starts(const char *word, const char *start)
{
	return strncmp(word, start, strlen(start)) == 0;
}

static uint64_t read_number(const char *text)
{
	uint64_t value = 0, base = 10;
	if (text[0] == '0' && text[1] == 'x') {
		base = 16;
		text += 2;
	}
	for (; *text; text++) {
		uint64_t digit = *text >= '0' && *text <= '9' ? (uint64_t)(*text - '0')
			: *text >= 'a' && *text <= 'f'        ? (uint64_t)(*text - 'a' + 10)
							      : base;
		if (digit >= base || value > UINT32_MAX)
			return UINT64_MAX;
		value = value * base + digit;
	}
	return value;
}

static const char *take_option(const char *word, struct command *ret)
{
	static const char port[] = "berth.exit=";
	if (text_is(word, "berth.verbose")) {
		ret->is_verbose = true;
	} else if (text_is(word, "berth.plain")) {
		ret->is_plain = true;
	} else if (starts(word, port)) {
		uint64_t number = read_number(word + sizeof(port) - 1);
		if (number == 0 || number > UINT16_MAX)
			return "berth.exit is no port";
		ret->exit_port = (uint16_t)number;
	} else if (starts(word, MACHINE_WORD)) {
		ret->start_at = read_number(word + sizeof(MACHINE_WORD) - 1);
	} else if (starts(word, "berth.")) {
		return "of words with berth. its command line takes berth.exit=PORT, berth.plain and berth.verbose";
	}
	return NULL;
}

const char *command_read(char *line, struct command *ret)
{
	const char *wrong = NULL;
	char *word;
	*ret = (struct command){};
	while (!wrong && (word = take_word(&line)) && !text_is(word, "--"))
		wrong = take_option(word, ret);
	char *end = ret->words = line;
	while (!wrong && (word = take_word(&line))) {
		size_t length = strlen(word) + 1;
		memmove(end, word, length);
		end += length;
		ret->argument_count++;
	}
	ret->words_bytes = (uint32_t)(end - ret->words);
	return wrong;
}
