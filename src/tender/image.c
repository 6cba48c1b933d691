/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image.c - makes an image that a unikernel starts from.
 */
#include "tender/image.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "abi/boot.h"
#include "base/file.h"
#include "base/text.h"
#include "rewrite/collect.h"

#define PAGE_BYTES 4096u

/* Whole pages, so that the image has them in one run. */
static int write_pages(
	int directory, const char *name, const void *data, size_t size, struct error *e)
{
	size_t whole = (size + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
	cleanup(free) char *pages = alloc_array(whole, char);
	memcpy(pages, data, size);
	memset(pages + size, 0, whole - size);
	return file_replace(directory, name, pages, whole, 0755, e);
}

static bool is_setting(const char *word)
{
	const char *equal = strchr(word, '=');
	const char *slash = strchr(word, '/');
	return equal && equal != word && (!slash || slash > equal);
}

static int write_words(
	int directory, const char *program, char **words, uint32_t count, struct error *e)
{
	cleanup(text_done) struct text file = {}, list = {};
	uint32_t settings = 0;
	while (settings < count && is_setting(words[settings]))
		settings++;
	struct boot_words head = { .argument_count = count - settings,
		.environment_count = settings };
	if (head.argument_count == 0) {
		text_add_n(&list, program, strlen(program) + 1);
		head.argument_count = 1;
	}
	for (uint32_t i = settings; i < count; i++)
		text_add_n(&list, words[i], strlen(words[i]) + 1);
	for (uint32_t i = 0; i < settings; i++)
		text_add_n(&list, words[i], strlen(words[i]) + 1);
	head.words_bytes = (uint32_t)list.length;
	text_add_n(&file, (const char *)&head, sizeof(head));
	text_add_n(&file, text_str(&list), list.length);
	return write_pages(directory, "words", text_str(&file), file.length, e);
}

static int make_erofs(const char *directory, const char *image, struct error *e)
{
	char *const words[] = { (char[]){ "mkfs.erofs" }, (char[]){ "--quiet" }, (char[]){ "-x-1" },
		(char *)(uintptr_t)image, (char *)(uintptr_t)directory, NULL };
	pid_t child;
	int status;
	/* mkfs.erofs would say so on a page of its options. */
	cleanup(close) int fd = open(image, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return error_errno(e, "make %s", image);
	int r = posix_spawnp(&child, words[0], NULL, NULL, words, environ);
	if (r != 0)
		return error_set(e, -r, "mkfs.erofs could not be started: %s", strerror(r));
	if (waitpid(child, &status, 0) < 0)
		return error_errno(e, "wait for mkfs.erofs");
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return error_set(e, -EIO, "mkfs.erofs failed with status %d", status);
	return 0;
}

int image_build(const char *directory, const char *program, const char *image, char **words,
	uint32_t count, struct error *e)
{
	cleanup(close) int root = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return error_errno(e, "open %s", directory);
	if (mkdirat(root, ".berth", 0755) < 0 && errno != EEXIST)
		return error_errno(e, "make %s/.berth", directory);
	cleanup(close) int own =
		openat(root, ".berth", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (own < 0)
		return error_errno(e, "open %s/.berth", directory);
	cleanup(close) int file = open(program, O_RDONLY | O_CLOEXEC);
	if (file < 0)
		return error_errno(e, "open %s", program);
	int r = collect_programs(root, own, file, e);
	if (r < 0)
		return error_prefix(e, r, "%s", program);
	r = write_words(own, program, words, count, e);
	return r < 0 ? r : make_erofs(directory, image, e);
}
