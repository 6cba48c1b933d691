/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_build.c - tar(1) writes the archive into a pipe while it is sent.
 */
#include "cli/image_build.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>

#include "base/file.h"

const struct option image_build_options[] = {
	{ "alias", '\0', "NAME", "call it so; may be given again" },
	{ "public", '\0', NULL, "let everybody use it who can reach the server" },
	{ "property", '\0', "KEY=VALUE", "say more about it; may be given again" },
	{ "description", '\0', "TEXT", "say what it is" },
	{ "architecture", '\0', "NAME", "instead of this machine's" },
	{ "type", '\0', "TYPE",
		"container, or unikernel: also of one static program or of an image" },
	{ "entrypoint", '\0', "COMMAND", "the program of a unikernel and its arguments" },
	{},
};

static int write_metadata(const char *directory, const char *root, const char *entrypoint,
	const struct options *options, struct error *e)
{
	struct utsname machine;
	if (uname(&machine) < 0)
		return error_errno(e, "uname");
	const char *architecture = options_text(options, "architecture");
	const char *description = options_text(options, "description");
	json_t *properties = json_object();
	json_t *metadata = json_pack("{s:s, s:I, s:o}", "architecture",
		architecture ? architecture : machine.machine, "creation_date",
		(json_int_t)time(NULL), "properties", properties);
	json_object_set_new(
		properties, "description", json_string(description ? description : root));
	if (entrypoint)
		json_object_set_new(
			metadata, "unikernel", json_pack("{s:s}", "entrypoint", entrypoint));
	/* JSON is YAML. */
	char *text = json_dumps(metadata, JSON_INDENT(2));
	json_decref(metadata);
	cleanup(free) char *owned = text;
	cleanup(free) char *path = alloc_printf("%s/metadata.yaml", directory);
	if (!text)
		return error_set(e, -EINVAL, "the description is not UTF-8");
	return file_replace(AT_FDCWD, path, text, strlen(text), 0644, e);
}

static int remove_directory(struct image_build *build, struct error *e)
{
	int r = file_remove_tree(AT_FDCWD, build->directory);
	if (r < 0)
		error_code(e, r, "remove %s", build->directory);
	free(TAKE_PTR(build->directory));
	return r;
}

static int start_tar(struct image_build *build, const char *root, struct error *e)
{
	int ends[2];
	/* tar(1) goes from one directory to the next: a relative one would be looked for in the first. */
	cleanup(free) char *whole = realpath(root, NULL);
	if (!whole)
		return error_errno(e, "%s", root);
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_errno(e, "pipe");
	/* The root's "./x" becomes "rootfs/x"; metadata.yaml stays what it is. Links keep their target. */
	const char *arguments[] = { "tar", "--create", "--file=-", "--numeric-owner", "--xattrs",
		"--xattrs-include=*", "--acls", "--sparse", "--one-file-system",
		"--transform=flags=rSH;s,^\\.,rootfs,", "-C", build->directory, "metadata.yaml",
		"-C", whole, ".", NULL };
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
	int r = posix_spawnp(
		&build->pid, "tar", &actions, NULL, (char *const *)(uintptr_t)arguments, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	if (r != 0) {
		close(ends[0]);
		return error_code(e, -r, "start tar");
	}
	build->fd = ends[0];
	return 0;
}

bool image_build_is_unikernel(const struct options *options, struct error *e, int *ret_code)
{
	const char *type = options_text(options, "type");
	*ret_code = 0;
	if (type && strcmp(type, "unikernel") == 0)
		return true;
	if (type && strcmp(type, "container") != 0)
		*ret_code = error_set(
			e, -EINVAL, "--type: \"%s\" is neither container nor unikernel", type);
	else if (options_text(options, "entrypoint"))
		*ret_code = error_set(e, -EINVAL, "--entrypoint: only with --type unikernel");
	return false;
}

/* A root file system with nothing but the program. */
static int make_program_root(const char *root, const char *program, struct error *e)
{
	static const char *const folders[] = { "", "/bin", "/dev", "/etc", "/proc", "/root", "/run",
		"/sys", "/tmp", "/var" };
	const char *slash = strrchr(program, '/');
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		cleanup(free) char *path = alloc_printf("%s%s", root, folders[i]);
		if (mkdir(path, strcmp(folders[i], "/tmp") == 0 ? 01777 : 0755) < 0)
			return error_errno(e, "make %s", path);
	}
	cleanup(free) char *path = alloc_printf("%s/bin/%s", root, slash ? slash + 1 : program);
	cleanup(close) int from = open(program, O_RDONLY | O_CLOEXEC);
	cleanup(close) int to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	if (from < 0 || to < 0)
		return error_errno(e, "copy %s", program);
	int r = file_copy(from, to);
	return r < 0 ? error_code(e, r, "copy %s", program) : 0;
}

