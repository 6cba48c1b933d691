/* SPDX-License-Identifier: Apache-2.0 */
/*
 * words.c - a command line in words, as a shell would split and quote it, with nothing expanded.
 */
#include "model/words.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"

void words_free(char **words)
{
	if (!words)
		return;
	for (size_t i = 0; words[i]; i++)
		free(words[i]);
	free(words);
}

/* Reads one word at *at into `word`; false if a quote stays open. */
static bool word_read(const char **at, struct text *word)
{
	const char *c = *at;
	char quote = '\0';
	for (; *c && (quote || !strchr(" \t\n", *c)); c++) {
		if (quote && *c == quote) {
			quote = '\0';
		} else if (!quote && (*c == '\'' || *c == '"')) {
			quote = *c;
		} else if (*c == '\\' && quote != '\'') {
			if (c[1] == '\0')
				return false;
			c++;
			if (quote && !strchr("\"\\$`", *c))
				text_add_char(word, '\\');
			text_add_char(word, *c);
		} else {
			text_add_char(word, *c);
		}
	}
	*at = c;
	return !quote;
}

int words_split(const char *line, char ***ret, struct error *e)
{
	cleanup(words_free) char **words = alloc_array(WORDS_MAX + 1, char *);
	size_t count = 0;
	const char *at = line;
	for (;;) {
		at += strspn(at, " \t\n");
		if (*at == '\0')
			break;
		if (count == WORDS_MAX)
			return error_set(e, -EINVAL, "more than %d words", WORDS_MAX);
		cleanup(text_done) struct text word = {};
		if (!word_read(&at, &word))
			return error_set(e, -EINVAL, "a quote is not closed");
		words[count++] = text_take(&word);
	}
	*ret = TAKE_PTR(words);
	return 0;
}

static bool is_plain(const char *word)
{
	return *word &&
		strspn(word,
			"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
			"@%+=:,./_-") == strlen(word);
}

char *words_join(const char *const *words)
{
	cleanup(text_done) struct text line = {};
	for (size_t i = 0; words[i]; i++) {
		if (i)
			text_add_char(&line, ' ');
		if (is_plain(words[i])) {
			text_add(&line, words[i]);
			continue;
		}
		text_add_char(&line, '\'');
		for (const char *c = words[i]; *c; c++) {
			if (*c == '\'')
				text_add(&line, "'\\''");
			else
				text_add_char(&line, *c);
		}
		text_add_char(&line, '\'');
	}
	return text_take(&line);
}
