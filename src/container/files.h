/* SPDX-License-Identifier: Apache-2.0 */
/*
 * files.h - `berth-container files`: serves the files of one instance (see abi/files.h).
 */
#pragma once

int files_main(char **argv);
