/* SPDX-License-Identifier: Apache-2.0 */
/*
 * oci.h - the JSON documents of an OCI image: index, manifest and configuration, checked. Pure.
 */
#pragma once

#include <jansson.h>

#include "base/base.h"
#include "base/error.h"
#include "job/digest.h"

#define OCI_DOCUMENT_MAX (4 * MIB)
#define OCI_LAYERS_MAX   128

/* A blob as somebody announced it; it is believed when its bytes agree. */
struct oci_blob {
	char digest[DIGEST_HEX_SIZE]; /* SHA-256, hex */
	uint64_t size;
};

struct oci_manifest {
	struct oci_blob config;
	struct oci_blob layers[OCI_LAYERS_MAX]; /* lowest first */
	size_t layer_count;
};

/*
 * The manifest that an index names: the one called `name` (NULL: any), for this machine's architecture, or
 * the only one. *ret_is_index: it is an index again.
 */
int oci_find_manifest(const char *json, size_t length, const char *name, struct oci_blob *ret,
	bool *ret_is_index, struct error *e) must_use;

/* Refuses a document that could be read in two ways. */
int oci_read_manifest(
	const char *json, size_t length, struct oci_manifest *ret, struct error *e) must_use;

/*
 * What instances get of the image's configuration:
 *   {"architecture": "x86_64", "created": "...", "diffs": [hex, lowest first],
 *    "config": {"oci.entrypoint": ..., "oci.cwd": ..., "oci.uid": ..., "environment.X": ...}, "volumes": [paths]}
 * There must be `layer_count` diffs. The caller owns *ret.
 */
int oci_read_config(const char *json, size_t length, size_t layer_count, json_t **ret,
	struct error *e) must_use;

/* "x86_64" of "amd64"; the name itself if it has no other. */
const char *oci_architecture(const char *name);
