/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pages.c - page tables.
 *
 * Theory of operation. Memory stands at MACHINE_BASE one to one, in pages of 2 MiB that become pages of 4 KiB where rights
 * or content differ. So each page of the library OS's region has a frame of its own that never changes; while it shows
 * the image its entry points there instead, and the first write copies it into its own frame. A program that is linked to
 * an address lies below; the frames of its pages come from the region. What the processor notes as written (DIRTY) is what
 * has to be cleared when it is given back. Tables come from a reserve that is large enough for all of the region.
 */
#include "unikernel/machine/pages.h"

#include "unikernel/machine/gate.h"

#define PRESENT  UINT64_C(0x001)
#define WRITABLE UINT64_C(0x002)
#define FOR_ALL  UINT64_C(0x004)
#define UNCACHED UINT64_C(0x018)
#define DIRTY    UINT64_C(0x040)
#define BIG      UINT64_C(0x080)
/* For us: it shows the image; it may be written to; its own frame was. */
#define SHOWS     UINT64_C(0x200)
#define MAY_WRITE UINT64_C(0x400)
#define WAS_DIRTY UINT64_C(0x800)
#define NO_CODE   (UINT64_C(1) << 63)
#define FRAME     UINT64_C(0x000ffffffffff000)
#define OPEN      (PRESENT | WRITABLE | FOR_ALL)

#define BIG_PAGE    (UINT64_C(1) << 21)
#define GIGABYTE    (UINT64_C(1) << 30)
#define DEVICES     UINT64_C(0xc0000000)
#define DEVICES_END (UINT64_C(1) << 32)
#define KERNEL_END  (2 * BIG_PAGE) /* the library OS ends before it: link.ld */
#define SEEN_END    (MACHINE_BASE + (UINT64_C(1) << 39))
#define AREAS_MOST  1024u    /* a program's segments, and chunks of what it reserved (wide.c) */
#define WINDOWS     SEEN_END /* of devices that were asked for */
#define WINDOWS_END (WINDOWS + (UINT64_C(8) << 20))
#define SPARE       24 /* tables for windows, and for programs that are linked to an address */

extern uint64_t machine_pages[512];
extern char machine_image[], machine_constants[], machine_data[];

/* Pages below MACHINE_BASE and where their frames are. */
struct area {
	uint64_t start, bytes, frames;
};
static struct area areas[AREAS_MOST];
static uint32_t area_count;
static uint64_t tables, tables_end;
static struct pages_range image;

static uint64_t new_table(void)
{
	if (tables == tables_end)
		return 0;
	uint64_t table = tables;
	tables += KERNEL_PAGE;
	memset(pages_see(table), 0, KERNEL_PAGE);
	return table;
}

/* The entry of the last level that there is for the address; NULL: there is none. */
static uint64_t *find(uint64_t address)
{
	uint64_t *table = machine_pages;
	for (int shift = 39; shift > 12; shift -= 9) {
		uint64_t *entry = &table[address >> shift & 511];
		if (!*entry)
			return NULL;
		if (*entry & BIG)
			return entry;
		table = pages_see(*entry & FRAME);
	}
	return &table[address >> 12 & 511];
}

static void split(uint64_t *entry, uint64_t table)
{
	uint64_t *small = pages_see(table);
	for (uint64_t i = 0; i < 512; i++)
		small[i] = (*entry & ~BIG) + i * KERNEL_PAGE;
	*entry = table | OPEN;
}

/* The entry of a page of 4 KiB; NULL if that takes a table and there is none. */
static uint64_t *find_small(uint64_t address)
{
	uint64_t *table = machine_pages;
	for (int shift = 39; shift > 12; shift -= 9) {
		uint64_t *entry = &table[address >> shift & 511];
		if (!*entry || (*entry & BIG)) {
			uint64_t fresh = new_table();
			if (!fresh)
				return NULL;
			if (*entry)
				split(entry, fresh);
			else
				*entry = fresh | OPEN;
		}
		table = pages_see(*entry & FRAME);
	}
	return &table[address >> 12 & 511];
}

