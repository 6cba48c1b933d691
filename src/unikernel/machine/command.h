/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command.h - the command line that a machine's library OS is booted with.
 *
 * Words before "--" that begin with "berth." are for the library OS; others are for nobody. Those behind it are the
 * program's, in place of those of the image, but those at the very end that name devices: some monitors put them there.
 * A word may stand in double quotes, and in these a
 * backslash takes the meaning from a quote or a backslash.
 */
#pragma once

#include "unikernel/kernel.h"

#define COMMAND_BYTES   65536u
#define COMMAND_WINDOWS 32u

/* virtio_mmio.device=SIZE@AT:LINE */
struct command_window {
	uint64_t at;
	uint32_t line;
};

struct command {
	bool is_verbose, is_plain; /* plain: the console is no terminal */
	bool has_no_card;          /* the one that is there is not to be used yet */
	uint16_t exit_port;
	uint16_t keep_port;    /* of abi/keep.h, or 0 */
	uint64_t report_at;    /* of struct report; 0: nobody wants to know */
	uint64_t start_at;     /* of struct machine_start; 0: there is no tender */
	uint64_t memory_bytes; /* what the program shall have at most; 0: all that there is */
	uint8_t stop_signal;   /* what the power button is; 0: SIGTERM */
	char *directory;       /* where the program begins, or NULL */
	char *words;           /* arguments, then the environment, each with its NUL */
	uint32_t words_bytes, argument_count, environment_count;
	struct command_window windows[COMMAND_WINDOWS];
	uint32_t window_count;
	struct boot_net net; /* its addresses */
};

/* NULL, or what is wrong. `line` is changed; the words of the result are in it. */
const char *command_read(char *line, struct command *ret);
