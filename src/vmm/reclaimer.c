/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reclaimer.c - what there is to see at a look, and the balloon's part in it.
 */
#include "vmm/reclaimer.h"

#include <sys/stat.h>

#include "vmm/virtio/balloon.h"
#include "vmm/virtio/memory.h"

#define BLOCK_BYTES   512 /* of st_blocks */
#define FIRST_LOOK_NS UINT64_C(100000000)

static struct reclaim_view view_of(const struct assembly *assembly)
{
	struct machine *machine = assembly->machine;
	struct balloon_stats stats = balloon_stats(assembly->balloon);
	struct stat file;
	return (struct reclaim_view){
		.now_ns = loop_now(),
		.cpu_ns = vcpus_cpu_ns(machine->vcpus),
		.resident_bytes = fstat(machine->guest->memfd, &file) == 0
			? (uint64_t)file.st_blocks * BLOCK_BYTES
			: 0,
		.memory_bytes = assembly->plan.memory_bytes +
			(assembly->memory ? memory_plugged(assembly->memory) : 0),
		.held_bytes = stats.held_bytes,
		.hinted_bytes = stats.hinted_bytes,
		.can_hint = stats.can_hint,
		.is_hinting = stats.is_hinting,
		.free_bytes = stats.free_bytes,
		.total_bytes = stats.total_bytes,
		.answers = stats.answers,
	};
}

static void stop(struct reclaimer *reclaimer)
{
	reclaimer->is_looking = false;
	timer_stop(reclaimer->timer);
}

static void look(void *data)
{
	struct reclaimer *reclaimer = data;
	struct assembly *assembly = reclaimer->assembly;
	bus_guard(&assembly->machine->bus);
	if (assembly->machine->is_paused) {
		/* The pause has ended a take; when the guest goes on, its queues are rung. */
		reclaim_forget(&reclaimer->reclaim);
		stop(reclaimer);
		return;
	}
	const struct reclaim_view view = view_of(assembly);
	struct reclaim_step step = reclaim_look(&reclaimer->reclaim, &view);
	switch (step.action) {
	case RECLAIM_NOTHING:
		break;
	case RECLAIM_ASK:
		balloon_ask(assembly->balloon);
		break;
	case RECLAIM_TAKE:
		balloon_hints(assembly->balloon, true);
		break;
	case RECLAIM_END:
		balloon_hints(assembly->balloon, false);
		break;
	case RECLAIM_REST:
		stop(reclaimer);
		return;
	}
	timer_set_after(reclaimer->timer, step.after_ns);
}

void reclaimer_init(struct reclaimer *reclaimer, struct assembly *assembly, struct loop *loop)
{
	*reclaimer = (struct reclaimer){ .assembly = assembly };
	if (assembly->balloon)
		reclaimer->timer = loop_add_timer(loop, look, reclaimer);
}

void reclaimer_done(struct reclaimer *reclaimer)
{
	source_free(reclaimer->timer);
}

void reclaimer_wake(struct reclaimer *reclaimer)
{
	if (!reclaimer->timer || reclaimer->is_looking)
		return;
	reclaimer->is_looking = true;
	timer_set_after(reclaimer->timer, FIRST_LOOK_NS);
}
