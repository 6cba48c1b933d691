/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume_request.h - what the handlers of custom volumes share.
 */
#pragma once

#include "daemon/api.h"
#include "daemon/storage/storage.h"

/* POST: an empty volume, or a copy. */
int create_volume(struct service *service, struct request *request, struct error *e) must_use;

/* Changes the size, stores `record` (taken over) when that worked, and answers. */
int volume_change_size(struct service *service, struct request *request,
	const struct volume_ref *ref, json_t *record, uint64_t size_bytes,
	struct error *e) must_use;

/* The volume that the path of the request names, and its record (borrowed). */
int volume_of_request(struct service *service, const struct request *request, bool must_be_custom,
	struct volume_ref *ret, json_t **ret_record, struct error *e) must_use;

/* Keys of a volume's config: size, user.*, security.shifted, ...; -EINVAL with the key. */
int volume_check_config(const json_t *config, uint64_t *ret_size, struct error *e) must_use;

/* "filesystem" or "block". */
const char *volume_content(const json_t *record);

/* The config with the size that holds. New reference. */
json_t *volume_config_shown(const json_t *record);

void volume_tell(struct service *service, const char *action, const struct volume_ref *ref);
