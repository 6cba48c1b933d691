/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqlite.h - the embedded store: one SQLite file.
 */
#pragma once

#include "store/store.h"

/* Opens, or makes, `berth.db` in `dir`. -EPROTO if a newer berth wrote it. */
int sqlite_open(int dir, struct store **ret, struct error *e) must_use;
