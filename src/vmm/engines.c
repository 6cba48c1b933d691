/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engines.c - kvm where it is hardware, soft everywhere else.
 *
 * That /dev/kvm exists says nothing: on some hosts it interprets ring 0, a thousand times slower than
 * hardware and slower than soft. So a short loop is timed.
 */
#include "vmm/engines.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/cpu/kvm.h"
#include "vmm/soft/soft.h"

/* Interpreters run a million instructions a second, hardware a billion. */
#define SPEED_MIN UINT64_C(50000000)

static const struct engine *const engines[] = { &kvm_engine, &soft_interpreter_engine,
	&soft_lockstep_engine, &soft_mapped_engine, &soft_translator_engine, &soft_engine };

static int choose_by_measuring(
	const struct engine **ret, char reason[ENGINE_REASON_SIZE], struct error *e)
{
	struct error why = {};
	uint64_t speed = 0;
	int r = kvm_measure(&speed, &why);
	if (r == 0 && speed >= SPEED_MIN) {
		snprintf(reason, ENGINE_REASON_SIZE, "kvm ran ring 0 at %ju instructions a second",
			(uintmax_t)speed);
		*ret = &kvm_engine;
		return 0;
	}
	if (r == 0)
		snprintf(reason, ENGINE_REASON_SIZE,
			"kvm ran ring 0 at only %ju instructions a second", (uintmax_t)speed);
	else
		snprintf(reason, ENGINE_REASON_SIZE, "no kvm: %.180s", why.text);
	const struct engine *last = engines[ARRAY_SIZE(engines) - 1];
	r = last->probe(e);
	if (r == 0)
		*ret = last;
	return r;
}

int engine_choose(const char *name, const struct engine **ret, char reason[ENGINE_REASON_SIZE],
	struct error *e)
{
	if (strcmp(name, "auto") == 0)
		return choose_by_measuring(ret, reason, e);
	for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
		if (strcmp(engines[i]->name, name) != 0)
			continue;
		/* Whether it works here its open() says. */
		snprintf(reason, ENGINE_REASON_SIZE, "it was asked for");
		*ret = engines[i];
		return 0;
	}
	return error_set(e, -EINVAL, "engine: \"%s\" is neither auto, kvm nor soft", name);
}
