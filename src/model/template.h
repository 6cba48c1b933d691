/* SPDX-License-Identifier: Apache-2.0 */
/*
 * template.h - the templates of images: the part of the language of LXD's that images use.
 *
 *	{{ container.name }}  {{ config_get("user.x", "default") }}  {{ properties["a"]|default:"b"|lower }}
 *	{% if config_get("user.x", "") == "" and not container.ephemeral %} ... {% elif ... %} ... {% else %} ...
 *	{% endif %}  {% autoescape off %} ... {% endautoescape %}  {# nothing #}  {%- no space around -%}
 *
 * What is not known is refused by its name and line.
 */
#pragma once

#include <jansson.h>

#include "base/base.h"
#include "base/error.h"

#define TEMPLATE_BYTES_MAX (64 * KIB) /* of one, and of what it becomes */

/*
 * Fills in `text` from `context`, an object: {"config": {...}, "container": {"name": ...}, ...}. The caller
 * owns *ret. -EINVAL with the line.
 */
int template_render(const char *text, const json_t *context, char **ret, struct error *e) must_use;

/* Whether it could be filled in at all: each of its parts is looked at. */
int template_check(const char *text, struct error *e) must_use;
