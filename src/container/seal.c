/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seal.c - memfd_create(2) and F_SEAL_WRITE.
 */
#include "container/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/file.h"

#define SEALS         (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
#define INHERITED_MAX 64

#ifndef MFD_EXEC
#define MFD_EXEC 0x10U
#endif

int seal_program(char **argv, struct error *e)
{
	cleanup(close) int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (self < 0)
		return error_errno(e, "open our own program");
	int seals = fcntl(self, F_GET_SEALS);
	if (seals >= 0 && (seals & SEALS) == SEALS)
		return 0;
	int copy = memfd_create("berth-container", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
	if (copy < 0 && errno == EINVAL)
		copy = memfd_create("berth-container", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (copy < 0)
		return error_errno(e, "make a copy of our own program");
	int r = file_copy(self, copy);
	if (r < 0)
		return error_code(e, r, "copy our own program");
	if (fcntl(copy, F_ADD_SEALS, SEALS) < 0)
		return error_errno(e, "seal the copy of our own program");
	/* process_named_fd() may have closed these on exec; who finds them sets it again. */
	for (int fd = 3; fd < INHERITED_MAX; fd++)
		if (fd != self && fd != copy)
			(void)fcntl(fd, F_SETFD, 0);
	syscall(SYS_execveat, copy, "", argv, environ, AT_EMPTY_PATH);
	return error_errno(e, "execute the copy of our own program");
}