static uint64_t own_frame(uint64_t address)
{
	if (address >= MACHINE_BASE)
		return address - MACHINE_BASE;
	for (uint32_t i = 0; i < area_count; i++)
		if (address - areas[i].start < areas[i].bytes)
			return areas[i].frames + (address - areas[i].start);
	return 0;
}

static uint64_t bits_of(int rights)
{
	return FOR_ALL | (rights ? PRESENT : 0) | (rights & PLATFORM_EXECUTE ? 0 : NO_CODE);
}

/* The entry for a page of its own, or for one that shows the image. */
static uint64_t own_entry(uint64_t frame, int rights)
{
	return frame | bits_of(rights) |
		(rights & PLATFORM_WRITE ? WRITABLE | MAY_WRITE : UINT64_C(0));
}

static uint64_t image_entry(uint64_t frame, int rights)
{
	return frame | bits_of(rights) | SHOWS |
		(rights & PLATFORM_WRITE ? MAY_WRITE : UINT64_C(0));
}

static uint64_t dirty_of(uint64_t entry)
{
	return entry & SHOWS ? entry & WAS_DIRTY : entry & (DIRTY | WAS_DIRTY) ? WAS_DIRTY : 0;
}

static void map_memory(uint64_t end)
{
	uint64_t *gigabytes = pages_see(machine_pages[MACHINE_BASE >> 39 & 511] & FRAME);
	for (uint64_t start = 0; start < end || start < DEVICES_END; start += GIGABYTE) {
		uint64_t *entry = &gigabytes[start >> 30];
		bool is_device = start == DEVICES;
		if (start >= end && !is_device)
			continue;
		if (!*entry)
			*entry = new_table() | OPEN;
		uint64_t *table = pages_see(*entry & FRAME);
		for (uint64_t i = 0; i < 512; i++) {
			uint64_t frame = start + i * BIG_PAGE;
			if (!table[i] || (table[i] & BIG))
				table[i] = frame | OPEN | BIG | NO_CODE | MAY_WRITE |
					(is_device ? UNCACHED : 0);
		}
	}
}

static void protect_kernel(void)
{
	const struct {
		const char *start, *end;
		int rights;
	} parts[] = { { machine_image, machine_constants, PLATFORM_READ | PLATFORM_EXECUTE },
		{ machine_constants, machine_data, PLATFORM_READ },
		{ machine_data, (const char *)at(MACHINE_BASE + KERNEL_END),
			PLATFORM_READ | PLATFORM_WRITE },
		{ (const char *)at(MACHINE_BASE), machine_image, PLATFORM_READ | PLATFORM_WRITE } };
	for (uint32_t i = 0; i < COUNT(parts); i++)
		for (uint64_t address = address_of(parts[i].start);
			address < address_of(parts[i].end); address += KERNEL_PAGE)
			*find_small(address) = own_entry(address - MACHINE_BASE, parts[i].rights);
}

struct pages_range pages_init(uint64_t end, struct pages_range free)
{
	uint64_t count = 2 * (end / BIG_PAGE) + end / GIGABYTE + SPARE;
	if (count * KERNEL_PAGE > free.bytes)
		count = free.bytes / KERNEL_PAGE;
	tables = free.start;
	tables_end = free.start + count * KERNEL_PAGE;
	machine_pages[0] = 0;
	protect_kernel(); /* before all else becomes what cannot be executed */
	map_memory(end);
	gate_flush();
	return (struct pages_range){ tables_end, free.bytes - count * KERNEL_PAGE };
}

