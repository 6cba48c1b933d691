/* SPDX-License-Identifier: Apache-2.0 */
/*
 * code_map.c - one line a block: where it begins and ends in this process, in front and behind, all in hexadecimal; the guest's
 * physical address; the mode (enum native_mode) and how many instructions.
 *
 * A line is written when its block is, not later: a monitor that is killed leaves what counts.
 */
#include "vmm/soft/code_map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int code_map_open(int *ret_fd, struct error *e)
{
	char name[64];
	snprintf(name, sizeof(name), "berth-code-%d.map", (int)getpid());
	int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return error_errno(e, "%s", name);
	*ret_fd = fd;
	return 0;
}

int code_map_share(int fd, int *ret_fd, struct error *e)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (copy < 0)
		return error_errno(e, "map of the code");
	*ret_fd = copy;
	return 0;
}

int code_map_add(int fd, const struct code_map_line *line)
{
	char text[160];
	int bytes = snprintf(text, sizeof(text), "%jx %jx %jx %jx %jx %u %u\n",
		(uintmax_t)line->hot, (uintmax_t)line->hot_end, (uintmax_t)line->cold,
		(uintmax_t)line->cold_end, (uintmax_t)line->physical, line->mode, line->count);
	return write(fd, text, (size_t)bytes) == bytes ? 0 : -EIO;
}
