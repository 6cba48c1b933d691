/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base.h - the words every file of berth is written with: attributes, ownership, allocation.
 */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define must_use                __attribute__((__warn_unused_result__))
#define printf_like(text, args) __attribute__((__format__(__printf__, text, args)))
#define ARRAY_SIZE(array)       (sizeof(array) / sizeof((array)[0]))

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

#define NS_PER_MS  UINT64_C(1000000)
#define NS_PER_SEC UINT64_C(1000000000)

/* `cleanup(close) int fd = ...;` releases the local on every path out of its block. */
#define cleanup(function) __attribute__((__cleanup__(function##_cleanup), __unused__))

/* Makes `cleanup(function)` work for locals of pointer type `type`; a NULL local is left alone. */
#define DEFINE_CLEANUP(type, function) \
	static inline void function##_cleanup(type *local) \
	{ \
		if (*local) \
			function(*local); \
	} \
	struct cleanup_needs_a_semicolon

#define TAKE(lvalue, nothing) \
	({ \
		__typeof__(lvalue) *taken_from = &(lvalue); \
		__typeof__(lvalue) taken = *taken_from; \
		*taken_from = (nothing); \
		taken; \
	})

/* Hands an owned pointer or descriptor on: the local is emptied, so that its cleanup does nothing. */
#define TAKE_PTR(p) TAKE(p, NULL)
#define TAKE_FD(fd) TAKE(fd, -1)

/* The struct that `member` at `pointer` is embedded in. */
#define container_of(pointer, type, member) \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static inline void close_cleanup(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void free_cleanup(void *local)
{
	free(*(void **)local);
}

/* Zeroed memory for a size that the code chose; never NULL: without it the process aborts. */
void *alloc_zeroed(size_t count, size_t size) must_use __attribute__((__malloc__));
#define alloc(type)              ((type *)alloc_zeroed(1, sizeof(type)))
#define alloc_array(count, type) ((type *)alloc_zeroed(count, sizeof(type)))

/* Grows or shrinks `old` to `count` items; new items are not zeroed. Never NULL. */
void *alloc_resize(void *old, size_t count, size_t size) must_use;

/* As strdup(3) and strndup(3), but never NULL for a text that is not NULL; NULL gives NULL. */
char *alloc_text(const char *text) must_use;
char *alloc_text_n(const char *text, size_t length) must_use;

/* As asprintf(3), never NULL. */
char *alloc_printf(const char *format, ...) must_use printf_like(1, 2);

/*
 * Zeroed memory for a size that a guest, an image or a client chose, at most `limit_bytes` in all.
 * NULL if it is more than the limit or there is none.
 */
void *alloc_try(size_t count, size_t size, size_t limit_bytes) must_use;
