/* SPDX-License-Identifier: Apache-2.0 */
/*
 * devices.c - the console and what else stands in /dev.
 *
 * The random bytes are ChaCha20 over the key that the platform gave at the start; every request takes a new key
 * from the stream first, so that what was given cannot be computed from what is left.
 */
#include "unikernel/devices.h"

#include <asm/termbits.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "unikernel/descriptors.h"
#include "unikernel/heap.h"

enum { DEVICE_NULL, DEVICE_ZERO, DEVICE_FULL, DEVICE_RANDOM, DEVICE_CONSOLE };

static uint32_t random_key[8];
static uint64_t random_counter;
static struct wait_queue console_queue;
static uint32_t boot_flags;
static struct termios console_settings = {
	.c_iflag = ICRNL | IXON,
	.c_oflag = OPOST | ONLCR,
	.c_cflag = B38400 | CS8 | CREAD,
	.c_lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
	.c_cc = { 3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22 },
};
static struct winsize console_size = { 24, 80, 0, 0 };

static uint32_t rotate(uint32_t value, int by)
{
	return (value << by) | (value >> (32 - by));
}

static void quarter(uint32_t *s, int a, int b, int c, int d)
{
	s[a] += s[b];
	s[d] = rotate(s[d] ^ s[a], 16);
	s[c] += s[d];
	s[b] = rotate(s[b] ^ s[c], 12);
	s[a] += s[b];
	s[d] = rotate(s[d] ^ s[a], 8);
	s[c] += s[d];
	s[b] = rotate(s[b] ^ s[c], 7);
}

static void random_block(uint32_t *ret)
{
	static const uint32_t words[4] = { 0x61707865, 0x3320646e, 0x79622d32, 0x6b206574 };
	uint32_t start[16] = {};
	memcpy(start, words, sizeof(words));
	memcpy(start + 4, random_key, sizeof(random_key));
	start[12] = (uint32_t)random_counter;
	start[13] = (uint32_t)(random_counter++ >> 32);
	memcpy(ret, start, sizeof(start));
	for (int i = 0; i < 10; i++) {
		for (int k = 0; k < 4; k++)
			quarter(ret, k, k + 4, k + 8, k + 12);
		for (int k = 0; k < 4; k++)
			quarter(ret, k, 4 + (k + 1) % 4, 8 + (k + 2) % 4, 12 + (k + 3) % 4);
	}
	for (int i = 0; i < 16; i++)
		ret[i] += start[i];
}

void devices_seed(const uint8_t random[32])
{
	memcpy(random_key, random, sizeof(random_key));
}

void devices_random(void *to, uint64_t size)
{
	uint32_t block[16];
	uint8_t *out = to;
	while (size > 0) {
		uint64_t count = size < sizeof(block) ? size : sizeof(block);
		random_block(block);
		memcpy(out, block, count);
		out += count;
		size -= count;
	}
	random_block(block);
	memcpy(random_key, block, sizeof(random_key));
}

static int kind_of(const struct file *file)
{
	return (int)address_of(file->object);
}

/* What the host says when its buffer is full must not be lost: waiting is spinning through the platform. */
static int64_t console_write(int stream, const uint8_t *from, uint64_t size)
{
	uint64_t done = 0;
	while (done < size) {
		int64_t put = platform_console_write(stream, from + done, size - done);
		if (put == -EAGAIN) {
			(void)platform_wait(platform_clock_monotonic() + 1000000, false);
			continue;
		}
		if (put <= 0)
			return done ? (int64_t)done : put;
		done += (uint64_t)put;
	}
	return (int64_t)done;
}

static int64_t device_read(struct file *file, void *to, uint64_t size, uint64_t *position)
{
	(void)position;
	switch (kind_of(file)) {
	case DEVICE_NULL:
		return 0;
	case DEVICE_RANDOM:
		devices_random(to, size);
		return (int64_t)size;
	case DEVICE_CONSOLE:
		/* Who waits for input here must not keep others waiting there. */
		if (size && !platform_console_has_input())
			return -EAGAIN;
		return size ? platform_console_read(to, size) : 0;
	default:
		memset(to, 0, size);
		return (int64_t)size;
	}
}

static int64_t device_write(struct file *file, const void *from, uint64_t size, uint64_t *position)
{
	switch (kind_of(file)) {
	case DEVICE_FULL:
		return -ENOSPC;
	case DEVICE_CONSOLE:
		/* Only the file that descriptor 2 began with is the other stream. */
		(void)position;
		return console_write(file->flags & O_SYNC ? 2 : 1, from, size);
	default:
		return (int64_t)size;
	}
}

static bool is_terminal(const struct file *file)
{
	if (kind_of(file) != DEVICE_CONSOLE)
		return false;
	bool is_input = (file->flags & O_ACCMODE) == O_RDONLY;
	return (boot_flags & (is_input ? BOOT_IN_TERMINAL : BOOT_OUT_TERMINAL)) != 0;
}

static int64_t device_seek(struct file *file, int64_t offset, int whence)
{
	(void)offset, (void)whence;
	return kind_of(file) == DEVICE_CONSOLE ? -ESPIPE : 0;
}

