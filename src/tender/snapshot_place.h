/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot_place.h - where a unikernel that is kept lies, and what it meets again.
 */
#pragma once

#include "abi/snapshot.h"

#define SNAPSHOT_MEMORY_AT UINT64_C(0x200000000000)
#define SNAPSHOT_IMAGE_AT  UINT64_C(0x300000000000)
