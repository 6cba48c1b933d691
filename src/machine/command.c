/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command.c - what the agent sets up (CONFIGURE's lines) and runs, from the plan.
 */
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "machine/machine.h"
#include "model/json.h"

static void add_nic(struct text *text, const json_t *nic)
{
	size_t i;
	json_t *value;
	const char *mac = json_text(nic, "mac");
	json_array_foreach(json_object_get(nic, "addresses"), i, value)
		text_printf(text, "address %s %s\n", mac, json_string_value(value));
	json_array_foreach(json_object_get(nic, "gateways"), i, value)
		text_printf(text, "gateway %s %s\n", mac, json_string_value(value));
}

char *command_configure(const json_t *plan)
{
	struct text text = {};
	size_t i;
	json_t *value;
	text_printf(&text, "hostname %s\n", json_text(plan, "hostname"));
	json_array_foreach(json_object_get(plan, "nics"), i, value) add_nic(&text, value);
	const json_t *resolver = json_object_get(plan, "resolver");
	json_array_foreach(json_object_get(resolver, "nameservers"), i, value)
		text_printf(&text, "nameserver %s\n", json_string_value(value));
	json_array_foreach(json_object_get(resolver, "search"), i, value)
		text_printf(&text, "search %s\n", json_string_value(value));
	return text_take(&text);
}

/* Each with a letter before and a NUL behind: a word, e environment, d directory. */
static void add_words(struct text *text, char letter, const json_t *words)
{
	size_t i;
	json_t *word;
	json_array_foreach(words, i, word)
	{
		text_add_char(text, letter);
		text_add_n(text, json_string_value(word), json_string_length(word) + 1);
	}
}

int command_program(const json_t *plan, char **ret, size_t *ret_length, struct error *e)
{
	struct text text = {};
	const json_t *init = json_object_get(plan, "init");
	const char *cwd = json_text(init, "cwd");
	const char *user = json_text(init, "user");
	if (user && !text_equal(user, "0:0") && !text_equal(user, "0") && !text_equal(user, "root"))
		return error_set(e, -EOPNOTSUPP,
			"config.oci.user: a microVM's main program runs as root only");
	add_words(&text, 'w', json_object_get(init, "args"));
	add_words(&text, 'e', json_object_get(init, "environment"));
	if (cwd) {
		text_add_char(&text, 'd');
		text_add_n(&text, cwd, strlen(cwd) + 1);
	}
	*ret_length = text.length;
	*ret = text_take(&text);
	return 0;
}