static int64_t device_stat(struct file *file, struct stat *ret)
{
	if (file->node) {
		node_stat(file->node, ret);
		return 0;
	}
	(void)file_stat_pipe(file, ret);
	if (is_terminal(file)) {
		ret->st_mode = S_IFCHR | 0620;
		ret->st_rdev = makedev(5, 1);
	}
	return 0;
}

static int64_t device_ioctl(struct file *file, uint64_t request, uint64_t argument)
{
	if (!is_terminal(file))
		return -ENOTTY;
	switch (request) {
	case TCGETS:
		memcpy(at(argument), &console_settings, sizeof(console_settings));
		return 0;
	case TCSETS:
	case TCSETSW:
	case TCSETSF:
		memcpy(&console_settings, at(argument), sizeof(console_settings));
		return 0;
	case TIOCGWINSZ:
		memcpy(at(argument), &console_size, sizeof(console_size));
		return 0;
	case TIOCSWINSZ:
		memcpy(&console_size, at(argument), sizeof(console_size));
		return 0;
	case TIOCGPGRP:
	case TIOCGSID:
		*(int *)at(argument) = 1;
		return 0;
	case TIOCSPGRP:
	case TIOCSCTTY:
	case TCFLSH:
	case TCXONC:
	case TCSBRK:
		return 0;
	default:
		return -ENOTTY;
	}
}

static uint32_t device_poll(struct file *file)
{
	if (kind_of(file) == DEVICE_CONSOLE)
		return POLLOUT | (platform_console_has_input() ? POLLIN : 0u);
	return POLLIN | POLLOUT;
}

static void device_close(struct file *file)
{
	if (file->node)
		node_drop(file->node);
}

static const struct file_operations device_operations = {
	.read = device_read,
	.write = device_write,
	.seek = device_seek,
	.stat = device_stat,
	.ioctl = device_ioctl,
	.poll = device_poll,
	.close = device_close,
};

static struct file *new_file(uint64_t kind, uint32_t flags, const char *path)
{
	struct file *file = file_new(&device_operations, flags & ~(uint32_t)O_SYNC, path);
	if (!file)
		return NULL;
	file->object = at(kind);
	if (kind == DEVICE_CONSOLE)
		file->queue = &console_queue;
	return file;
}

static int64_t open_device(struct node *node, uint32_t flags, struct file **ret)
{
	struct file *file = new_file(node->private_data, flags, "/dev/console");
	if (!file)
		return -ENOMEM;
	file->node = node;
	node_hold(node);
	*ret = file;
	return 0;
}

static bool wants_console(void)
{
	return console_queue.first != NULL;
}

static void has_console(void)
{
	wait_notify(&console_queue);
}

static int make(const char *path, uint32_t mode, struct node **ret)
{
	struct place place;
	int r = path_walk(path_root, path, false, &place);
	if (r == 0 && place.node) {
		if (S_ISDIR(mode)) {
			*ret = place.node;
			return 0;
		}
		node_unlink(place.directory, place.entry);
	}
	return r < 0 ? r : path_make(&place, mode, ret);
}

int devices_init(const struct boot *boot)
{
	static const struct {
		const char *path;
		uint32_t kind, major, minor;
	} devices[] = {
		{ "/dev/null", DEVICE_NULL, 1, 3 },
		{ "/dev/zero", DEVICE_ZERO, 1, 5 },
		{ "/dev/full", DEVICE_FULL, 1, 7 },
		{ "/dev/random", DEVICE_RANDOM, 1, 8 },
		{ "/dev/urandom", DEVICE_RANDOM, 1, 9 },
		{ "/dev/tty", DEVICE_CONSOLE, 5, 0 },
		{ "/dev/console", DEVICE_CONSOLE, 5, 1 },
	};
	static const char *const links[][2] = {
		{ "/dev/fd", "/proc/self/fd" },
		{ "/dev/stdin", "/proc/self/fd/0" },
		{ "/dev/stdout", "/proc/self/fd/1" },
		{ "/dev/stderr", "/proc/self/fd/2" },
	};
	struct node *node;
	memcpy(random_key, boot->random, sizeof(random_key));
	boot_flags = boot->flags;
	path_umask = 0;
	int r = make("/dev", S_IFDIR | 0755, &node);
	for (size_t i = 0; i < COUNT(devices) && r == 0; i++) {
		r = make(devices[i].path, S_IFCHR | 0666, &node);
		if (r < 0)
			return r;
		node->private_data = devices[i].kind;
		node->rdev = makedev(devices[i].major, devices[i].minor);
		node->open = open_device;
	}
	for (size_t i = 0; i < COUNT(links) && r == 0; i++) {
		r = make(links[i][0], S_IFLNK | 0777, &node);
		if (r == 0)
			node->target = heap_text(links[i][1], strlen(links[i][1]));
	}
	if (r == 0)
		r = make("/dev/shm", S_IFDIR | 01777, &node);
	if (r == 0)
		r = make("/tmp", S_IFDIR | 01777, &node);
	path_umask = 022;
	for (uint64_t i = 0; i < 3 && r == 0; i++) {
		struct file *file =
			new_file(DEVICE_CONSOLE, i ? O_WRONLY : O_RDONLY, "/dev/console");
		if (!file)
			return -ENOMEM;
		if (i == 2)
			file->flags |= O_SYNC;
		descriptor_set(file, i, false);
	}
	thread_set_console(wants_console, has_console);
	return r;
}