/* Into the directory: metadata.yaml, and for one program its root. */
static int fill(struct image_build *build, const char *what, bool is_directory,
	const struct options *options, struct error *e)
{
	int code;
	bool is_unikernel = image_build_is_unikernel(options, e, &code);
	const char *entrypoint = options_text(options, "entrypoint"), *slash = strrchr(what, '/');
	if (code < 0)
		return code;
	if (!is_unikernel && !is_directory)
		return error_set(
			e, -ENOTDIR, "%s: is no directory; 'berth image import' takes files", what);
	if (is_unikernel && is_directory && !entrypoint)
		return error_set(e, -EINVAL,
			"--entrypoint: which program of %s shall the unikernel run?", what);
	cleanup(free) char *root = alloc_printf("%s/root", build->directory);
	const char *name = slash ? slash + 1 : what;
	bool is_word = !strpbrk(name, " \t\n\"'\\");
	cleanup(free) char *alone = alloc_printf(is_word ? "/bin/%s" : "'/bin/%s'", name);
	if (is_unikernel && !entrypoint && strchr(name, '\''))
		return error_set(e, -EINVAL, "%s: its name has a quote; rename it", what);
	int r = write_metadata(build->directory, what,
		is_unikernel ? entrypoint ? entrypoint : alone : NULL, options, e);
	if (r == 0 && !is_directory)
		r = make_program_root(root, what, e);
	return r < 0 ? r : start_tar(build, is_directory ? what : root, e);
}

int image_build_start(
	struct image_build *build, const char *root, const struct options *options, struct error *e)
{
	*build = (struct image_build){ .fd = -1 };
	struct stat status;
	if (stat(root, &status) < 0)
		return error_errno(e, "%s", root);
	if (!S_ISDIR(status.st_mode) && !S_ISREG(status.st_mode))
		return error_set(e, -EINVAL, "%s: is neither a directory nor a file", root);
	char directory[] = "/tmp/berth-build.XXXXXX";
	if (!mkdtemp(directory))
		return error_errno(e, "make %s", directory);
	build->directory = alloc_text(directory);
	int r = fill(build, root, S_ISDIR(status.st_mode), options, e);
	if (r < 0) {
		struct error unseen = {};
		if (remove_directory(build, &unseen) < 0)
			error_prefix(e, r, "%s", unseen.text);
	}
	return r;
}

static int wait_for_tar(struct image_build *build)
{
	if (build->pid > 0) {
		int status = 0;
		while (waitpid(build->pid, &status, 0) < 0 && errno == EINTR)
			continue;
		build->pid = 0;
		build->is_whole = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	}
	return build->is_whole ? 0 : -EIO;
}

/* The end is only an end if tar says so: else the upload breaks off, and no image comes of it. */
static ssize_t read_archive(void *data, void *buffer, size_t size)
{
	struct image_build *build = data;
	ssize_t length;
	do
		length = read(build->fd, buffer, size);
	while (length < 0 && errno == EINTR);
	if (length < 0)
		return -errno;
	return length > 0 ? length : wait_for_tar(build);
}

struct client_source image_build_source(struct image_build *build)
{
	return (struct client_source){ read_archive, build, CLIENT_LENGTH_UNKNOWN };
}

int image_build_finish(struct image_build *build, struct error *e)
{
	/* A tar that still writes ends with its pipe. */
	close(build->fd);
	int failure = wait_for_tar(build);
	int r = remove_directory(build, e);
	return failure < 0 ? error_set(e, failure, "tar failed; no image was made") : r;
}
