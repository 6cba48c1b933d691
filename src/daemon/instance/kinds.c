/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kinds.c - the list of the kinds of instances.
 */
#include "daemon/instance/kinds.h"

#include <errno.h>

#include "base/text.h"
#include "kind/container.h"
#include "kind/metal.h"
#include "kind/microvm.h"
#include "kind/unikernel.h"
#include "kind/virtual_machine.h"

static const struct kind *const kinds[] = { &kind_container, &kind_virtual_machine, &kind_microvm,
	&kind_unikernel, &kind_metal };

int kinds_find(const char *type, const struct kind **ret, struct error *e)
{
	if (!type || !type[0])
		type = "container";
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!text_equal(kinds[i]->name, type))
			continue;
		*ret = kinds[i];
		return 0;
	}
	return error_set(e, -EINVAL,
		"type: \"%.80s\" is none of container, virtual-machine, microvm, unikernel, bare-metal",
		type);
}
