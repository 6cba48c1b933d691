/* SPDX-License-Identifier: Apache-2.0 */
/*
 * files.c - get, put and remove.
 */
#include "agent/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "files/sftp.h"

#define CHUNK 32768

static int send_content(int fd, int file)
{
	cleanup(free) uint8_t *bytes = alloc_array(CHUNK, uint8_t);
	for (;;) {
		ssize_t n = read(file, bytes, CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return frame_error(fd, -errno, NULL);
		int r = frame_write(fd, AGENT_DATA, NULL, 0, bytes, (size_t)n);
		if (r < 0 || n == 0)
			return r;
	}
}

static int send_names(int fd, const char *path)
{
	DIR *dir = opendir(path);
	if (!dir)
		return frame_error(fd, -errno, NULL);
	const struct dirent *entry;
	int r = 0;
	while (r == 0 && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			r = frame_write(
				fd, AGENT_DATA, NULL, 0, entry->d_name, strlen(entry->d_name) + 1);
	closedir(dir);
	return r < 0 ? r : frame_write(fd, AGENT_DATA, NULL, 0, NULL, 0);
}

static int get(int fd, const char *path)
{
	struct stat status;
	char target[PATH_MAX];
	if (lstat(path, &status) < 0)
		return frame_error(fd, -errno, NULL);
	cleanup(close) int file = S_ISREG(status.st_mode) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (S_ISREG(status.st_mode) && file < 0)
		return frame_error(fd, -errno, NULL);
	if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode) && !S_ISLNK(status.st_mode))
		return frame_error(fd, -EINVAL, "neither a file, nor a directory, nor a link");
	const struct agent_file info = { status.st_mode, status.st_uid, status.st_gid, 0,
		(uint64_t)status.st_size };
	int r = frame_write(fd, AGENT_INFO, &info, sizeof(info), NULL, 0);
	if (r < 0)
		return r;
	if (S_ISREG(status.st_mode))
		return send_content(fd, file);
	if (S_ISDIR(status.st_mode))
		return send_names(fd, path);
	ssize_t n = readlink(path, target, sizeof(target));
	r = n < 0 ? -errno : frame_write(fd, AGENT_DATA, NULL, 0, target, (size_t)n);
	return r < 0 ? r : frame_write(fd, AGENT_DATA, NULL, 0, NULL, 0);
}

void files_get(int fd, struct frame *frame)
{
	(void)!get(fd, (const char *)frame->data);
}

/* Reads what follows up to the empty frame; keeps reading after an error, so that it can be told. */
static int receive_content(int fd, int file, struct frame *frame)
{
	int r = 0, n;
	while ((n = frame_read(fd, frame)) > 0 && frame->type == AGENT_DATA && frame->bytes > 0)
		if (r == 0)
			r = file_write_all(file, frame->data, frame->bytes);
	return n <= 0 ? -EPROTO : r;
}

static int put_file(int fd, const char *path, const struct agent_file *info, struct frame *frame)
{
	cleanup(close) int file =
		open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, (mode_t)(info->mode & 07777));
	int r = file < 0 ? -errno : 0;
	if (r == 0 &&
		(fchown(file, info->uid, info->gid) < 0 ||
			fchmod(file, (mode_t)(info->mode & 07777)) < 0))
		r = -errno;
	int content = receive_content(fd, file, frame);
	return r < 0 ? r : content;
}

static int put(int fd, struct frame *frame)
{
	struct agent_file info;
	if (frame->bytes <= sizeof(info))
		return -EPROTO;
	memcpy(&info, frame->data, sizeof(info));
	cleanup(free) char *path = alloc_text((const char *)frame->data + sizeof(info));
	size_t used = sizeof(info) + strlen(path) + 1;
	if (S_ISREG(info.mode))
		return put_file(fd, path, &info, frame);
	int r = -EINVAL;
	if (S_ISDIR(info.mode))
		r = mkdir(path, (mode_t)(info.mode & 07777)) < 0 && errno != EEXIST ? -errno : 0;
	else if (S_ISLNK(info.mode) && used < frame->bytes)
		r = symlink((const char *)frame->data + used, path) < 0 ? -errno : 0;
	if (r == 0 && lchown(path, info.uid, info.gid) < 0)
		r = -errno;
	return r;
}

static void answer(int fd, int r)
{
	(void)!(r < 0 ? frame_error(fd, r, NULL) : frame_done(fd));
}

void files_put(int fd, struct frame *frame)
{
	answer(fd, put(fd, frame));
}

void files_remove(int fd, struct frame *frame)
{
	answer(fd, remove((const char *)frame->data) < 0 ? -errno : 0);
}

int files_sftp(int fd)
{
	cleanup(close) int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return frame_error(fd, -errno, NULL);
	int r = frame_done(fd);
	return r < 0 ? r : sftp_serve(fd, root);
}
