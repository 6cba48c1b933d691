/* SPDX-License-Identifier: Apache-2.0 */
/*
 * frame.h - frames of abi/agent.h on a stream.
 */
#pragma once

#include "abi/agent.h"
#include "base/base.h"
#include "base/error.h"

struct frame {
	enum agent_type type;
	uint32_t bytes;
	uint8_t data[AGENT_FRAME_MAX + 1]; /* always with a NUL behind */
};

/* 1 and a frame, 0 at the end of the stream, -EPROTO for one that is none, or -errno. */
int frame_read(int fd, struct frame *ret) must_use;

/* Sends a frame of two parts; either may be NULL. */
int frame_write(int fd, enum agent_type type, const void *head, size_t head_bytes, const void *tail,
	size_t tail_bytes) must_use;

int frame_done(int fd) must_use;
/* ERROR with the sentence, or what the code means. */
int frame_error(int fd, int code, const char *text) must_use;
