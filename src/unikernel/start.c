/* SPDX-License-Identifier: Apache-2.0 */
/*
 * start.c - the life of a unikernel: load, lock, run, exit.
 */
#include "unikernel/calls.h"
#include "unikernel/devices.h"
#include "unikernel/erofs.h"
#include "unikernel/exit.h"
#include "unikernel/heap.h"
#include "unikernel/kept.h"
#include "unikernel/missed.h"
#include "unikernel/net/net.h"
#include "unikernel/proc.h"
#include "unikernel/process.h"
#include "unikernel/signals.h"
#include "unikernel/slots.h"
#include "unikernel/volume.h"

#define STACK_BYTES (8u << 20)

/* Where the program begins, if that is not the root. */
static void find_directory(const struct boot *boot)
{
	struct node *node = NULL;
	if (!boot->directory_address)
		return;
	if (path_find(path_root, at(boot->directory_address), true, &node) < 0 ||
		!S_ISDIR(node->mode))
		kernel_panic("the image has no directory where the program shall begin");
	path_working = node;
	node_hold(node);
}

static void make_tree(const struct boot *boot)
{
	if (boot->root_address) {
		if (erofs_root(at(boot->root_address), boot->root_bytes, &path_root) < 0)
			kernel_panic("the root is no uncompressed erofs image");
	} else {
		path_root = node_new(S_IFDIR | 0755);
	}
	if (!path_root)
		kernel_panic("there is not enough memory for the root");
	path_root->links = 2;
	path_root->directory.parent = path_root;
	path_working = path_root;
	node_hold(path_root);
	if (kept_init(boot, path_root) < 0)
		kernel_panic("the file system of the volume is broken");
	if (devices_init(boot) < 0 || volume_init(boot) < 0)
		kernel_panic("there is not enough memory for /dev");
	find_directory(boot);
}

/* The bytes of a file of the image that stand in one run; the builder sees to that. */
static bool find_bytes(const char *path, uint64_t *ret_address, uint64_t *ret_size)
{
	struct node *node = NULL;
	if (path_find(path_root, path, true, &node) < 0 || !S_ISREG(node->mode) ||
		node->regular.image.first_bytes != node->size)
		return false;
	*ret_address = address_of(node->regular.image.first);
	*ret_size = node->size;
	return true;
}

/* What was rewritten takes the place of what it was made of (src/rewrite/collect.h); the path of the program, or "". */
static const char *put_prepared(void)
{
	static const char own[] = "/.berth/";
	const char *found = "";
	struct node *list = NULL;
	if (path_find(path_root, "/.berth/prepared", true, &list) < 0 || !S_ISREG(list->mode))
		return found;
	char *text = heap_alloc(list->size + 2);
	if (!text || node_read(list, text, list->size, 0) != (int64_t)list->size)
		kernel_panic("there is not enough memory for the list of programs");
	for (const char *name = text, *path, *end = text + list->size; name < end;
		name = path + strlen(path) + 1) {
		char full[32] = {};
		struct node *prepared = NULL, *original = NULL;
		path = name + strlen(name) + 1;
		if (path >= end)
			break;
		if (text_is(name, "program"))
			found = path;
		if (strlen(name) >= sizeof(full) - sizeof(own) || !*path)
			continue;
		memcpy(full, own, sizeof(own) - 1);
		memcpy(full + sizeof(own) - 1, name, strlen(name));
		if (path_find(path_root, full, false, &prepared) < 0 || !S_ISREG(prepared->mode) ||
			path_find(path_root, path, false, &original) < 0 ||
			!S_ISREG(original->mode))
			continue;
		if (name[0] == 'l') {
			original->size = prepared->size;
			original->regular.image = prepared->regular.image;
		} else {
			original->regular.prepared = prepared;
			node_hold(prepared);
		}
	}
	return found; /* of a list that stays */
}

/* What the platform was given, as a file that has no name. */
static struct node *given_program(const struct boot *boot)
{
	struct node *node = node_new(S_IFREG | 0755);
	if (!node)
		kernel_panic("there is not enough memory for the program");
	node->regular.image.first = at(boot->program_address);
	node->regular.image.first_bytes = node->size = boot->program_bytes;
	return node;
}

