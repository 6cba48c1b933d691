/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stub.c - writes stubs; the same recipe gives the same stub.
 */
#include "vmm/soft/stub.h"

#include <string.h>
#include <sys/mman.h>

#include "vmm/soft/cpuid.h"

#define CODE_BYTES (4 * MIB)
#define STUBS_MAX  (16u << 10)
#define STUB_BYTES 512u /* more than the longest */
#define BUCKETS    4096u

struct kept {
	struct stub stub;
	struct stub_recipe recipe;
	uint32_t next;
};

struct stubs {
	uint8_t *writable;
	const uint8_t *executable;
	size_t used;
	uint32_t count;
	uint32_t buckets[BUCKETS];
	struct kept kept[STUBS_MAX]; /* the first is not used */
};

int stubs_new(struct stubs **ret, struct error *e)
{
	cleanup(close) int fd = memfd_create("stubs", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)CODE_BYTES) < 0)
		return error_errno(e, "memory for code");
	void *writable = mmap(NULL, CODE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	void *executable = mmap(NULL, CODE_BYTES, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	if (writable == MAP_FAILED || executable == MAP_FAILED) {
		int code = error_errno(e, "memory for code");
		if (writable != MAP_FAILED)
			munmap(writable, CODE_BYTES);
		return code;
	}
	struct stubs *stubs = alloc(struct stubs);
	stubs->writable = writable;
	stubs->executable = executable;
	stubs->count = 1;
	*ret = stubs;
	return 0;
}

void stubs_free(struct stubs *stubs)
{
	if (!stubs)
		return;
	munmap(stubs->writable, CODE_BYTES);
	munmap((void *)(uintptr_t)stubs->executable, CODE_BYTES);
	free(stubs);
}

void stubs_flush(struct stubs *stubs)
{
	memset(stubs->buckets, 0, sizeof(stubs->buckets));
	stubs->used = 0;
	stubs->count = 1;
}

struct writer {
	uint8_t *at;
};

static void put(struct writer *writer, const void *bytes, size_t count)
{
	memcpy(writer->at, bytes, count);
	writer->at += count;
}

#define PUT(writer, ...) \
	put(writer, (const uint8_t[]){ __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ }))

static void put_offset(struct writer *writer, size_t offset)
{
	uint32_t value = (uint32_t)offset;
	put(writer, &value, sizeof(value));
}

/* MOVUPS or VMOVUPS between register n and cpu->vector[n]; opcode 10 loads, 11 stores. */
static void put_vector(struct writer *writer, uint32_t n, uint8_t opcode, bool is_wide)
{
	uint8_t modrm = (uint8_t)(0x87 | (n & 7) << 3);
	if (is_wide && cpuid_host_has(HOST_HAS_AVX512))
		PUT(writer, 0x62, (uint8_t)(0x61 | (n & 8 ? 0 : 0x80) | (n & 16 ? 0 : 0x10)), 0x7c,
			0x48, opcode, modrm);
	else if (is_wide)
		PUT(writer, 0xc5, n >= 8 ? 0x7c : 0xfc, opcode, modrm);
	else if (n >= 8)
		PUT(writer, 0x44, 0x0f, opcode, modrm);
	else
		PUT(writer, 0x0f, opcode, modrm);
	put_offset(writer, offsetof(struct cpu, vector) + n * VECTOR_BYTES);
}

static void put_vectors(struct writer *writer, const struct stub_recipe *recipe, uint8_t opcode)
{
	for (uint32_t n = 0; n < VECTORS; n++)
		if (recipe->vectors >> n & 1)
			put_vector(writer, n, opcode, recipe->flags & STUB_WIDE);
}

/* KMOVQ; opcode 90 loads, 91 stores. */
static void put_opmasks(struct writer *writer, const struct stub_recipe *recipe, uint8_t opcode)
{
	for (uint32_t n = 0; n < 8; n++) {
		if (!(recipe->opmasks >> n & 1))
			continue;
		PUT(writer, 0xc4, 0xe1, 0xf8, opcode, (uint8_t)(0x87 | n << 3));
		put_offset(writer, offsetof(struct cpu, opmask) + 8 * n);
	}
}

