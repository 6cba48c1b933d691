/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seal.h - runs on from a copy of our program that nobody can write to.
 *
 * A container without a user namespace is root of the host as far as files go: if it came by our
 * /proc/PID/exe it could overwrite the program on the host. What it then finds is a sealed memory file.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

/*
 * Executes the copy with the same arguments, environment and inherited descriptors; returns 0 if this
 * is the copy already. Call it before anything is opened or started.
 */
int seal_program(char **argv, struct error *e) must_use;
