/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image.h - makes an image that a unikernel starts from.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

/*
 * Rewrites `program`, puts it with its words into DIRECTORY/.berth and makes an erofs image of the directory
 * at `image` (mkfs.erofs). The words are arguments; those of the form NAME=VALUE before the first other one
 * are its environment; without any the program's path is its only argument. -ENOEXEC names what cannot run:
 * a program that is dynamic, for another machine, truncated or not at a fixed address.
 */
int image_build(const char *directory, const char *program, const char *image, char **words,
	uint32_t count, struct error *e) must_use;