static void put_before(struct writer *writer, const struct stub_recipe *recipe)
{
	PUT(writer, 0xf3, 0x0f, 0x1e, 0xfa); /* endbr64 */
	if (recipe->flags & STUB_X87) {
		PUT(writer, 0x48, 0x0f, 0xae, 0x8f); /* fxrstor64 [rdi + ] */
		put_offset(writer, offsetof(struct cpu, fx));
	}
	if (recipe->flags & STUB_FP) {
		PUT(writer, 0x0f, 0xae, 0x97); /* ldmxcsr */
		put_offset(writer, offsetof(struct cpu, stub_mxcsr));
	}
	put_vectors(writer, recipe, 0x10);
	put_opmasks(writer, recipe, 0x90);
	if (recipe->flags & STUB_RAX_RDX) {
		PUT(writer, 0x48, 0x8b, 0x87); /* mov rax, [rdi + ] */
		put_offset(writer, offsetof(struct cpu, r) + 8 * CPU_RAX);
		PUT(writer, 0x48, 0x8b, 0x97); /* mov rdx, */
		put_offset(writer, offsetof(struct cpu, r) + 8 * CPU_RDX);
	}
	if (recipe->flags & STUB_FLAGS_IN) {
		PUT(writer, 0x66, 0x8b, 0x87); /* mov ax, */
		put_offset(writer, offsetof(struct cpu, flags));
		PUT(writer, 0x9e); /* sahf */
	}
	if (recipe->gpr != 0xff) {
		PUT(writer, 0x48, 0x8b, 0x87);
		put_offset(writer, recipe->gpr);
	}
}

static void put_after(struct writer *writer, const struct stub_recipe *recipe)
{
	if (recipe->gpr != 0xff) {
		PUT(writer, 0x48, 0x89, 0x87); /* mov [rdi + ], rax */
		put_offset(writer, recipe->gpr);
	}
	if (recipe->flags & STUB_RCX_OUT) {
		PUT(writer, 0x48, 0x89, 0x8f);
		put_offset(writer, offsetof(struct cpu, r) + 8 * CPU_RCX);
	}
	if (recipe->flags & STUB_FLAGS_OUT) {
		PUT(writer, 0x9f, 0x0f, 0x90, 0xc0, 0x66, 0x89, 0x87); /* lahf; seto al; mov , ax */
		put_offset(writer, offsetof(struct cpu, flags));
	}
	put_vectors(writer, recipe, 0x11);
	put_opmasks(writer, recipe, 0x91);
	if (recipe->flags & STUB_FP) {
		PUT(writer, 0x0f, 0xae, 0x9f); /* stmxcsr */
		put_offset(writer, offsetof(struct cpu, stub_mxcsr));
		PUT(writer, 0x0f, 0xae, 0x97); /* ldmxcsr */
		put_offset(writer, offsetof(struct cpu, host_mxcsr));
	}
	if (recipe->flags & STUB_X87) {
		PUT(writer, 0x48, 0x0f, 0xae, 0x87); /* fxsave64 */
		put_offset(writer, offsetof(struct cpu, fx));
		PUT(writer, 0xdb, 0xe3); /* fninit: no exception stays pending on the host */
	}
	if (recipe->flags & STUB_WIDE)
		PUT(writer, 0xc5, 0xf8, 0x77); /* vzeroupper */
	PUT(writer, 0xc3);
}

static uint32_t bucket_of(const struct stub_recipe *recipe)
{
	uint32_t hash = 2166136261u;
	const uint8_t *bytes = (const uint8_t *)recipe;
	for (size_t i = 0; i < sizeof(*recipe); i++)
		hash = (hash ^ bytes[i]) * 16777619u;
	return hash % BUCKETS;
}

const struct stub *stub_get(struct stubs *stubs, const struct stub_recipe *recipe)
{
	uint32_t *bucket = &stubs->buckets[bucket_of(recipe)];
	for (uint32_t i = *bucket; i; i = stubs->kept[i].next)
		if (memcmp(&stubs->kept[i].recipe, recipe, sizeof(*recipe)) == 0)
			return &stubs->kept[i].stub;
	if (stubs->count == STUBS_MAX || stubs->used + STUB_BYTES > CODE_BYTES)
		return NULL;
	struct writer writer = { .at = stubs->writable + stubs->used };
	put_before(&writer, recipe);
	put(&writer, recipe->bytes, recipe->length);
	put_after(&writer, recipe);
	struct kept *kept = &stubs->kept[stubs->count];
	kept->recipe = *recipe;
	kept->next = *bucket;
	/* By way of an integer: ISO C has no conversion from data to a function. */
	kept->stub.run =
		(void (*)(struct cpu *, void *))(uintptr_t)(stubs->executable + stubs->used);
	*bucket = stubs->count++;
	stubs->used = ((size_t)(writer.at - stubs->writable) + 15) & ~(size_t)15;
	return &kept->stub;
}
