/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec_helper.h - `berth-container exec` as berthd starts it: a program in an instance, and its terminal.
 */
#pragma once

int exec_helper_main(char **argv);
