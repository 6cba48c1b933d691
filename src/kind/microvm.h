/* SPDX-License-Identifier: Apache-2.0 */
/*
 * microvm.h - the kind `microvm`: a container's image under a kernel of its own.
 */
#pragma once

#include "kind/kind.h"

extern const struct kind kind_microvm;
