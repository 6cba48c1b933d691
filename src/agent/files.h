/* SPDX-License-Identifier: Apache-2.0 */
/*
 * files.h - files, directories and links of the guest, to and from the host.
 */
#pragma once

#include "agent/frame.h"

/* Each serves its connection to the end. */
void files_get(int fd, struct frame *frame);
void files_put(int fd, struct frame *frame);
void files_remove(int fd, struct frame *frame);
int files_sftp(int fd) must_use;
