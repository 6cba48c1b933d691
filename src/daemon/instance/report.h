/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report.h - which system calls the program of a unikernel missed, by name.
 */
#pragma once

#include "base/text.h"
#include "daemon/instance/instances.h"

/* Adds `,"missed_calls":{"mremap":3}` to a state: of this run or the last one. Nothing if it missed none. */
void report_add(const struct instance *instance, struct text *text);
