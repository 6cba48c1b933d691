/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request.h - POST /1.0/images: what a client wants an image to be made of.
 */
#pragma once

#include "daemon/api.h"

int create_image(struct service *service, struct request *request, struct error *e) must_use;

/* Reads "aliases": [{"name", "description"}]; *ret is a new array. */
int image_read_aliases(const json_t *body, json_t **ret, struct error *e) must_use;

/* 1 to 255 bytes of letters, digits and -_.:/@+ ; -EINVAL with the field's name. */
int image_check_alias(const char *field, const char *name, struct error *e) must_use;
