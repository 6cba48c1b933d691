/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sftp.h - an SFTP server (version 3, draft-ietf-secsh-filexfer-02) on a stream, inside one root.
 */
#pragma once

/* Serves until the stream ends: 0; -EPROTO for what is no SFTP; or -errno. Blocks. */
int sftp_serve(int stream, int root);
