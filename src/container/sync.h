/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync.h - steps that a process and its child tell each other over a stream, while one is being set up.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

/* One byte to the other side; -EPIPE if it is gone. */
int sync_tell(int stream, char step) must_use;

/* Waits in the child for a step of the parent. */
int sync_wait(int stream, char step, struct error *e) must_use;

/* Waits in the parent: a step of the child; 0 at the end of the stream or of the child; -errno. */
int sync_wait_child(int stream, int pidfd) must_use;