static const char *setting_of(const struct boot *boot, const char *name, const char *usual)
{
	const char *word = at(boot->words_address);
	size_t length = strlen(name);
	for (uint32_t i = 0; i < boot->argument_count + boot->environment_count; i++) {
		if (i >= boot->argument_count && strlen(word) > length &&
			memcmp(word, name, length) == 0 && word[length] == '=')
			return word + length + 1;
		word += strlen(word) + 1;
	}
	return usual;
}

static bool has_slash(const char *name)
{
	while (*name && *name != '/')
		name++;
	return *name == '/';
}

/* There is none: the platform's own caller says so. */
static void refuse_named(int r)
{
	kept_close();
	platform_exit(r == -ENOENT || r == -ENOTDIR ? BOOT_NOT_FOUND : BOOT_NOT_A_PROGRAM);
}

/* The program that the first word names, looked for as a shell does; its path is at `path`. */
static struct node *named_program(const struct boot *boot, char path[PROGRAM_PATH])
{
	const char *name = at(boot->words_address);
	const char *search = has_slash(name) ? "" : setting_of(boot, "PATH", "/usr/bin:/bin");
	struct node *node = NULL;
	int r = -ENOENT;
	for (bool is_last = false; !is_last && r < 0;) {
		size_t length = 0;
		while (search[length] && search[length] != ':')
			length++;
		is_last = !search[length];
		if (length + 1 + strlen(name) < PROGRAM_PATH) {
			memcpy(path, search, length);
			path[length] = '/';
			memcpy(path + length + (length > 0), name, strlen(name) + 1);
			int found = process_find_file(path, &node);
			r = r == -EACCES && found < 0 ? r : found;
		}
		search += is_last ? length : length + 1;
	}
	if (r < 0)
		refuse_named(r);
	return node;
}

/* What the platform was not given is in the image. */
static struct node *find_program(struct boot *boot, const char **ret_path)
{
	uint64_t address = 0, size = 0;
	struct boot_words words;
	struct node *node = NULL;
	*ret_path = put_prepared();
	if (boot->program_address) {
		node = given_program(boot);
		*ret_path = "";
	} else if (boot->flags & BOOT_NAMED) {
		static char named[PROGRAM_PATH];
		node = named_program(boot, named);
		*ret_path = named;
	} else if (path_find(path_root, "/.berth/program", true, &node) < 0) {
		kernel_panic("the image has no /.berth/program");
	}
	if (!**ret_path)
		*ret_path = "/.berth/program";
	if (boot->argument_count)
		return node;
	if (!find_bytes("/.berth/words", &address, &size) || size < sizeof(words))
		kernel_panic("the image has no /.berth/words");
	memcpy(&words, at(address), sizeof(words));
	if (words.words_bytes > size - sizeof(words) || words.argument_count == 0)
		kernel_panic("the image has a wrong /.berth/words");
	/* Behind its words stands the environment of the image; ours is the image's. */
	boot->argument_count = words.argument_count;
	boot->environment_count = words.environment_count;
	boot->words_address = address + sizeof(words);
	boot->words_bytes = words.words_bytes;
	return node;
}

/* All that stands now was made by us, or was there. */
static void begin_to_keep(void)
{
	static const char *const ours[] = { "/dev", "/proc", "/sys" };
	struct node *node = NULL;
	for (size_t i = 0; i < COUNT(ours); i++)
		if (path_find(path_root, ours[i], false, &node) == 0 && node_is_directory(node))
			kept_leave_out(node);
	kept_begin();
}

static void load_first(struct node *node, const char *path, struct program *ret)
{
	int r = load_program(node, path, ret);
	if (r == -ENOENT)
		kernel_panic("the image has not the loader that the program asks for");
	if (r == -ENOMEM)
		kernel_panic("there is not enough memory for the program");
	if (r < 0)
		kernel_panic("the program is no x86-64 executable that could be loaded");
	load_locked();
}

/* Where whoever started us has them they are not for long. */
static void keep_words(struct boot *boot)
{
	char *words = at(memory_alloc(boot->words_bytes));
	if (!words)
		kernel_panic("there is not enough memory for the program's arguments");
	memcpy(words, at(boot->words_address), boot->words_bytes);
	boot->words_address = address_of(words);
}

