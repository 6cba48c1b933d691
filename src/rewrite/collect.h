/* SPDX-License-Identifier: Apache-2.0 */
/*
 * collect.h - the programs and libraries of a tree, rewritten beside it.
 *
 * A unikernel can run every x86-64 program and library of its image; those with system calls in them cost
 * nanoseconds a call if they were rewritten. The tree itself stays as it is: /.berth holds the rewritten ones, and
 * /.berth/prepared says what they were: a name, a NUL, the absolute path, a NUL, and so on. "program" is the image's
 * program; its path is empty if it is not of the tree. A name with `p` is a program, which is run in the other's place; one
 * with `l` a library, which takes its place: who loads libraries reads and maps them like any file.
 * If the program is a script of the tree, its interpreter is "program", and /.berth/script has the interpreter, the word
 * after it (or none) and the script's path, each with its NUL.
 */
#pragma once

#include <sys/stat.h>

#include "base/base.h"
#include "base/error.h"

/*
 * Walks the tree at `root`, leaving /.berth out and following no link, and rewrites into the directory `own`. `program`
 * is an open file, of the tree or not: it becomes "program", or the reason why it cannot run becomes the error (-ENOEXEC). What
 * else cannot be read as a program is left alone.
 */
int collect_programs(int root, int own, int program, struct error *e) must_use;
