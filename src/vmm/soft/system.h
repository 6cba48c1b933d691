/* SPDX-License-Identifier: Apache-2.0 */
/*
 * system.h - control and debug registers, descriptor tables, system calls, CPUID, HLT and the like.
 */
#pragma once

#include "vmm/soft/bind.h"

op_bind system_bind;
op_bind syscall_bind;
