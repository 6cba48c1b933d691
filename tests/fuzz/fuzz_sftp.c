/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_sftp.c - any bytes as what an SFTP client sends to a server whose root is an empty directory.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/file.h"
#include "files/sftp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[] = "/tmp/berth-fuzz-sftp-XXXXXX";
	if (size > 4096 || !mkdtemp(path))
		return 0;
	int pair[2];
	cleanup(close) int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0) {
		/* Answers that do not fit into the socket end the server, as a client that has gone. */
		(void)fcntl(pair[0], F_SETFL, O_NONBLOCK);
		(void)!file_write_all(pair[1], data, size);
		(void)shutdown(pair[1], SHUT_WR);
		(void)sftp_serve(pair[0], root);
		close(pair[0]);
		close(pair[1]);
	}
	(void)!file_remove_tree(AT_FDCWD, path);
	return 0;
}
