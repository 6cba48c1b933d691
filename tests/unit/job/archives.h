/* SPDX-License-Identifier: Apache-2.0 */
/*
 * archives.h - hostile and plain tar archives, built byte by byte in a memory file.
 */
#pragma once

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/file.h"
#include "test.h"

/* One ustar header, as any program may write it. */
struct tar_header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100],
		magic[6], version[2], user[32], group[32], major[8], minor[8], prefix[155],
		reserved[12];
};

static inline int tar_new(void)
{
	int fd = memfd_create("tar", MFD_CLOEXEC);
	expect(fd >= 0);
	return fd;
}

static inline void tar_write(int fd, const void *data, size_t length)
{
	expect_equal(file_write_all(fd, data, length), 0);
}

static inline void tar_pad(int fd, size_t length)
{
	static const char zeros[512];
	if (length % 512)
		tar_write(fd, zeros, 512 - length % 512);
}

static inline void tar_header_write(int fd, char type, const char *name, const char *link,
	unsigned mode, unsigned uid, size_t size)
{
	struct tar_header header = {};
	strncpy(header.name, name, sizeof(header.name) - 1);
	strncpy(header.link, link, sizeof(header.link) - 1);
	snprintf(header.mode, sizeof(header.mode), "%07o", mode & 07777);
	snprintf(header.uid, sizeof(header.uid), "%07o", uid & 07777777);
	snprintf(header.gid, sizeof(header.gid), "%07o", uid & 07777777);
	snprintf(header.size, sizeof(header.size), "%011zo", size);
	snprintf(header.mtime, sizeof(header.mtime), "%011o", 1000000000U);
	header.type = type;
	memcpy(header.magic, "ustar", 6);
	memcpy(header.version, "00", 2);
	memset(header.checksum, ' ', sizeof(header.checksum));
	unsigned sum = 0;
	for (size_t i = 0; i < sizeof(header); i++)
		sum += ((const unsigned char *)&header)[i];
	snprintf(header.checksum, sizeof(header.checksum), "%06o", sum & 0777777);
	tar_write(fd, &header, sizeof(header));
}

static inline void tar_file(int fd, const char *name, const char *text, unsigned mode)
{
	tar_header_write(fd, '0', name, "", mode, 0, strlen(text));
	tar_write(fd, text, strlen(text));
	tar_pad(fd, strlen(text));
}

static inline void tar_entry(int fd, char type, const char *name, const char *link)
{
	tar_header_write(fd, type, name, link, 0755, 0, 0);
}

/* A pax header for the next entry: "LENGTH KEY=VALUE\n". */
static inline void tar_pax(int fd, const char *key, const void *value, size_t length)
{
	char record[1024];
	size_t total = strlen(key) + length + 3;
	for (size_t digits = 1; digits < 5; digits++) {
		char number[8];
		if ((size_t)snprintf(number, sizeof(number), "%zu", total + digits) == digits) {
			total += digits;
			break;
		}
	}
	int start = snprintf(record, sizeof(record), "%zu %s=", total, key);
	memcpy(record + start, value, length);
	record[(size_t)start + length] = '\n';
	tar_header_write(fd, 'x', "pax", "", 0644, 0, total);
	tar_write(fd, record, total);
	tar_pad(fd, total);
}

static inline void tar_end(int fd)
{
	static const char zeros[1024];
	tar_write(fd, zeros, sizeof(zeros));
	expect_equal(lseek(fd, 0, SEEK_SET), 0);
}

static char archives_home[64];

static inline int home_open(void)
{
	strcpy(archives_home, "/tmp/berth-test-job-XXXXXX");
	expect(mkdtemp(archives_home) != NULL);
	test_removes_at_end(archives_home);
	char path[80];
	snprintf(path, sizeof(path), "%s/root", archives_home);
	expect_equal(mkdir(path, 0755), 0);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	expect(fd >= 0);
	return fd;
}

static inline void home_remove(void)
{
	expect_equal(file_remove_tree(AT_FDCWD, archives_home), 0);
}
