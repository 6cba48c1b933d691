/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keep.c - asks by an NMI, and waits for the guest's word; a guest that says none in time is left alone.
 *
 * The guest reads a port until it may go on, a moment only: with its word the machine is paused.
 */
#include "vmm/keep.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "abi/keep.h"
#include "abi/snapshot.h"

#define PATIENCE_NS \
	(20 * NS_PER_SEC) /* a bound: a call of its program may take as long as its disk */

static struct keep *keep_of(struct part *part)
{
	return container_of(part, struct keep, part);
}

static uint64_t port_read(void *data, uint64_t offset, uint32_t bytes)
{
	const struct keep *keep = data;
	(void)bytes;
	return offset == 0 ? (keep->is_wanted ? KEEP_WANTED : 0) : keep->place;
}

static void port_write(void *data, uint64_t offset, uint32_t bytes, uint64_t value)
{
	struct keep *keep = data;
	(void)bytes;
	if (offset != 0)
		return;
	/* A word that nobody waits for: it goes on at once. */
	keep->place = keep->is_wanted ? KEEP_STANDS : KEEP_HERE;
	if (!keep->is_wanted)
		return;
	keep->is_wanted = false;
	keep->has_answer = true;
	keep->answer = (uint8_t)value;
	loop_wake(keep->wake);
}

static const struct region_calls port_calls = { port_read, port_write };

static void finish(struct keep *keep, int code)
{
	keep_done *done = keep->done;
	timer_stop(keep->timer);
	keep->done = NULL;
	if (done)
		done(keep->data, code);
}

static void answered(void *data)
{
	struct keep *keep = data;
	bus_enter(keep->bus);
	bool has_answer = keep->has_answer;
	int code = -keep->answer;
	keep->has_answer = false;
	bus_leave(keep->bus);
	if (has_answer)
		finish(keep, code);
}

static void late(void *data)
{
	struct keep *keep = data;
	bus_enter(keep->bus);
	keep->is_wanted = keep->has_answer = false;
	keep->place = KEEP_HERE;
	bus_leave(keep->bus);
	finish(keep, -ETIMEDOUT);
}

static void reset(struct part *part)
{
	struct keep *keep = keep_of(part);
	keep->is_wanted = keep->has_answer = false;
	keep->place = KEEP_HERE;
}

static void set_paused(struct part *part, bool is_paused)
{
	(void)part;
	(void)is_paused;
}

static void save(const struct part *part, struct state *state)
{
	(void)part;
	state_put(state, "keep", 1, NULL, 0);
}

static int load(struct part *part, const struct state *state, struct error *e)
{
	keep_of(part)->place = KEEP_ELSEWHERE;
	return state_get(state, "keep", 1, NULL, 0, e);
}

static void keep_free(struct part *part)
{
	struct keep *keep = keep_of(part);
	bus_remove(keep->bus, BUS_PORTS, &keep->ports);
	source_free(keep->wake);
	source_free(keep->timer);
	free(keep);
}

static const struct part_driver driver = { reset, set_paused, save, load, keep_free };

int keep_new(struct bus *bus, struct cpus *cpus, struct loop *loop, uint16_t port,
	struct keep **ret, struct error *e)
{
	struct keep *keep = alloc(struct keep);
	*keep = (struct keep){ .part = { &driver },
		.bus = bus,
		.cpus = cpus,
		.ports = { &port_calls, keep, port, KEEP_PORTS },
		.place = KEEP_HERE };
	int r = bus_add(bus, BUS_PORTS, &keep->ports);
	if (r < 0) {
		free(keep);
		return error_code(e, r, "keep_port 0x%x", port);
	}
	r = loop_add_wake(loop, answered, keep, &keep->wake);
	if (r < 0) {
		keep_free(&keep->part);
		return error_code(e, r, "watch the guest's word");
	}
	keep->timer = loop_add_timer(loop, late, keep);
	*ret = keep;
	return 0;
}

int keep_ask(struct keep *keep, keep_done *done, void *data)
{
	if (keep->done)
		return -EBUSY;
	keep->done = done;
	keep->data = data;
	timer_set_after(keep->timer, PATIENCE_NS);
	bus_enter(keep->bus);
	keep->is_wanted = true;
	bus_leave(keep->bus);
	keep->cpus->engine->nmi(keep->cpus, 0);
	return 0;
}

void keep_here(struct keep *keep)
{
	bus_guard(keep->bus);
	keep->place = KEEP_HERE;
}

static int look_at(const struct image *image, struct snapshot_place *ret, struct error *e)
{
	struct stat status;
	if (fstat(image->fd, &status) < 0)
		return error_errno(e, "%s", image->name);
	*ret = (struct snapshot_place){
		.image_bytes = image->bytes,
		.image_time = (uint64_t)status.st_mtim.tv_sec * NS_PER_SEC +
			(uint64_t)status.st_mtim.tv_nsec,
	};
	return 0;
}

int keep_write_head(int fd, const struct image *image, uint64_t memory_bytes, struct error *e)
{
	struct snapshot_head head = {
		.magic = SNAPSHOT_MAGIC,
		.version = SNAPSHOT_VERSION,
		.data_at = KEEP_DATA_AT,
		.memory_at = KEEP_DATA_AT,
		.engine = SNAPSHOT_SOFT,
	};
	int r = look_at(image, &head.place, e);
	head.place.memory_bytes = memory_bytes;
	if (r == 0 && pwrite(fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head))
		r = error_errno(e, "write the head of the state");
	if (r == 0 && fdatasync(fd) < 0)
		r = error_errno(e, "write the head of the state");
	return r;
}

int keep_read_head(int fd, const struct image *image, struct error *e)
{
	struct snapshot_head head;
	struct snapshot_place now;
	int r = look_at(image, &now, e);
	if (r < 0)
		return r;
	if (pread(fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head) ||
		head.magic != SNAPSHOT_MAGIC || head.version != SNAPSHOT_VERSION ||
		head.engine != SNAPSHOT_SOFT || head.data_at != KEEP_DATA_AT)
		return error_set(e, -EINVAL, "saved state: it is none of a unikernel under soft");
	if (head.place.image_bytes != now.image_bytes || head.place.image_time != now.image_time)
		return error_set(e, -EINVAL, "saved state: it was made with another image");
	return lseek(fd, KEEP_DATA_AT, SEEK_SET) < 0 ? error_errno(e, "seek") : 0;
}
