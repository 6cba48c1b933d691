/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_build.h - a directory as the stream of a unified image: metadata.yaml and rootfs/, by tar(1).
 */
#pragma once

#include <sys/types.h>

#include "cli/options.h"
#include "http/client.h"

extern const struct option image_build_options[];

struct image_build {
	int fd;    /* the archive comes out of it */
	pid_t pid; /* of tar; 0 when it has ended */
	bool is_whole;
	char *directory; /* with metadata.yaml, removed at the end */
};

/* Whether --type asks for a unikernel; *ret_code tells of options that do not fit. */
bool image_build_is_unikernel(const struct options *options, struct error *e, int *ret_code);

int image_build_start(struct image_build *build, const char *root, const struct options *options,
	struct error *e) must_use;

/* The archive as the body of a request. */
struct client_source image_build_source(struct image_build *build);

/* Waits for tar and cleans up. Fails if it did. */
int image_build_finish(struct image_build *build, struct error *e) must_use;
