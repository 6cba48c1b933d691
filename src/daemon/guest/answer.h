/* SPDX-License-Identifier: Apache-2.0 */
/*
 * answer.h - what an instance is told of itself.
 */
#pragma once

#include "abi/guest.h"
#include "daemon/instance/instances.h"

/* The HTTP status; *ret is the body or NULL, which the caller owns, and whether it is JSON. */
uint32_t guest_answer(struct instance *instance, const struct guest_message *question, char **ret,
	bool *ret_is_json);

/*
 * What has changed for it since it expanded to `config` and `devices`: an array of events as they are told, in
 * their order. New reference.
 */
json_t *guest_events(const struct instance *instance, const json_t *config, const json_t *devices);
