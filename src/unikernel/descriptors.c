/* SPDX-License-Identifier: Apache-2.0 */
/*
 * descriptors.c - the numbers that a program knows its open files by.
 */
#include "unikernel/descriptors.h"

#include "unikernel/heap.h"

struct descriptor {
	struct file *file;
	bool closes_on_exec;
};

struct descriptors {
	uint64_t end, limit;
	struct descriptor list[];
};

static struct descriptor table[DESCRIPTORS_MAX];
static uint64_t limit = 1024;
static uint64_t end;
static uint64_t lowest_free;

struct file *descriptor_file(uint64_t number)
{
	number = (uint32_t)number;
	return number < DESCRIPTORS_MAX ? table[number].file : NULL;
}

int64_t descriptor_add(struct file *file, uint64_t least, bool closes_on_exec)
{
	uint64_t number = least < lowest_free ? lowest_free : least;
	while (number < limit && table[number].file)
		number++;
	if (number >= limit) {
		file_drop(file);
		return -EMFILE;
	}
	if (least <= lowest_free)
		lowest_free = number + 1;
	return descriptor_set(file, number, closes_on_exec);
}

int64_t descriptor_set(struct file *file, uint64_t number, bool closes_on_exec)
{
	struct file *old = table[number].file;
	table[number].file = file;
	table[number].closes_on_exec = closes_on_exec;
	if (number >= end)
		end = number + 1;
	if (old)
		file_drop(old);
	return (int64_t)number;
}

int64_t descriptor_close(uint64_t number)
{
	struct file *file = descriptor_file(number);
	if (!file)
		return -EBADF;
	number = (uint32_t)number;
	table[number].file = NULL;
	if (number < lowest_free)
		lowest_free = number;
	while (end > 0 && !table[end - 1].file)
		end--;
	file_drop(file);
	return 0;
}

bool descriptor_closes_on_exec(uint64_t number)
{
	return table[number].closes_on_exec;
}

void descriptor_set_closes_on_exec(uint64_t number, bool closes)
{
	table[number].closes_on_exec = closes;
}

uint64_t descriptor_end(void)
{
	return end;
}

void descriptor_set_limit(uint64_t value)
{
	limit = value < DESCRIPTORS_MAX ? value : DESCRIPTORS_MAX;
}

uint64_t descriptor_limit(void)
{
	return limit;
}

struct descriptors *descriptors_copy(void)
{
	struct descriptors *copy = heap_alloc(sizeof(*copy) + end * sizeof(copy->list[0]));
	if (!copy)
		return NULL;
	copy->end = end;
	copy->limit = limit;
	for (uint64_t i = 0; i < end; i++) {
		copy->list[i] = table[i];
		if (table[i].file)
			file_hold(table[i].file);
	}
	return copy;
}

void descriptors_free(struct descriptors *copy)
{
	for (uint64_t i = 0; i < copy->end; i++)
		if (copy->list[i].file)
			file_drop(copy->list[i].file);
	heap_free(copy);
}

struct descriptors *descriptors_leave(void)
{
	struct descriptors *copy = heap_alloc(sizeof(*copy) + end * sizeof(copy->list[0]));
	if (!copy)
		return NULL;
	copy->end = end;
	copy->limit = limit;
	memcpy(copy->list, table, end * sizeof(table[0]));
	memset(table, 0, end * sizeof(table[0]));
	end = 0;
	return copy;
}

void descriptors_close_all(void)
{
	for (uint64_t i = end; i > 0; i--)
		(void)descriptor_close(i - 1);
}

void descriptors_put_back(struct descriptors *copy)
{
	descriptors_close_all();
	memcpy(table, copy->list, copy->end * sizeof(table[0]));
	end = copy->end;
	limit = copy->limit;
	lowest_free = 0;
	heap_free(copy);
}

void descriptors_close_on_exec(void)
{
	for (uint64_t i = 0; i < end; i++)
		if (table[i].file && table[i].closes_on_exec)
			(void)descriptor_close(i);
}
