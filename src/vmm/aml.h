/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aml.h - writes ACPI machine language: a scope is opened, filled and closed, as in the source language.
 */
#pragma once

#include "base/base.h"

struct aml {
	uint8_t *data;
	size_t length, size;
	size_t open[8]; /* where the length of each open object goes */
	size_t depth;
};

void aml_done(struct aml *aml);

/* `name` is a path as in source: "\\_SB", "PCI0", "_CRS"; segments of 4, dots between. */
void aml_scope(struct aml *aml, const char *name);
void aml_device(struct aml *aml, const char *name);
void aml_method(struct aml *aml, const char *name, uint8_t arguments);
void aml_package(struct aml *aml, uint8_t count);
/* Closes what was opened last. */
void aml_end(struct aml *aml);

/* Name (name, ...): the value follows. */
void aml_name(struct aml *aml, const char *name);
void aml_number(struct aml *aml, uint64_t value);
void aml_text(struct aml *aml, const char *text);
/* EisaId ("PNP0A08") */
void aml_eisa(struct aml *aml, const char *id);
void aml_bytes(struct aml *aml, const void *bytes, size_t count);
/* Buffer () { bytes } */
void aml_buffer(struct aml *aml, const void *bytes, size_t count);
void aml_return(struct aml *aml); /* the value follows */
/* Ports from `at` on as an operation region called `name`. */
void aml_port_region(struct aml *aml, const char *name, uint16_t at, uint8_t bytes);
/* A field of 32-bit registers in it, one after the other. */
void aml_registers(struct aml *aml, const char *region, const char *const *names, size_t count);
/* Store (source, target): names, or "Local0" and "Local1" as they are called in the language. */
void aml_store(struct aml *aml, const char *source, const char *target);
void aml_store_number(struct aml *aml, uint64_t value, const char *target);
/* If (And (value, mask)): opened, to be closed by aml_end(). */
void aml_if_bit(struct aml *aml, const char *value, uint32_t mask);
void aml_call(struct aml *aml, const char *method); /* without arguments */
void aml_notify(struct aml *aml, const char *object, uint8_t value);

/* Resource descriptors: collected in one place, then written by aml_buffer(). */
struct resources {
	uint8_t data[256];
	size_t length;
};
void resources_ports(struct resources *r, uint16_t at, uint8_t count);
void resources_line(struct resources *r, uint32_t line);
void resources_memory(struct resources *r, uint32_t at, uint32_t bytes);
void resources_bus_range(struct resources *r, uint16_t first, uint16_t last);
void resources_port_range(struct resources *r, uint16_t first, uint16_t last);
void resources_memory_range(struct resources *r, uint32_t first, uint32_t last);
/* Ends them, and writes Name (_CRS, Buffer). */
void aml_resources(struct aml *aml, struct resources *r);
