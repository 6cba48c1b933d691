/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec.h - `berth-tender exec`: a program of the image beside a running unikernel; see abi/runner.h.
 */
#pragma once

/* Its exit status. */
int exec_main(void);

/* `berth-tender files`: the files of an instance that runs or not; see abi/files.h. */
int files_main(void);
