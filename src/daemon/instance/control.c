/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.c - reads what comes on a control socket; nothing of it is believed.
 */
#include "daemon/instance/control.h"

#include <signal.h>

#include "base/text.h"
#include "model/json.h"

static bool read_cells(const json_t *args, const char *field, uint16_t *ret)
{
	const char *text = json_text(args, field);
	uint64_t cells;
	if (!text || text_to_u64(text, &cells) < 0 || cells > CONTROL_CELLS_MAX)
		return false;
	*ret = (uint16_t)cells;
	return true;
}

bool control_read(const char *bytes, size_t length, struct control_word *ret)
{
	if (length == 0 || length > CONTROL_BYTES)
		return false;
	cleanup(json_decref) json_t *json = json_loadb(bytes, length, 0, NULL);
	const char *command = json_text(json, "command");
	const json_t *args = json_object_get(json, "args");
	json_int_t number = json_integer_value(json_object_get(json, "signal"));
	struct control_word word = {};
	if (text_equal(command, "window-resize")) {
		if (!read_cells(args, "width", &word.columns) ||
			!read_cells(args, "height", &word.rows))
			return false;
	} else if (text_equal(command, "signal") && number > 0 && number <= SIGRTMAX) {
		word.signal = (int)number;
	} else {
		return false;
	}
	*ret = word;
	return true;
}
