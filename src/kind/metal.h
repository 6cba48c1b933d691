/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metal.h - the kind `bare-metal`: a whole server.
 */
#pragma once

#include "kind/kind.h"

extern const struct kind kind_metal;
