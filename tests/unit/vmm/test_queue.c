/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "test.h"
#include "vmm/virtio/queue.h"

#define MEMORY    (1 * MIB)
#define DESC_AT   0x1000
#define DRIVER_AT 0x2000
#define DEVICE_AT 0x3000
#define TABLE_AT  0x4000
#define DATA_AT   0x8000
#define SIZE      8

static struct guest *guest;
static struct queue queue;
static struct chain chain;

static void set_up(bool is_packed, bool has_event_index)
{
	struct error e = {};
	guest_free(guest);
	guest = NULL;
	expect(guest_new(&guest, &e) == 0);
	expect(guest_add(guest, 0, MEMORY, GUEST_RAM, &e) == 0);
	queue_init(&queue, guest, 256);
	queue.size = SIZE;
	queue.desc_at = DESC_AT;
	queue.driver_at = DRIVER_AT;
	queue.device_at = DEVICE_AT;
	expect_equal(queue_start(&queue, is_packed, has_event_index), 0);
}

static void put(uint64_t at, const void *data, size_t bytes)
{
	expect(guest_write(guest, at, data, bytes) == 0);
}

static void put16(uint64_t at, uint16_t value)
{
	put(at, &value, sizeof(value));
}

static uint16_t get16(uint64_t at)
{
	uint16_t value;
	expect(guest_read(guest, at, &value, sizeof(value)) == 0);
	return value;
}

static void put_desc(
	uint64_t table, uint16_t index, uint64_t at, uint32_t bytes, uint16_t flags, uint16_t next)
{
	const struct virtio_desc desc = { at, bytes, flags, next };
	put(table + index * sizeof(desc), &desc, sizeof(desc));
}

static void offer(uint16_t head, uint16_t index)
{
	put16(DRIVER_AT + 4 + 2ull * ((index - 1u) % SIZE), head);
	put16(DRIVER_AT + 2, index);
}

static void pops_what_is_offered(void)
{
	char text[16] = {};
	set_up(false, false);
	expect_equal(queue_pop(&queue, &chain), 0);
	put(DATA_AT, "hello", 5);
	put_desc(DESC_AT, 2, DATA_AT, 5, VIRTIO_DESC_NEXT, 6);
	put_desc(DESC_AT, 6, DATA_AT + 100, 50, VIRTIO_DESC_WRITE, 0);
	offer(2, 1);
	expect_equal(queue_pop(&queue, &chain), 1);
	expect_equal(chain.reads, 1);
	expect_equal(chain.writes, 1);
	expect_equal(chain.read_bytes, 5);
	expect_equal(chain.write_bytes, 50);
	expect_equal(chain_read(&chain, 1, text, sizeof(text)), 4);
	expect_text(text, "ello");
	expect_equal(chain_write(&chain, 48, "abc", 3), 2);
	queue_push(&queue, &chain, 50);
	expect_equal(get16(DEVICE_AT + 2), 1);
	expect_equal(get16(DEVICE_AT + 4), 2);
	expect_equal(get16(DEVICE_AT + 8), 50);
	expect(queue_wants_interrupt(&queue));
	expect(!queue_wants_interrupt(&queue));
	expect_equal(queue_pop(&queue, &chain), 0);
}

static void follows_an_indirect_table(void)
{
	set_up(false, false);
	put_desc(TABLE_AT, 0, DATA_AT, 8, VIRTIO_DESC_NEXT, 2);
	put_desc(TABLE_AT, 2, DATA_AT + 8, 8, VIRTIO_DESC_WRITE, 0);
	put_desc(DESC_AT, 0, TABLE_AT, 3 * 16, VIRTIO_DESC_INDIRECT, 0);
	offer(0, 1);
	expect_equal(queue_pop(&queue, &chain), 1);
	expect_equal(chain.reads, 1);
	expect_equal(chain.writes, 1);
	put_desc(TABLE_AT, 2, TABLE_AT, 16, VIRTIO_DESC_INDIRECT, 0);
	offer(0, 2);
	expect_equal(queue_pop(&queue, &chain), -EPROTO);
}

