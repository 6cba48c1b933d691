/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transfer.c - reading and writing descriptors for client.h, with progress.
 */
#include "cli/transfer.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/file.h"

static ssize_t read_file(void *data, void *buffer, size_t size)
{
	struct transfer *transfer = data;
	ssize_t length;
	do
		length = read(transfer->fd, buffer, size);
	while (length < 0 && errno == EINTR);
	if (length < 0)
		return -errno;
	transfer->done += (uint64_t)length;
	if (transfer->what) {
		char done[TEXT_SIZE_MAX];
		unsigned percent =
			transfer->total ? (unsigned)(transfer->done * 100 / transfer->total) : 101;
		progress_show(&transfer->context->progress, transfer->what,
			text_format_bytes(transfer->done, done), percent > 101 ? 101 : percent);
	}
	return length;
}

struct client_source transfer_source(struct transfer *transfer)
{
	struct stat status;
	uint64_t length = CLIENT_LENGTH_UNKNOWN;
	off_t at = lseek(transfer->fd, 0, SEEK_CUR);
	if (at >= 0 && fstat(transfer->fd, &status) == 0 && S_ISREG(status.st_mode) &&
		status.st_size >= at) {
		length = (uint64_t)(status.st_size - at);
		transfer->total = length;
	}
	return (struct client_source){ .read = read_file, .data = transfer, .length = length };
}

int transfer_sink(void *data, const void *bytes, size_t length)
{
	const int *fd = data;
	return file_write_all(*fd, bytes, length);
}
