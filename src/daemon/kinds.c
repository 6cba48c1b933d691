/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kinds.c - the list of the kinds of instances.
 */
#include "daemon/kinds.h"

#include <errno.h>

#include "base/text.h"
#include "kind/container.h"
#include "kind/metal.h"
#include "kind/microvm.h"
#include "kind/unikernel.h"
#include "kind/virtual_machine.h"

static const struct {
	const char *name;
	const struct kind *kind; /* NULL: `why_not` */
	const char *why_not;
} kinds[] = {
	{ "container", &kind_container, NULL },
	{ "virtual-machine", &kind_virtual_machine, NULL },
	{ "microvm", &kind_microvm, NULL },
	{ "unikernel", &kind_unikernel, NULL },
	{ "bare-metal", &kind_metal, NULL },
};

int kinds_find(const char *type, const struct kind **ret, struct error *e)
{
	if (!type || !type[0])
		type = "container";
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!text_equal(kinds[i].name, type))
			continue;
		if (!kinds[i].kind)
			return error_set(e, -EINVAL, "type: %s", kinds[i].why_not);
		*ret = kinds[i].kind;
		return 0;
	}
	return error_set(e, -EINVAL,
		"type: \"%.80s\" is none of container, virtual-machine, microvm, unikernel, bare-metal",
		type);
}