static void expect_broken(uint16_t head, uint16_t index)
{
	offer(head, index);
	expect_equal(queue_pop(&queue, &chain), -EPROTO);
	expect_equal(queue_pop(&queue, &chain), -EPROTO);
	expect(!queue_arm(&queue));
}

static void breaks_on_bad_rings(void)
{
	set_up(false, false);
	expect_broken(SIZE, 1); /* a head outside */
	set_up(false, false);
	expect_broken(0, SIZE + 1); /* more than the ring holds */
	set_up(false, false);
	put_desc(DESC_AT, 0, DATA_AT, 4, VIRTIO_DESC_NEXT, 0);
	expect_broken(0, 1); /* a loop */
	set_up(false, false);
	put_desc(DESC_AT, 0, DATA_AT, 4, VIRTIO_DESC_NEXT, SIZE);
	expect_broken(0, 1); /* a next outside */
	set_up(false, false);
	put_desc(DESC_AT, 0, MEMORY - 2, 4, 0, 0);
	expect_broken(0, 1); /* a buffer outside */
	set_up(false, false);
	put_desc(DESC_AT, 0, UINT64_MAX - 1, 4, 0, 0);
	expect_broken(0, 1); /* a buffer that wraps */
	set_up(false, false);
	put_desc(DESC_AT, 0, DATA_AT, 4, VIRTIO_DESC_WRITE | VIRTIO_DESC_NEXT, 1);
	put_desc(DESC_AT, 1, DATA_AT, 4, 0, 0);
	expect_broken(0, 1); /* readable after writable */
	set_up(false, false);
	put_desc(DESC_AT, 0, TABLE_AT, 17, VIRTIO_DESC_INDIRECT, 0);
	expect_broken(0, 1); /* no whole table */
}

static void refuses_bad_addresses(void)
{
	set_up(false, false);
	queue_reset(&queue);
	queue.size = SIZE;
	queue.desc_at = MEMORY - 16;
	queue.driver_at = DRIVER_AT;
	queue.device_at = DEVICE_AT;
	expect_equal(queue_start(&queue, false, false), -EINVAL);
	queue.desc_at = DESC_AT;
	queue.size = 6; /* no power of two */
	expect_equal(queue_start(&queue, false, false), -EINVAL);
	queue.size = 512; /* more than the device has */
	expect_equal(queue_start(&queue, false, false), -EINVAL);
	queue.size = 0;
	expect_equal(queue_start(&queue, true, false), -EINVAL);
	expect_equal(queue_pop(&queue, &chain), -EPROTO);
}

static void event_index_saves_interrupts(void)
{
	set_up(false, true);
	put16(DRIVER_AT + 4 + 2 * SIZE, 1); /* used_event: interrupt with the second */
	for (uint16_t i = 1; i <= 3; i++) {
		put_desc(DESC_AT, 0, DATA_AT, 4, 0, 0);
		offer(0, i);
		expect_equal(queue_pop(&queue, &chain), 1);
		queue_push(&queue, &chain, 0);
		expect_equal(queue_wants_interrupt(&queue), i == 2);
	}
	expect(!queue_arm(&queue));
	expect_equal(get16(DEVICE_AT + 4 + 8 * SIZE), 3); /* avail_event */
	offer(0, 4);
	expect(queue_arm(&queue));
}

