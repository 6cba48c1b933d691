/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aml.c - opcodes, names and lengths of ACPI machine language; resource descriptors.
 *
 * An object's length stands before it and has a variable size; here it always takes four bytes, the
 * longest form, and is filled in when the object is closed.
 */
#include "vmm/aml.h"

#include <stdlib.h>
#include <string.h>

#define LENGTH_BYTES 4

void aml_done(struct aml *aml)
{
	free(aml->data);
	*aml = (struct aml){};
}

void aml_bytes(struct aml *aml, const void *bytes, size_t count)
{
	if (aml->size - aml->length < count) {
		aml->size = (aml->length + count) * 2;
		aml->data = alloc_resize(aml->data, aml->size, 1);
	}
	if (count)
		memcpy(aml->data + aml->length, bytes, count);
	aml->length += count;
}

static void byte(struct aml *aml, uint8_t value)
{
	aml_bytes(aml, &value, 1);
}

static void open_object(struct aml *aml)
{
	assert(aml->depth < ARRAY_SIZE(aml->open));
	aml->open[aml->depth++] = aml->length;
	aml_bytes(aml, "\0\0\0", LENGTH_BYTES);
}

void aml_end(struct aml *aml)
{
	assert(aml->depth > 0);
	size_t at = aml->open[--aml->depth], length = aml->length - at;
	assert(length < (1u << 28));
	aml->data[at] = (uint8_t)(0xc0 | (length & 15));
	aml->data[at + 1] = (uint8_t)(length >> 4);
	aml->data[at + 2] = (uint8_t)(length >> 12);
	aml->data[at + 3] = (uint8_t)(length >> 20);
}

static void name_string(struct aml *aml, const char *name)
{
	if (*name == '\\') {
		byte(aml, '\\');
		name++;
	}
	size_t segments = *name ? 1 : 0;
	for (const char *c = name; *c; c++)
		segments += *c == '.';
	if (segments == 0)
		byte(aml, 0);
	else if (segments == 2)
		byte(aml, 0x2e);
	else if (segments > 2) {
		byte(aml, 0x2f);
		byte(aml, (uint8_t)segments);
	}
	for (size_t i = 0; i < segments; i++) {
		size_t length = strcspn(name, ".");
		assert(length > 0 && length <= 4);
		aml_bytes(aml, name, length);
		aml_bytes(aml, "____", 4 - length);
		name += length + 1;
	}
}

void aml_scope(struct aml *aml, const char *name)
{
	byte(aml, 0x10);
	open_object(aml);
	name_string(aml, name);
}

void aml_device(struct aml *aml, const char *name)
{
	byte(aml, 0x5b);
	byte(aml, 0x82);
	open_object(aml);
	name_string(aml, name);
}

void aml_method(struct aml *aml, const char *name, uint8_t arguments)
{
	byte(aml, 0x14);
	open_object(aml);
	name_string(aml, name);
	byte(aml, arguments);
}

void aml_package(struct aml *aml, uint8_t count)
{
	byte(aml, 0x12);
	open_object(aml);
	byte(aml, count);
}

void aml_name(struct aml *aml, const char *name)
{
	byte(aml, 0x08);
	name_string(aml, name);
}

void aml_number(struct aml *aml, uint64_t value)
{
	if (value <= 1) {
		byte(aml, (uint8_t)value);
	} else if (value <= UINT8_MAX) {
		byte(aml, 0x0a);
		byte(aml, (uint8_t)value);
	} else if (value <= UINT16_MAX) {
		byte(aml, 0x0b);
		aml_bytes(aml, &value, 2);
	} else if (value <= UINT32_MAX) {
		byte(aml, 0x0c);
		aml_bytes(aml, &value, 4);
	} else {
		byte(aml, 0x0e);
		aml_bytes(aml, &value, 8);
	}
}

void aml_text(struct aml *aml, const char *text)
{
	byte(aml, 0x0d);
	aml_bytes(aml, text, strlen(text) + 1);
}

static uint32_t hex(char c)
{
	return (uint32_t)(c <= '9' ? c - '0' : c - 'A' + 10);
}

void aml_eisa(struct aml *aml, const char *id)
{
	assert(strlen(id) == 7);
	uint32_t vendor = (uint32_t)(id[0] - '@') << 10 | (uint32_t)(id[1] - '@') << 5 |
		(uint32_t)(id[2] - '@');
	uint32_t product = hex(id[3]) << 12 | hex(id[4]) << 8 | hex(id[5]) << 4 | hex(id[6]);
	byte(aml, 0x0c);
	byte(aml, (uint8_t)(vendor >> 8));
	byte(aml, (uint8_t)vendor);
	byte(aml, (uint8_t)(product >> 8));
	byte(aml, (uint8_t)product);
}

