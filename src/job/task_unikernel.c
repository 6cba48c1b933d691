/* SPDX-License-Identifier: Apache-2.0 */
/*
 * task_unikernel.c - the image that a unikernel starts from: the layers of a container's image and, beside
 * them, its program and what else of them makes system calls, rewritten.
 *
 * Theory of operation. The layers are laid over each other in a mount namespace of the task, below a file
 * system in memory that holds /.berth. What stands in them is hostile: a child that reaches nothing else reads and
 * rewrites it, and mkfs.erofs reads it in a jail, too. What is left for the task itself is to give the finished file its
 * name.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/text.h"
#include "disk/program.h"
#include "job/digest.h"
#include "job/jail.h"
#include "job/tasks.h"
#include "rewrite/collect.h"
#include "rewrite/prepare.h"

#define MEMORY "/run" /* of the task's mount namespace */
#define OWN    MEMORY "/own"
#define MERGED MEMORY "/merged"

struct making {
	const struct task *task;
	const char *program,
		*search; /* its name, and where it is looked for if that has no slash */
	const char *to;
	const json_t *layers;
};

/* Carries out `work` in a child; its error is ours. */
static int in_child(int (*work)(void *data, struct error *e), void *data, struct error *e)
{
	struct {
		int code;
		struct error error;
	} *told = mmap(
		NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (told == MAP_FAILED)
		return error_errno(e, "map memory");
	int status = 0, r;
	pid_t pid = fork();
	if (pid == 0) {
		told->code = work(data, &told->error);
		_exit(told->code < 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		r = error_errno(e, "start a child");
	else if (status == 0)
		r = 0;
	else if (told->code < 0 && told->code > -4096) {
		told->error.text[sizeof(told->error.text) - 1] = '\0';
		r = error_set(e, told->code, "%s", told->error.text);
	} else
		r = error_set(e, -EIO, "it ended unexpectedly (status %d)", status);
	munmap(told, sizeof(*told));
	return r;
}

/* Again whenever something was written below: a mounted overlay need not see it. */
static int lay_over(const struct making *making, struct error *e)
{
	cleanup(text_done) struct text options = {};
	text_add(&options, "lowerdir=" OWN);
	size_t i;
	json_t *layer;
	json_array_foreach(making->layers, i, layer)
	{
		const char *path = json_string_value(layer);
		if (!path || path[0] != '/' || strpbrk(path, ":,\\"))
			return error_set(e, -EINVAL, "layers: a plain path is wanted");
		text_printf(&options, ":%s", path);
	}
	if (i == 0)
		return error_set(e, -EINVAL, "the image has no layers");
	(void)umount2(MERGED, MNT_DETACH);
	if (mount("overlay", MERGED, "overlay", MS_RDONLY, text_str(&options)) < 0)
		return error_errno(e, "lay the image's layers over each other");
	return 0;
}

static int make_place(struct error *e)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("none", MEMORY, "tmpfs", MS_NODEV | MS_NOSUID, "mode=0755") < 0 ||
		mkdir(OWN, 0755) < 0 || mkdir(OWN "/.berth", 0755) < 0 || mkdir(MERGED, 0755) < 0)
		return error_errno(e, "make a place for the image");
	return 0;
}

static int open_at(int root, const char *path, int *ret, struct error *e)
{
	struct stat status;
	cleanup(close) int fd = file_open_in_root(root, path, O_RDONLY | O_NONBLOCK, 0);
	if (fd < 0)
		return error_code(e, fd, "%.200s", path);
	if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
		return error_set(e, -ENOEXEC, "%.200s: it is no file", path);
	if ((uint64_t)status.st_size > PREPARE_PROGRAM_MAX)
		return error_set(e, -ENOEXEC, "%.200s: it is larger than %d MiB", path,
			(int)(PREPARE_PROGRAM_MAX / MIB));
	*ret = TAKE_FD(fd);
	return 0;
}

/* As a shell would find it. */
static int open_program(const struct making *making, int root, int *ret, struct error *e)
{
	if (strchr(making->program, '/'))
		return open_at(root, making->program, ret, e);
	for (const char *part = making->search; *part;) {
		size_t length = strcspn(part, ":");
		cleanup(free) char *path =
			alloc_printf("%.*s/%s", (int)length, part, making->program);
		if (open_at(root, path, ret, NULL) == 0)
			return 0;
		part += length + (part[length] == ':');
	}
	return error_set(e, -ENOENT, "%.200s: the image has no such program in %.200s",
		making->program, making->search);
}

struct rewriting {
	int from, to; /* directories */
	int program;
};

static int rewrite_in_jail(void *data, struct error *e)
{
	const struct rewriting *work = data;
	const int dirs[] = { work->from, work->to };
	int r = jail_files(dirs, ARRAY_SIZE(dirs), e);
	return r < 0 ? r : collect_programs(work->from, work->to, work->program, e);
}

static int write_programs(const struct making *making, struct error *e)
{
	cleanup(close) int root = open(MERGED, O_RDONLY | O_DIRECTORY | O_CLOEXEC), program = -1;
	cleanup(close) int own = open(OWN "/.berth", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0 || own < 0)
		return error_errno(e, "open a place for the program");
	int r = open_program(making, root, &program, e);
	if (r < 0)
		return r;
	struct rewriting work = { root, own, program };
	r = in_child(rewrite_in_jail, &work, e);
	return r < 0 ? error_prefix(e, r, "%.200s", making->program) : 0;
}

static int pack_in_jail(void *data, struct error *e)
{
	const struct rewriting *dirs = data;
	const int opened[] = { dirs->from, dirs->to };
	cleanup(free) char *from = alloc_printf("/proc/self/fd/%d", dirs->from);
	cleanup(free) char *to = alloc_printf("/proc/self/fd/%d/image", dirs->to);
	char *const argv[] = { (char[]){ "mkfs.erofs" }, (char[]){ "--quiet" }, (char[]){ "-x-1" },
		to, from, NULL };
	int r = jail_program(opened, ARRAY_SIZE(opened), false, e);
	return r < 0 ? r : program_run(argv, -1, e);
}

/* Made under another name, so that nobody finds half an image. */
static int pack(const struct making *making, struct error *e)
{
	cleanup(free) char *stage = alloc_printf("%s.new", making->to);
	cleanup(free) char *image = alloc_printf("%s/image", stage);
	if (file_remove_tree(AT_FDCWD, stage) < 0 || mkdir(stage, 0700) < 0)
		return error_errno(e, "make %s", stage);
	int r = lay_over(making, e);
	cleanup(close) int from = open(MERGED, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup(close) int to = open(stage, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r == 0 && (from < 0 || to < 0))
		r = error_errno(e, "open the image's place");
	struct rewriting dirs = { from, to, -1 };
	if (r == 0)
		r = in_child(pack_in_jail, &dirs, e);
	if (r == 0 && (chmod(image, 0444) < 0 || rename(image, making->to) < 0))
		r = error_errno(e, "name %s", making->to);
	if (file_remove_tree(AT_FDCWD, stage) < 0 && r == 0)
		r = error_errno(e, "remove %s", stage);
	return r;
}

static int describe(const struct making *making, json_t **ret, struct error *e)
{
	struct digest digest;
	char hex[DIGEST_HEX_SIZE];
	if (!task_flag(making->task, "digest")) {
		*ret = json_object();
		return 0;
	}
	cleanup(close) int fd = open(making->to, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_errno(e, "open %s", making->to);
	digest_start(&digest);
	int r = digest_add_rest(&digest, fd, e);
	digest_end(&digest, hex);
	if (r == 0)
		*ret = json_pack(
			"{s:s, s:I}", "fingerprint", hex, "size", (json_int_t)digest.bytes);
	return r;
}

int task_unikernel(struct task *task, json_t **ret, struct error *e)
{
	struct making making = { .task = task,
		.layers = json_object_get(task->document, "layers"),
		.search = task_text_or(task, "path", "/bin:/usr/bin") };
	int r = task_text(task, "program", &making.program, e);
	if (r == 0)
		r = task_text(task, "to", &making.to, e);
	if (r < 0)
		return r;
	task->stage = "rewrite";
	const char *top = json_string_value(json_array_get(making.layers, 0));
	cleanup(close) int lock = open(top ?: "", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (lock < 0 || flock(lock, LOCK_EX) < 0)
		return error_errno(e, "open the image's layer");
	if (access(making.to, F_OK) < 0) {
		r = make_place(e);
		if (r == 0)
			r = lay_over(&making, e);
		if (r == 0)
			r = write_programs(&making, e);
		if (r == 0)
			r = pack(&making, e);
	}
	return r < 0 ? r : describe(&making, ret, e);
}