volatile uint8_t *pages_map_device(uint64_t physical, uint64_t bytes)
{
	static uint64_t next = WINDOWS;
	uint64_t offset = physical % KERNEL_PAGE, frame = physical - offset;
	uint64_t whole = (offset + bytes + KERNEL_PAGE - 1) & ~(uint64_t)(KERNEL_PAGE - 1);
	if (frame == 0 || (frame & ~FRAME) || bytes > WINDOWS_END - WINDOWS ||
		whole > WINDOWS_END - next)
		return NULL;
	uint64_t start = next;
	for (uint64_t done = 0; done < whole; done += KERNEL_PAGE) {
		uint64_t *entry = find_small(start + done);
		if (!entry)
			return NULL;
		*entry = (frame + done) | OPEN | UNCACHED | NO_CODE;
	}
	gate_flush();
	next += whole;
	return at(start + offset);
}

void pages_set_image(struct pages_range range)
{
	image = range;
}

static bool is_taken(uint64_t address, uint64_t size)
{
	for (uint64_t done = 0; done < size; done += KERNEL_PAGE) {
		const uint64_t *entry = find(address + done);
		if (entry && *entry)
			return true;
	}
	return false;
}

int platform_map(uint64_t address, uint64_t size)
{
	if (address % KERNEL_PAGE || size % KERNEL_PAGE || size == 0 || address >= MACHINE_BASE ||
		size > MACHINE_BASE - address)
		return -EINVAL;
	if (area_count == AREAS_MOST)
		return -ENOMEM;
	if (is_taken(address, size))
		return -EEXIST;
	uint64_t frames = memory_alloc(size);
	if (!frames)
		return -ENOMEM;
	frames -= MACHINE_BASE;
	for (uint64_t done = 0; done < size; done += KERNEL_PAGE) {
		uint64_t *entry = find_small(address + done);
		if (!entry) {
			while (done > 0)
				*find_small(address + (done -= KERNEL_PAGE)) = 0;
			memory_free(MACHINE_BASE + frames, size);
			return -ENOMEM;
		}
		*entry = own_entry(frames + done, PLATFORM_READ | PLATFORM_WRITE);
	}
	areas[area_count++] = (struct area){ address, size, frames };
	return 0;
}

void platform_unmap(uint64_t address, uint64_t size)
{
	for (uint32_t i = 0; i < area_count; i++) {
		struct area area = areas[i];
		if (area.start != address || area.bytes != size)
			continue;
		for (uint64_t done = 0; done < size; done += KERNEL_PAGE) {
			uint64_t *entry = find_small(address + done);
			/* Through the other view, whose entry then says that it was written to. */
			if (dirty_of(*entry))
				memset(pages_see(area.frames + done), 0, KERNEL_PAGE);
			*entry = 0;
		}
		areas[i] = areas[--area_count];
		gate_flush();
		memory_free(MACHINE_BASE + area.frames, size);
		return;
	}
}

/* A page of its own as zero, whatever its rights are. */
static void clear_page(uint64_t *entry, uint64_t address)
{
	uint64_t before = *entry;
	bool is_open = (before & (PRESENT | WRITABLE)) == (PRESENT | WRITABLE);
	if (!is_open) {
		*entry = own_entry(before & FRAME, PLATFORM_READ | PLATFORM_WRITE);
		gate_flush();
	}
	memset(at(address), 0, KERNEL_PAGE);
	if (!is_open) {
		*entry = before;
		gate_flush();
	}
}

/* Clears what was written to; what shows the image stays. */
static void clear(uint64_t address, uint64_t size)
{
	for (uint64_t done = 0, bytes; done < size; done += bytes) {
		uint64_t *entry = find(address + done);
		bool is_big = entry && (*entry & BIG);
		uint64_t step = is_big ? BIG_PAGE : KERNEL_PAGE;
		bytes = step - (address + done) % step;
		if (bytes > size - done)
			bytes = size - done;
		if (!entry || !dirty_of(*entry) || (*entry & SHOWS))
			continue;
		if (is_big)
			memset(at(address + done), 0, bytes);
		else
			clear_page(entry, address + done);
	}
}

int platform_renew(uint64_t address, uint64_t size)
{
	for (uint64_t done = 0; done < size; done += KERNEL_PAGE) {
		uint64_t *entry = find_small(address + done);
		if (!entry)
			return -ENOMEM;
		*entry = own_entry(own_frame(address + done), PLATFORM_READ | PLATFORM_WRITE) |
			dirty_of(*entry);
	}
	gate_flush();
	clear(address, size);
	return 0;
}