void aml_buffer(struct aml *aml, const void *bytes, size_t count)
{
	byte(aml, 0x11);
	open_object(aml);
	aml_number(aml, count);
	aml_bytes(aml, bytes, count);
	aml_end(aml);
}

void aml_return(struct aml *aml)
{
	byte(aml, 0xa4);
}

void aml_port_region(struct aml *aml, const char *name, uint16_t at, uint8_t bytes)
{
	byte(aml, 0x5b);
	byte(aml, 0x80);
	name_string(aml, name);
	byte(aml, 1);
	aml_number(aml, at);
	aml_number(aml, bytes);
}

void aml_registers(struct aml *aml, const char *region, const char *const *names, size_t count)
{
	byte(aml, 0x5b);
	byte(aml, 0x81);
	open_object(aml);
	name_string(aml, region);
	byte(aml, 0x43); /* four bytes at a time, the rest written as zeroes */
	for (size_t i = 0; i < count; i++) {
		name_string(aml, names[i]);
		byte(aml, 32);
	}
	aml_end(aml);
}

static void term(struct aml *aml, const char *name)
{
	if (strcmp(name, "Local0") == 0 || strcmp(name, "Local1") == 0)
		byte(aml, (uint8_t)(0x60 + name[5] - '0'));
	else
		name_string(aml, name);
}

void aml_store(struct aml *aml, const char *source, const char *target)
{
	byte(aml, 0x70);
	term(aml, source);
	term(aml, target);
}

void aml_store_number(struct aml *aml, uint64_t value, const char *target)
{
	byte(aml, 0x70);
	aml_number(aml, value);
	term(aml, target);
}

void aml_if_bit(struct aml *aml, const char *value, uint32_t mask)
{
	byte(aml, 0xa0);
	open_object(aml);
	byte(aml, 0x7b);
	term(aml, value);
	aml_number(aml, mask);
	byte(aml, 0); /* the result goes nowhere */
}

void aml_call(struct aml *aml, const char *method)
{
	name_string(aml, method);
}

void aml_notify(struct aml *aml, const char *object, uint8_t value)
{
	byte(aml, 0x86);
	name_string(aml, object);
	aml_number(aml, value);
}

static void put(struct resources *r, const void *bytes, size_t count)
{
	assert(sizeof(r->data) - r->length >= count);
	memcpy(r->data + r->length, bytes, count);
	r->length += count;
}

void resources_ports(struct resources *r, uint16_t at, uint8_t count)
{
	const uint8_t bytes[] = { 0x47, 1, (uint8_t)at, (uint8_t)(at >> 8), (uint8_t)at,
		(uint8_t)(at >> 8), 1, count };
	put(r, bytes, sizeof(bytes));
}

void resources_line(struct resources *r, uint32_t line)
{
	const uint8_t bytes[] = { 0x22, (uint8_t)(1u << line), (uint8_t)((1u << line) >> 8) };
	put(r, bytes, sizeof(bytes));
}

void resources_memory(struct resources *r, uint32_t at, uint32_t bytes)
{
	const uint8_t head[] = { 0x86, 9, 0, 1 };
	put(r, head, sizeof(head));
	put(r, &at, sizeof(at));
	put(r, &bytes, sizeof(bytes));
}

/* A word address range. `type`: 1 ports, 2 buses. */
static void word_range(
	struct resources *r, uint8_t type, uint8_t flags, uint16_t first, uint16_t last)
{
	const uint8_t head[] = { 0x88, 13, 0, type, 0x0c, flags };
	const uint16_t words[] = { 0, first, last, 0, (uint16_t)(last - first + 1) };
	put(r, head, sizeof(head));
	put(r, words, sizeof(words));
}

void resources_bus_range(struct resources *r, uint16_t first, uint16_t last)
{
	word_range(r, 2, 0, first, last);
}

void resources_port_range(struct resources *r, uint16_t first, uint16_t last)
{
	word_range(r, 1, 3, first, last);
}

void resources_memory_range(struct resources *r, uint32_t first, uint32_t last)
{
	const uint8_t head[] = { 0x87, 23, 0, 0, 0x0c, 1 };
	const uint32_t words[] = { 0, first, last, 0, last - first + 1 };
	put(r, head, sizeof(head));
	put(r, words, sizeof(words));
}

void aml_resources(struct aml *aml, struct resources *r)
{
	const uint8_t end[] = { 0x79, 0 };
	put(r, end, sizeof(end));
	aml_name(aml, "_CRS");
	aml_buffer(aml, r->data, r->length);
}
