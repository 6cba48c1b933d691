/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree.h - what the metadata service says of one instance, as a tree of files.
 *
 *	/latest/, /YYYY-MM-DD/          as EC2: meta-data/, user-data
 *	/nocloud/                       as cloud-init's NoCloud seed: meta-data, user-data, vendor-data, network-config
 *	/openstack/latest/              as OpenStack: meta_data.json, user_data, vendor_data.json
 *
 * Pure. A path is a guest's bytes.
 */
#pragma once

#include <jansson.h>

#include "base/base.h"

/*
 * The file at `path`, or the names in the directory, one a line; NULL if there is none. The caller owns it. `document`
 * is as in abi/metadata.h.
 */
char *tree_read(const json_t *document, const char *path) must_use;