int platform_map_image(uint64_t address, uint64_t size, uint64_t from, int rights)
{
	uint64_t first = from - MACHINE_BASE;
	/* The image's last page is whole in memory. */
	if (from < MACHINE_BASE || first < image.start || first % KERNEL_PAGE ||
		first - image.start > image.bytes || size > image.bytes - (first - image.start))
		return -ENOTSUP;
	for (uint64_t done = 0; done < size; done += KERNEL_PAGE) {
		uint64_t *entry = find_small(address + done);
		if (!entry)
			return -ENOTSUP;
		*entry = image_entry(first + done, rights) | dirty_of(*entry);
	}
	gate_flush();
	return 0;
}

int platform_protect(uint64_t address, uint64_t size, int rights)
{
	if (address % KERNEL_PAGE || address >= SEEN_END || size > SEEN_END - address)
		return -EINVAL;
	for (uint64_t done = 0; done < size; done += KERNEL_PAGE) {
		const uint64_t *there = find(address + done);
		uint64_t *entry = there && *there ? find_small(address + done) : NULL;
		if (!entry)
			return -ENOMEM;
		*entry = (*entry & SHOWS ? image_entry(*entry & FRAME, rights)
					 : own_entry(*entry & FRAME, rights)) |
			dirty_of(*entry);
	}
	gate_flush();
	return 0;
}

/* From here on it is cheaper to have the host take the memory and give it back empty. */
#define RELEASE_LEAST (UINT64_C(64) << 10)

static int64_t (*give_back)(uint64_t physical, uint64_t bytes);

void pages_set_give_back(int64_t (*function)(uint64_t physical, uint64_t bytes))
{
	give_back = function;
}

void platform_release(uint64_t address, uint64_t size)
{
	if (give_back && size >= RELEASE_LEAST && address >= MACHINE_BASE && address < SEEN_END &&
		give_back(address - MACHINE_BASE, size) == 0)
		return;
	clear(address, size);
}

bool pages_take(uint64_t address)
{
	uint64_t *entry = find(address);
	if (!entry || (*entry & (PRESENT | SHOWS | MAY_WRITE)) != (PRESENT | SHOWS | MAY_WRITE))
		return false;
	uint64_t page = address & ~(uint64_t)(KERNEL_PAGE - 1);
	const void *from = pages_see(*entry & FRAME);
	*entry = own_entry(own_frame(page), PLATFORM_READ | PLATFORM_WRITE);
	memcpy(at(page), from, KERNEL_PAGE);
	return true;
}

/* The frame of one page, or 0. */
static uint64_t frame_for(uint64_t address, bool is_filled)
{
	uint64_t *entry = find(address);
	if (is_filled && entry && !(*entry & WRITABLE) && !pages_take(address))
		return 0;
	if (!entry || !(*entry & PRESENT))
		return 0;
	if (is_filled)
		*entry |= DIRTY;
	if (*entry & BIG)
		return (*entry & FRAME & ~(BIG_PAGE - 1)) |
			(address & (BIG_PAGE - 1) & ~(uint64_t)(KERNEL_PAGE - 1));
	return *entry & FRAME;
}

uint64_t pages_piece(uint64_t address, uint64_t size, bool is_filled, uint64_t *ret_physical)
{
	uint64_t offset = address % KERNEL_PAGE, page = address - offset;
	uint64_t first = address < SEEN_END ? frame_for(page, is_filled) : 0;
	if (!first)
		return 0;
	uint64_t bytes = KERNEL_PAGE;
	while (bytes < offset + size && page + bytes < SEEN_END &&
		frame_for(page + bytes, is_filled) == first + bytes)
		bytes += KERNEL_PAGE;
	*ret_physical = first + offset;
	return bytes - offset < size ? bytes - offset : size;
}
