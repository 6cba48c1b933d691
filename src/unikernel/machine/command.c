/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command.c - the command line that a machine's library OS is booted with.
 */
#include "unikernel/machine/command.h"

#include "abi/machine.h"
#include "unikernel/machine/address.h"
#include "unikernel/machine/layout.h"

#define WINDOW "virtio_mmio.device="

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
		if (is_quoted && *from == '\\' && (from[1] == '"' || from[1] == '\\'))
			*to++ = *++from;
		else if (*from == '"')
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

/* The number that `text` begins with, and where it ends; UINT64_MAX: none, or too large. */
static uint64_t take_number(const char **text)
{
	const char *from = *text;
	uint64_t value = 0, base = 10;
	if (from[0] == '0' && from[1] == 'x') {
		base = 16;
		from += 2;
	}
	const char *first = from;
	for (;; from++) {
		uint64_t digit = *from >= '0' && *from <= '9' ? (uint64_t)(*from - '0')
			: *from >= 'a' && *from <= 'f'        ? (uint64_t)(*from - 'a' + 10)
							      : base;
		if (digit >= base)
			break;
		if (value >> 40)
			return UINT64_MAX;
		value = value * base + digit;
	}
	*text = from;
	return from == first ? UINT64_MAX : value;
}

static uint64_t read_number(const char *text)
{
	uint64_t value = take_number(&text);
	return *text ? UINT64_MAX : value;
}

/* SIZE@AT:LINE[:ID], as Linux has it. */
static const char *take_window(const char *text, struct command *ret)
{
	struct command_window *window = &ret->windows[ret->window_count];
	uint64_t bytes = take_number(&text);
	if (*text == 'K' || *text == 'k' || *text == 'M')
		text++;
	if (bytes == UINT64_MAX || *text++ != '@')
		return "virtio_mmio.device is not SIZE@ADDRESS:LINE";
	window->at = take_number(&text);
	if (window->at == UINT64_MAX || *text++ != ':')
		return "virtio_mmio.device is not SIZE@ADDRESS:LINE";
	uint64_t line = take_number(&text);
	if (line > 255 || (*text && *text != ':'))
		return "virtio_mmio.device is not SIZE@ADDRESS:LINE";
	window->line = (uint32_t)line;
	if (ret->window_count == COMMAND_WINDOWS - 1)
		return "there are too many of virtio_mmio.device";
	ret->window_count++;
	return NULL;
}

static const char *take_exit(const char *text, struct command *ret)
{
	uint64_t number = read_number(text);
	if (number == 0 || number > UINT16_MAX)
		return "berth.exit is no port";
	ret->exit_port = (uint16_t)number;
	return NULL;
}

static const char *take_keep(const char *text, struct command *ret)
{
	uint64_t number = read_number(text);
	if (number == 0 || number >= UINT16_MAX)
		return "berth.keep is no port";
	ret->keep_port = (uint16_t)number;
	return NULL;
}

static const char *take_memory(const char *text, struct command *ret)
{
	ret->memory_bytes = read_number(text);
	return ret->memory_bytes == UINT64_MAX ? "berth.memory is no number of bytes" : NULL;
}

/* How many of the last words are the program's environment. */
static const char *take_environment(const char *text, struct command *ret)
{
	uint64_t number = read_number(text);
	ret->environment_count = (uint32_t)number;
	return number > COMMAND_BYTES ? "berth.environment is no number of words" : NULL;
}

static const char *take_directory(const char *text, struct command *ret)
{
	ret->directory = (char *)(uintptr_t)text; /* of the line, which is ours */
	return *text == '/' ? NULL : "berth.directory is no absolute path";
}

static const char *take_stop_signal(const char *text, struct command *ret)
{
	uint64_t number = read_number(text);
	ret->stop_signal = (uint8_t)number;
	return number > 0 && number < 64 ? NULL : "berth.stop-signal is no number of a signal";
}

/* A page of memory that nobody uses: below the library OS. */
static const char *take_report(const char *text, struct command *ret)
{
	ret->report_at = read_number(text);
	return ret->report_at > 0 && ret->report_at < MACHINE_KERNEL &&
			ret->report_at % KERNEL_PAGE == 0
		? NULL
		: "berth.report is no page below 1 MiB";
}

static const char *take_start(const char *text, struct command *ret)
{
	ret->start_at = read_number(text);
	return NULL;
}

