/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tenant.h - the system that was put on the disk: its first settings written into it, and how it is started.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"
#include "base/text.h"

/* A file of the tenant's; what is above it is made. */
struct tenant_file {
	const char *path; /* "/var/lib/cloud/seed/nocloud/meta-data" */
	const char *data;
	size_t length;
	uint32_t mode;
	bool is_agents; /* written only where the system has our agent that calls */
};

/*
 * Mounts the disk's root file system, grows it to its partition where that is done in place (ext4), and
 * writes the files. -ENOENT if no partition holds a system.
 */
int tenant_write(
	const char *disk, const struct tenant_file *files, size_t count, struct error *e) must_use;

/* Whether it has that agent; looked at without changing a byte of the disk. */
bool tenant_has_agent(const char *disk);

/* Who loads the driver of a file system before it is tried; nobody without it. */
void tenant_set_loader(void (*load)(const char *name));

/* Which file system begins with these bytes: "ext4"; NULL: none that is known. */
const char *tenant_read_type(const uint8_t *bytes, size_t length);

/* What a boot loader's configuration would start. */
struct tenant_boot {
	char kernel[256], initrd[256]; /* paths on the file system of /boot; initrd may be "" */
	char arguments[1024];
};
/* grub.cfg, a BLS entry, extlinux.conf: the first entry. -ENOENT if there is none. */
int tenant_read_boot(const char *config, struct tenant_boot *ret) must_use;

/*
 * Loads the tenant's kernel for kexec; tenant_jump() jumps. *ret_ms is how long our kernel took to read and check it.
 * -EOPNOTSUPP if it can't be found or loaded.
 */
int tenant_load(const char *disk, uint64_t *ret_ms, struct error *e) must_use;
/* Does not return. */
void tenant_jump(void) __attribute__((__noreturn__));
