/* SPDX-License-Identifier: Apache-2.0 */
/*
 * firewall_rules.h - the rules of the two tables that firewall.c loads, in nft's language: what stands in
 * `table FAMILY NAME {...}`.
 */
#pragma once

/* Of the metadata service. */
#define FIREWALL_METADATA_ADDRESS "169.254.169.254"

extern const char firewall_rules_inet[];
extern const char firewall_rules_bridge[];