static void packed_wraps_around(void)
{
	set_up(true, false);
	uint16_t index = 0;
	bool wrap = true;
	for (uint16_t i = 0; i < 20; i++) {
		uint16_t flags = wrap ? VIRTIO_DESC_AVAIL : VIRTIO_DESC_USED;
		uint16_t next = index + 1 < SIZE ? index + 1 : 0;
		bool next_wrap = next ? wrap : !wrap;
		uint16_t next_flags = next_wrap ? VIRTIO_DESC_AVAIL : VIRTIO_DESC_USED;
		struct virtio_packed_desc second = { DATA_AT + 64, 32, i,
			(uint16_t)(next_flags | VIRTIO_DESC_WRITE) };
		struct virtio_packed_desc first = { DATA_AT, 16, 999,
			(uint16_t)(flags | VIRTIO_DESC_NEXT) };
		put(DESC_AT + next * 16ull, &second, sizeof(second));
		put(DESC_AT + index * 16ull, &first, sizeof(first));
		expect_equal(queue_pop(&queue, &chain), 1);
		expect_equal(chain.id, i);
		expect_equal(chain.descriptors, 2);
		queue_unpop(&queue, &chain);
		expect_equal(queue_pop(&queue, &chain), 1);
		expect_equal(chain.id, i);
		queue_push(&queue, &chain, 7);
		struct virtio_packed_desc used;
		expect(guest_read(guest, DESC_AT + index * 16ull, &used, sizeof(used)) == 0);
		expect_equal(used.id, i);
		expect_equal(used.bytes, 7);
		expect_equal((used.flags & VIRTIO_DESC_USED) != 0, wrap);
		expect_equal((used.flags & VIRTIO_DESC_AVAIL) != 0, wrap);
		expect(queue_wants_interrupt(&queue));
		index = next + 1 < SIZE ? next + 1 : 0;
		wrap = index > next ? next_wrap : !next_wrap;
		expect_equal(queue_pop(&queue, &chain), 0);
	}
}

static void packed_follows_an_indirect_table(void)
{
	set_up(true, false);
	const struct virtio_packed_desc table[] = {
		{ DATA_AT, 16, 77, 0 },
		{ DATA_AT + 64, 512, 0, VIRTIO_DESC_WRITE },
		{ DATA_AT + 1024, 1, 0, VIRTIO_DESC_WRITE },
	};
	const struct virtio_packed_desc head = { TABLE_AT, sizeof(table), 5,
		VIRTIO_DESC_AVAIL | VIRTIO_DESC_INDIRECT };
	put(TABLE_AT, table, sizeof(table));
	put(DESC_AT, &head, sizeof(head));
	expect_equal(queue_pop(&queue, &chain), 1);
	expect_equal(chain.id, 5);
	expect_equal(chain.descriptors, 1);
	expect_equal(chain.reads, 1);
	expect_equal(chain.writes, 2);
	expect_equal(chain.write_bytes, 513);
}

static void saves_and_loads(void)
{
	cleanup(state_done) struct state state = {};
	struct error e = {};
	struct queue other;
	set_up(false, true);
	put_desc(DESC_AT, 0, DATA_AT, 4, 0, 0);
	offer(0, 1);
	expect_equal(queue_pop(&queue, &chain), 1);
	queue_save(&queue, &state, "queue");
	queue_init(&other, guest, 256);
	expect_equal(queue_load(&other, &state, "queue", &e), 0);
	expect_equal(other.next_avail, 1);
	expect(other.has_event_index && other.is_ready);
	queue_init(&other, guest, 4);
	expect_equal(queue_load(&other, &state, "queue", &e), -EINVAL);
}

static const struct test tests[] = {
	{ "a chain is popped, read, written and given back", pops_what_is_offered },
	{ "an indirect table is followed once, not twice", follows_an_indirect_table },
	{ "a ring that breaks the rules stays broken", breaks_on_bad_rings },
	{ "rings outside of memory and odd sizes are refused", refuses_bad_addresses },
	{ "the event index says when to interrupt and when to kick", event_index_saves_interrupts },
	{ "a packed ring wraps around many times, and a chain can be put back",
		packed_wraps_around },
	{ "an indirect table of a packed ring is a plain sequence",
		packed_follows_an_indirect_table },
	{ "a queue's state is saved and loaded, and checked", saves_and_loads },
};
TEST_MAIN(tests)
