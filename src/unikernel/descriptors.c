/* SPDX-License-Identifier: Apache-2.0 */
/*
 * descriptors.c - the numbers that a program knows its open files by.
 */
#include "unikernel/descriptors.h"

static struct {
	struct file *file;
	bool closes_on_exec;
} table[DESCRIPTORS_MAX];
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
