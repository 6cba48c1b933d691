/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spec.h - the documents that `spec` and `features` print.
 */
#pragma once

extern const char oci_spec_text[];
extern const char oci_features_text[];
