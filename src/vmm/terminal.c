/* SPDX-License-Identifier: Apache-2.0 */
/*
 * terminal.c - bytes between a guest's consoles and two descriptors.
 */
#include "vmm/terminal.h"

#include <errno.h>
#include <string.h>
#include <termios.h>

#include "base/file.h"

/* Takes what the guest has written since the last time, and writes it. */
static void flush(struct terminal *terminal)
{
	uint8_t bytes[4096];
	for (;;) {
		bus_enter(terminal->bus);
		size_t n = terminal->count < sizeof(bytes) ? terminal->count : sizeof(bytes);
		memcpy(bytes, terminal->buffer, n);
		memmove(terminal->buffer, terminal->buffer + n, terminal->count - n);
		terminal->count -= n;
		bus_leave(terminal->bus);
		if (n == 0)
			return;
		if (terminal->put)
			terminal->put(terminal->data, bytes, n);
		else if (terminal->out >=
				0 && /* A reader that is gone loses output; the guest goes on. */
			file_write_all(terminal->out, bytes, n) < 0)
			terminal->out = -1;
	}
}

/* On a CPU's thread, under the bus lock. */
static void output(struct terminal *terminal, const uint8_t *bytes, size_t count)
{
	if (count > TERMINAL_BUFFER - terminal->count)
		return;
	memcpy(terminal->buffer + terminal->count, bytes, count);
	if (terminal->count == 0)
		loop_wake(terminal->wake);
	terminal->count += count;
}

static void serial_output(void *data, const uint8_t *bytes, size_t count)
{
	struct terminal *terminal = data;
	terminal->is_virtio = false;
	output(terminal, bytes, count);
}

static void virtio_output(void *data, const uint8_t *bytes, size_t count)
{
	struct terminal *terminal = data;
	terminal->is_virtio = true;
	output(terminal, bytes, count);
}

static void drained(void *data)
{
	struct terminal *terminal = data;
	loop_wake(terminal->wake);
}

/* Gives the guest what it has room for; watches for more when all is given. */
static void feed(struct terminal *terminal)
{
	bus_enter(terminal->bus);
	size_t n = terminal->is_virtio && terminal->console->is_started
		? virtio_console_input(
			  terminal->console, terminal->pending, terminal->pending_count)
		: serial_input(terminal->serial, terminal->pending, terminal->pending_count);
	bus_leave(terminal->bus);
	memmove(terminal->pending, terminal->pending + n, terminal->pending_count - n);
	terminal->pending_count -= n;
	if (terminal->input && terminal->pending_count == 0 &&
		source_set_events(terminal->input, EPOLLIN) < 0)
		source_free(TAKE_PTR(terminal->input));
}

static void readable(void *data, int fd, uint32_t events)
{
	struct terminal *terminal = data;
	(void)events;
	ssize_t n = read(fd, terminal->pending, sizeof(terminal->pending));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		source_free(TAKE_PTR(terminal->input));
		return;
	}
	terminal->pending_count = (size_t)n;
	if (source_set_events(terminal->input, 0) < 0)
		return;
	feed(terminal);
}

void terminal_set_output(struct terminal *terminal,
	void (*put)(void *data, const void *bytes, size_t count), void *data)
{
	terminal->put = put;
	terminal->data = data;
}

void terminal_input(struct terminal *terminal, const uint8_t *bytes, size_t count)
{
	size_t room = sizeof(terminal->pending) - terminal->pending_count;
	if (count > room)
		count = room;
	memcpy(terminal->pending + terminal->pending_count, bytes, count);
	terminal->pending_count += count;
	feed(terminal);
}

static void woken(void *data)
{
	struct terminal *terminal = data;
	flush(terminal);
	if (terminal->pending_count)
		feed(terminal);
}

static void set_raw(struct terminal *terminal)
{
	struct termios mode;
	if (terminal->in < 0 || tcgetattr(terminal->in, &mode) < 0)
		return;
	struct termios *saved = alloc(struct termios);
	*saved = mode;
	terminal->saved_mode = saved;
	cfmakeraw(&mode);
	mode.c_oflag |= OPOST;
	tcsetattr(terminal->in, TCSANOW, &mode);
}

int terminal_init(struct terminal *terminal, struct loop *loop, struct serial *serial,
	struct virtio_device *console, int in, int out, struct error *e)
{
	*terminal = (struct terminal){
		.serial = serial,
		.console = console,
		.bus = serial->bus,
		.loop = loop,
		.in = in,
		.out = out,
		.buffer = alloc_array(TERMINAL_BUFFER, uint8_t),
	};
	int r = loop_add_wake(loop, woken, terminal, &terminal->wake);
	if (r < 0)
		return error_code(e, r, "watch the console");
	/* Not everything can be watched (a plain file); then there is no input. */
	if (in >= 0 && loop_add_fd(loop, in, EPOLLIN, readable, terminal, &terminal->input) < 0)
		terminal->input = NULL;
	set_raw(terminal);
	serial->output = serial_output;
	serial->drained = drained;
	serial->data = terminal;
	const struct virtio_console_options options = { virtio_output, drained, terminal };
	virtio_console_connect(console, &options);
	return 0;
}

void terminal_done(struct terminal *terminal)
{
	if (!terminal->buffer)
		return;
	flush(terminal);
	if (terminal->saved_mode)
		tcsetattr(terminal->in, TCSANOW, terminal->saved_mode);
	free(terminal->saved_mode);
	source_free(terminal->input);
	source_free(terminal->wake);
	free(terminal->buffer);
	terminal->buffer = NULL;
}
