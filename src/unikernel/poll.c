/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poll.c - waiting for several files: poll and select.
 */
#include "unikernel/poll.h"

#include "unikernel/descriptors.h"
#include "unikernel/heap.h"

struct watch {
	struct wait_entry entry;
	struct thread *thread;
	struct file *file;
};

static void wake(struct wait_entry *entry)
{
	thread_ready(((struct watch *)entry)->thread);
}

static int64_t look(struct pollfd *list, uint64_t count)
{
	int64_t found = 0;
	for (uint64_t i = 0; i < count; i++) {
		list[i].revents = 0;
		if (list[i].fd < 0)
			continue;
		struct file *file = descriptor_file((uint64_t)list[i].fd);
		uint32_t events = file ? file->operations->poll(file) : POLLNVAL;
		uint32_t asked = (uint32_t)(uint16_t)list[i].events | POLLERR | POLLHUP | POLLNVAL;
		list[i].revents = (short)(events & asked);
		found += list[i].revents != 0;
	}
	return found;
}

int64_t poll_wait(struct pollfd *list, uint64_t count, uint64_t deadline_ns)
{
	if (count > DESCRIPTORS_MAX)
		return -EINVAL;
	int64_t found = look(list, count);
	if (found) {
		thread_look_at_times();
		return found;
	}
	if (deadline_ns == 0) {
		thread_look();
		return look(list, count);
	}
	struct watch *watches = heap_alloc((count + 1) * sizeof(*watches));
	if (!watches)
		return -ENOMEM;
	for (uint64_t i = 0; i < count; i++) {
		struct file *file = list[i].fd < 0 ? NULL : descriptor_file((uint64_t)list[i].fd);
		watches[i] = (struct watch){ { NULL, NULL, wake }, current_thread, file };
		if (file) {
			file_hold(file);
			wait_add(file->queue, &watches[i].entry);
		}
	}
	int r = 0;
	while (found == 0 && r == 0) {
		r = thread_wait(deadline_ns);
		found = look(list, count);
	}
	for (uint64_t i = 0; i < count; i++) {
		wait_remove(&watches[i].entry);
		if (watches[i].file)
			file_drop(watches[i].file);
	}
	heap_free(watches);
	return found ? found : r == -ETIMEDOUT ? 0 : r;
}

static bool has_bit(const uint64_t *set, uint64_t number)
{
	return set && (set[number / 64] >> (number % 64) & 1);
}

static int64_t give_bits(uint64_t *set, uint64_t number, bool is_set)
{
	if (!set)
		return 0;
	set[number / 64] |= (uint64_t)is_set << (number % 64);
	return is_set;
}

int64_t poll_select(
	uint64_t count, uint64_t *in, uint64_t *out, uint64_t *except, uint64_t deadline_ns)
{
	if (count > DESCRIPTORS_MAX)
		return -EINVAL;
	struct pollfd *list = heap_alloc((count + 1) * sizeof(*list));
	uint64_t used = 0;
	int64_t found = 0;
	if (!list)
		return -ENOMEM;
	for (uint64_t i = 0; i < count && found == 0; i++) {
		uint32_t events = (has_bit(in, i) ? POLLIN : 0u) |
			(has_bit(out, i) ? POLLOUT : 0u) | (has_bit(except, i) ? POLLPRI : 0u);
		if (!events)
			continue;
		if (!descriptor_file(i))
			found = -EBADF;
		list[used++] = (struct pollfd){ .fd = (int)i, .events = (short)events };
	}
	if (found == 0)
		found = poll_wait(list, used, deadline_ns);
	if (found >= 0) {
		uint64_t words = (count + 63) / 64 * sizeof(uint64_t);
		uint64_t *const sets[] = { in, out, except };
		for (size_t i = 0; i < COUNT(sets); i++)
			if (sets[i])
				memset(sets[i], 0, words);
		found = 0;
		for (uint64_t i = 0; i < used; i++) {
			uint64_t number = (uint64_t)list[i].fd;
			uint32_t asked = (uint32_t)list[i].events, got = (uint32_t)list[i].revents;
			if (asked & POLLIN)
				found += give_bits(
					in, number, (got & (POLLIN | POLLHUP | POLLERR)) != 0);
			if (asked & POLLOUT)
				found += give_bits(out, number, (got & (POLLOUT | POLLERR)) != 0);
			if (asked & POLLPRI)
				found += give_bits(except, number, (got & POLLPRI) != 0);
		}
	}
	heap_free(list);
	return found;
}