static const char *take_address(const char *text, struct command *ret)
{
	struct boot_net *net = &ret->net;
	const char *end = address_read4(text, net->address4);
	bool is_4 = end != NULL;
	if (!is_4)
		end = address_read6(text, net->address6);
	uint64_t prefix = end && *end == '/' ? read_number(end + 1) : 0;
	if (prefix == 0 || prefix > 128 || (is_4 && prefix > 32))
		return "berth.address is not ADDRESS/PREFIX";
	if (!is_4 && prefix != 64)
		return "berth.address: a prefix of IPv6 is 64 here";
	*(is_4 ? &net->prefix4 : &net->prefix6) = (uint8_t)prefix;
	return NULL;
}

static const char *take_gateway(const char *text, struct command *ret)
{
	const char *end = address_read4(text, ret->net.gateway4);
	if (!end)
		end = address_read6(text, ret->net.gateway6);
	return end && !*end ? NULL : "berth.gateway is no address";
}

static const char *take_dns(const char *text, struct command *ret)
{
	static const uint8_t none[16];
	for (uint32_t i = 0; i < BOOT_DNS; i++) {
		uint8_t *to = ret->net.dns[i];
		if (memcmp(to, none, sizeof(none)) != 0)
			continue;
		const char *end = address_read4(text, to + 12);
		if (end)
			to[10] = to[11] = 0xff;
		else
			end = address_read6(text, to);
		return end && !*end ? NULL : "berth.dns is no address";
	}
	return "there are two of berth.dns at most";
}

static const char *take_host_name(const char *text, struct command *ret)
{
	size_t length = strlen(text);
	if (length == 0 || length >= BOOT_HOST_NAME)
		return "berth.host-name has from 1 to 63 characters";
	memset(ret->net.host_name, 0, BOOT_HOST_NAME);
	memcpy(ret->net.host_name, text, length);
	return NULL;
}

static const char *take_option(const char *word, struct command *ret)
{
	static const struct {
		const char *start;
		const char *(*take)(const char *text, struct command *ret);
	} options[] = {
		{ "berth.exit=", take_exit },
		{ "berth.keep=", take_keep },
		{ "berth.address=", take_address },
		{ "berth.gateway=", take_gateway },
		{ "berth.dns=", take_dns },
		{ "berth.host-name=", take_host_name },
		{ "berth.memory=", take_memory },
		{ "berth.report=", take_report },
		{ "berth.environment=", take_environment },
		{ "berth.directory=", take_directory },
		{ "berth.stop-signal=", take_stop_signal },
		{ MACHINE_WORD, take_start },
		{ WINDOW, take_window },
	};
	for (size_t i = 0; i < COUNT(options); i++)
		if (starts(word, options[i].start))
			return options[i].take(word + strlen(options[i].start), ret);
	if (text_is(word, "berth.verbose"))
		ret->is_verbose = true;
	else if (text_is(word, "berth.plain"))
		ret->is_plain = true;
	else if (text_is(word, "berth.no-card"))
		ret->has_no_card = true;
	else if (text_is(word, "berth.no-ip4"))
		ret->net.flags |= BOOT_NET_NO_IP4;
	else if (text_is(word, "berth.no-ip6"))
		ret->net.flags |= BOOT_NET_NO_IP6;
	else if (starts(word, "berth."))
		return "of words with berth. its command line takes address, directory, dns, environment, exit, "
		       "gateway, host-name, keep, memory, no-card, no-ip4, no-ip6, plain, report, stop-signal and verbose";
	return NULL;
}

/* What some monitors put behind all that they were given is not the program's. */
static const char *take_trailing(char *line, struct command *ret)
{
	const char *wrong = NULL;
	size_t length = strlen(line);
	while (!wrong && (length == 0 || line[length - 1] != '"')) {
		char *word = line + strlen(line);
		while (word > line && word[-1] == ' ')
			*--word = '\0';
		while (word > line && word[-1] != ' ')
			word--;
		if (!starts(word, WINDOW))
			return NULL;
		wrong = take_window(word + sizeof(WINDOW) - 1, ret);
		*word = '\0';
	}
	return wrong;
}

const char *command_read(char *line, struct command *ret)
{
	const char *wrong = NULL;
	char *word;
	*ret = (struct command){};
	while (!wrong && (word = take_word(&line)) && !text_is(word, "--"))
		wrong = take_option(word, ret);
	if (!wrong)
		wrong = take_trailing(line, ret);
	char *end = ret->words = line;
	while (!wrong && (word = take_word(&line))) {
		size_t length = strlen(word) + 1;
		memmove(end, word, length);
		end += length;
		ret->argument_count++;
	}
	ret->words_bytes = (uint32_t)(end - ret->words);
	if (!wrong && ret->environment_count && ret->environment_count >= ret->argument_count)
		wrong = "berth.environment: there are not so many words behind the program's name";
	else
		ret->argument_count -= ret->environment_count;
	return wrong;
}
