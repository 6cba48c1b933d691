/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtual_machine.h - the kind `virtual-machine`: a disk image that boots by itself.
 */
#pragma once

#include "kind/kind.h"

extern const struct kind kind_virtual_machine;