/* The program reads a script: what stands in `head` takes the place of the first argument. */
static void put_words(struct boot *boot, const char *head, int64_t length)
{
	const char *first = at(boot->words_address), *word = head;
	uint64_t skipped = strlen(first) + 1;
	char *words = at(memory_alloc(boot->words_bytes + (uint64_t)length));
	if (!words)
		kernel_panic("there is not enough memory for the program's arguments");
	uint64_t bytes = 0;
	boot->argument_count--;
	for (; word < head + length; word += strlen(word) + 1) {
		if (!*word)
			continue;
		memcpy(words + bytes, word, strlen(word) + 1);
		bytes += strlen(word) + 1;
		boot->argument_count++;
	}
	memcpy(words + bytes, first + skipped, boot->words_bytes - skipped);
	boot->words_address = address_of(words);
	boot->words_bytes = (uint32_t)(bytes + boot->words_bytes - skipped);
}

/* The program's name, perhaps a word, and the script's path. */
static void put_script(struct boot *boot)
{
	struct node *script = NULL;
	char head[3 * PROGRAM_PATH];
	if (path_find(path_root, "/.berth/script", false, &script) < 0 || !S_ISREG(script->mode))
		return;
	int64_t length = node_read(script, head, sizeof(head), 0);
	if (length <= 0 || head[length - 1])
		kernel_panic("the image has a wrong /.berth/script");
	put_words(boot, head, length);
}

/* The same for what was named, if that is a script: then its interpreter runs. */
static void put_named_script(struct boot *boot, struct node **node, const char **path)
{
	static char line[SCRIPT_LINE];
	char head[2 * SCRIPT_LINE + PROGRAM_PATH];
	const char *word;
	if (!process_read_script(*node, line, &word))
		return;
	const char *const parts[] = { line, word, *path };
	int64_t length = 0;
	for (size_t i = 0; i < COUNT(parts); i++) {
		memcpy(head + length, parts[i], strlen(parts[i]) + 1);
		length += (int64_t)strlen(parts[i]) + 1;
	}
	int r = process_find_file(line, node);
	if (r < 0)
		refuse_named(r);
	*path = line;
	put_words(boot, head, length);
}

static void name_thread(const char *path)
{
	const char *name = path;
	for (const char *c = path; *c; c++)
		if (*c == '/')
			name = c + 1;
	size_t length = strlen(name);
	memcpy(current_thread->name, name, length < 15 ? length : 15);
}

void kernel_main(const struct boot *given)
{
	static struct boot copy;
	struct boot *boot = &copy;
	struct program program;
	if (given->version != BOOT_VERSION || given->size != sizeof(*given))
		kernel_panic("this library OS does not know what it was started by");
	copy = *given;
	memory_init(boot->memory_address, boot->memory_bytes);
	uint64_t stack_bytes =
		boot->memory_bytes / 4 < STACK_BYTES ? boot->memory_bytes / 4 : STACK_BYTES;
	stack_bytes &= ~(uint64_t)(KERNEL_PAGE - 1);
	uint64_t stack = memory_alloc_program(stack_bytes);
	uint64_t kernel_stack = memory_alloc(KERNEL_STACK);
	if (!stack || !kernel_stack)
		kernel_panic("there is not enough memory for the program's stack");
	thread_init(at(kernel_stack), (boot->flags & BOOT_FSGSBASE) != 0);
	make_tree(boot);
	if (net_init(boot) < 0)
		kernel_panic("there is not enough memory for the network");
	const char *path;
	struct node *node = find_program(boot, &path);
	keep_words(boot);
	if (boot->flags & BOOT_NAMED)
		put_named_script(boot, &node, &path);
	else if (!given->program_address)
		put_script(boot);
	if ((boot->flags & BOOT_NAMED) && load_check(node) < 0)
		refuse_named(-ENOEXEC);
	calls_init();
	if (unikernel_make_slots() < 0)
		kernel_panic("the address of the library OS's entry is taken");
	load_first(node, path, &program);
	thread_set_outside(signals_take_outside);
	signals_set_entry(address_of((void *)(uintptr_t)unikernel_entry));
	missed_say_at_end((boot->flags & BOOT_VERBOSE) != 0);
	uint64_t sp = load_stack(boot, &program, stack + stack_bytes);
	const struct program_place place = { stack, stack + stack_bytes };
	if (proc_init(&place) < 0)
		kernel_panic("there is not enough memory for /proc");
	begin_to_keep();
	process_init(boot, &program, stack, stack + stack_bytes);
	name_thread(at(boot->words_address));
	if (platform_lock() < 0)
		kernel_panic("the process could not be locked");
	kernel_has_no_caller = false;
	unikernel_start(program.first, sp);
}
