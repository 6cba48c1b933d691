/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.h - berth-container as an OCI runtime: create, start, state, kill, delete and the others.
 */
#pragma once

#include <stdint.h>

int oci_main(int argc, char **argv);
