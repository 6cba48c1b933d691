/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plug.h - the network card of an instance: its tap on the host, its addresses inside.
 */
#pragma once

#include "tender/card.h"
#include "tender/plan.h"

/* Makes the tap of the plan, which goes with its descriptor; no card if the plan has none. */
int plug_card(const struct tender_plan *plan, struct card *ret, struct error *e) must_use;
