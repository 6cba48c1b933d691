/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rights.c - from the rights of the set-up to those of the container's program.
 */
#include "container/rights.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/text.h"
#include "container/caps.h"

#define PATH_USUAL "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

int rights_find_user(
	const struct container_process *process, int root, struct user *ret, struct error *e)
{
	if (process->user.name)
		return user_find_in(root, process->user.name, ret, e);
	if (process->user.group_count > USERS_GROUPS_MAX)
		return error_set(e, -E2BIG, "user: more than %d groups", USERS_GROUPS_MAX);
	*ret = (struct user){ .uid = process->user.uid, .gid = process->user.gid, .home = "/" };
	for (size_t i = 0; i < process->user.group_count; i++)
		ret->groups[ret->group_count++] = process->user.groups[i];
	return 0;
}

int rights_set_limits(const struct container_process *process, bool say, struct error *e)
{
	for (size_t i = 0; i < process->limit_count; i++) {
		const struct container_limit *limit = &process->limits[i];
		struct rlimit ours, value = { .rlim_cur = limit->soft, .rlim_max = limit->hard };
		if (getrlimit((__rlimit_resource_t)limit->resource, &ours) < 0)
			return error_errno(e, "read the resource limit %d", limit->resource);
		if (value.rlim_cur > value.rlim_max)
			return error_set(e, -EINVAL, "resource limit %d: soft is above hard",
				limit->resource);
		if (setrlimit((__rlimit_resource_t)limit->resource, &value) == 0)
			continue;
		if (errno != EPERM || value.rlim_max <= ours.rlim_max)
			return error_errno(e, "set the resource limit %d", limit->resource);
		/* We may not raise it (no CAP_SYS_RESOURCE): as far as it goes, and say so. */
		value.rlim_max = ours.rlim_max;
		if (value.rlim_cur > value.rlim_max)
			value.rlim_cur = value.rlim_max;
		if (setrlimit((__rlimit_resource_t)limit->resource, &value) < 0)
			return error_errno(e, "set the resource limit %d", limit->resource);
		if (say)
			(void)fprintf(stderr,
				"berth-container: resource limit %d: cut to %" PRIu64
				", the most we have\n",
				limit->resource, (uint64_t)value.rlim_max);
	}
	return 0;
}

int rights_place_stdio(const int stdio[3], int terminal, struct error *e)
{
	int from[3];
	for (int i = 0; i < 3; i++) {
		int fd = terminal >= 0 ? terminal : stdio[i];
		/* Out of the way of the three numbers first. */
		from[i] = fd < 0 ? open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY)
				 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (from[i] < 0)
			return error_errno(e, "standard descriptors");
	}
	for (int i = 0; i < 3; i++)
		if (dup2(from[i], i) < 0)
			return error_errno(e, "standard descriptors");
	return 0;
}

int rights_enter_cwd(const char *cwd, struct error *e)
{
	if (chdir(cwd) < 0)
		return error_errno(e, "enter the working directory %s", cwd);
	/* A descriptor that leads out of the root makes a path that does not start at it. */
	char path[PATH_MAX];
	long length = syscall(SYS_getcwd, path, sizeof(path));
	if (length < 0 || path[0] != '/')
		return error_set(e, -EPERM, "working directory %s: outside the container", cwd);
	return 0;
}

static int load_filter(const struct container_process *process, struct error *e)
{
	if (!process->filter)
		return 0;
	struct sock_fprog program = {
		.len = (unsigned short)process->filter_length,
		.filter = (struct sock_filter *)(uintptr_t)process->filter,
	};
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, process->filter_flags, &program) < 0)
		return error_errno(e, "load the seccomp filter");
	return 0;
}

int rights_take(const struct container_process *process, const struct user *user, struct error *e)
{
	umask(process->user.umask == UINT32_MAX ? 022 : (mode_t)process->user.umask & 0777);
	int r = caps_bound(process->caps.bounding, e);
	if (r < 0)
		return r;
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return error_errno(e, "keep capabilities");
	if (setgroups(user->group_count, user->groups) < 0)
		return error_errno(e, "set the supplementary groups");
	if (setresgid(user->gid, user->gid, user->gid) < 0)
		return error_errno(e, "become group %u", user->gid);
	if (setresuid(user->uid, user->uid, user->uid) < 0)
		return error_errno(e, "become user %u", user->uid);
	/* Without no_new_privs a filter needs CAP_SYS_ADMIN, so it comes before that is dropped. */
	struct container_caps whole = { .permitted = caps_ours(), .effective = CAP_ALL };
	if (!process->no_new_privileges) {
		r = caps_apply(&whole, e);
		if (r == 0)
			r = load_filter(process, e);
	}
	if (r == 0)
		r = caps_apply(&process->caps, e);
	if (r < 0 || !process->no_new_privileges)
		return r;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return error_errno(e, "forbid new privileges");
	return load_filter(process, e);
}

static const char *variable(const char *const *env, const char *name)
{
	size_t length = strlen(name);
	for (; env && *env; env++)
		if (strncmp(*env, name, length) == 0 && (*env)[length] == '=')
			return *env + length + 1;
	return NULL;
}

static void reset_signals(void)
{
	sigset_t none;
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGPIPE, SIG_DFL);
}

typedef int attempt_call(const char *file, char *const *argv, char *const *envp);

/* Makes the attempt at each place where the program may be; the most telling failure. */
static int at_each_place(const char *const *args, const char *const *env, attempt_call *attempt)
{
	static const char *const no_env[] = { NULL };
	char *const *argv = (char *const *)(uintptr_t)args;
	char *const *envp = (char *const *)(uintptr_t)(env ? env : no_env);
	if (strchr(args[0], '/'))
		return attempt(args[0], argv, envp) == 0 ? 0 : -errno;
	int code = -ENOENT;
	const char *path = variable(env, "PATH") ?: PATH_USUAL;
	for (const char *at = path; *at; at += strcspn(at, ":"), at += *at == ':') {
		size_t length = strcspn(at, ":");
		char file[PATH_MAX];
		int n = snprintf(file, sizeof(file), "%.*s/%s", (int)length, at, args[0]);
		if (length == 0 || n < 0 || (size_t)n >= sizeof(file))
			continue;
		if (attempt(file, argv, envp) == 0)
			return 0;
		if (errno != ENOENT && errno != ENOTDIR)
			code = -errno;
	}
	return code;
}

static int look(const char *file, char *const *argv, char *const *envp)
{
	(void)argv;
	(void)envp;
	struct stat stat_;
	if (stat(file, &stat_) < 0)
		return -1;
	if (S_ISREG(stat_.st_mode) && (stat_.st_mode & 0111))
		return 0;
	errno = EACCES;
	return -1;
}

int rights_look_up(const char *const *args, const char *const *env, struct error *e)
{
	int r = at_each_place(args, env, look);
	return r < 0 ? error_code(e, r, "execute %s", args[0]) : 0;
}

int rights_execute(const char *const *args, const char *const *env, struct error *e)
{
	reset_signals();
	return error_code(e, at_each_place(args, env, execve), "execute %s", args[0]);
}
