/* SPDX-License-Identifier: Apache-2.0 */
/*
 * oci.c - config.json, member by member. Unknown members are ignored, as the specification wants.
 */
#include "container/oci/oci.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

#include "base/file.h"
#include "base/text.h"
#include "container/caps.h"
#include "container/oci/seccomp.h"
#include "model/json.h"

#define CONFIG_BYTES_MAX (4 * MIB)

static const struct {
	const char *name;
	uint64_t flag;
} namespaces[] = {
	{ "pid", CLONE_NEWPID },
	{ "network", CLONE_NEWNET },
	{ "mount", CLONE_NEWNS },
	{ "ipc", CLONE_NEWIPC },
	{ "uts", CLONE_NEWUTS },
	{ "user", CLONE_NEWUSER },
	{ "cgroup", CLONE_NEWCGROUP },
	{ "time", CLONE_NEWTIME },
};

static const struct {
	const char *name;
	uint64_t set;
	uint64_t clear;
	uint64_t propagation;
} options[] = {
	{ "ro", MOUNT_ATTR_RDONLY, 0, 0 },
	{ "rro", MOUNT_ATTR_RDONLY, 0, 0 },
	{ "rw", 0, MOUNT_ATTR_RDONLY, 0 },
	{ "nosuid", MOUNT_ATTR_NOSUID, 0, 0 },
	{ "suid", 0, MOUNT_ATTR_NOSUID, 0 },
	{ "nodev", MOUNT_ATTR_NODEV, 0, 0 },
	{ "dev", 0, MOUNT_ATTR_NODEV, 0 },
	{ "noexec", MOUNT_ATTR_NOEXEC, 0, 0 },
	{ "exec", 0, MOUNT_ATTR_NOEXEC, 0 },
	{ "noatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME, 0 },
	{ "relatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME, 0 },
	{ "strictatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME, 0 },
	{ "nodiratime", MOUNT_ATTR_NODIRATIME, 0, 0 },
	{ "nosymfollow", MOUNT_ATTR_NOSYMFOLLOW, 0, 0 },
	{ "private", 0, 0, MS_PRIVATE },
	{ "rprivate", 0, 0, MS_PRIVATE },
	{ "slave", 0, 0, MS_SLAVE },
	{ "rslave", 0, 0, MS_SLAVE },
	{ "shared", 0, 0, MS_SHARED },
	{ "rshared", 0, 0, MS_SHARED },
	{ "unbindable", 0, 0, MS_UNBINDABLE },
	{ "runbindable", 0, 0, MS_UNBINDABLE },
};

/* Options that say nothing to the new mount interface, or that others before us looked at. */
static const char *const ignored_options[] = { "defaults", "async", "sync", "dirsync", "diratime",
	"loud", "silent", "mand", "nomand", "iversion", "noiversion", "norelatime", "nostrictatime",
	"atime", "symfollow", "tmpcopyup", "notmpcopyup", "copy", "nocopy", "private-copy", "z",
	"Z", "U" };

static char *keep_text(struct oci_config *config, char *text)
{
	config->texts = alloc_resize(config->texts, config->text_count + 1, sizeof(char *));
	config->texts[config->text_count++] = text;
	return text;
}

static const char *text_of(const json_t *object, const char *field)
{
	return json_string_value(json_object_get(object, field));
}

static int words_of(const json_t *array, const char *path, const char ***ret, size_t *ret_count,
	struct error *e)
{
	size_t count = json_array_size(array);
	if (array && !json_is_array(array) && !json_is_null(array))
		return error_set(e, -EINVAL, "%s: an array of texts is wanted", path);
	if (count > CONTAINER_WORDS_MAX)
		return error_set(e, -EINVAL, "%s: more than %d", path, CONTAINER_WORDS_MAX);
	*ret = alloc_array(count + 1, const char *);
	for (size_t i = 0; i < count; i++) {
		(*ret)[i] = json_string_value(json_array_get(array, i));
		if (!(*ret)[i])
			return error_set(e, -EINVAL, "%s: item %zu is no text", path, i);
	}
	if (ret_count)
		*ret_count = count;
	return 0;
}

static int read_caps(const json_t *caps, struct container_caps *ret, struct error *e)
{
	const struct {
		const char *name;
		uint64_t *set;
	} sets[] = { { "bounding", &ret->bounding }, { "effective", &ret->effective },
		{ "permitted", &ret->permitted }, { "inheritable", &ret->inheritable },
		{ "ambient", &ret->ambient } };
	*ret = (struct container_caps){};
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		size_t at;
		json_t *name;
		json_array_foreach(json_object_get(caps, sets[i].name), at, name)
		{
			/* One that this kernel or version does not know cannot be given: left out. */
			if (json_is_string(name))
				*sets[i].set |= caps_bit(json_string_value(name));
			else
				return error_set(e, -EINVAL,
					"process.capabilities.%s: texts are wanted", sets[i].name);
		}
	}
	return 0;
}

static uint64_t limit_value(const json_t *value)
{
	/* -1, and what does not fit the parser's 63 bits, is "unlimited". */
	if (json_is_real(value) || json_integer_value(value) < 0)
		return UINT64_MAX;
	return (uint64_t)json_integer_value(value);
}

static int read_limits(const json_t *limits, struct container_process *p, struct error *e)
{
	size_t at;
	json_t *limit;
	uint64_t seen = 0;
	json_array_foreach(limits, at, limit)
	{
		const char *type = text_of(limit, "type");
		int resource =
			type && text_starts(type, "RLIMIT_") ? container_limit_number(type) : -1;
		if (resource < 0)
			return error_set(e, -EINVAL, "process.rlimits: there is no limit %s",
				type ?: "(none)");
		if (seen & UINT64_C(1) << resource)
			return error_set(e, -EINVAL, "process.rlimits: %s stands twice", type);
		seen |= UINT64_C(1) << resource;
		*CONTAINER_ADD(p->limits, p->limit_count) = (struct container_limit){
			.resource = resource,
			.soft = limit_value(json_object_get(limit, "soft")),
			.hard = limit_value(json_object_get(limit, "hard")),
		};
	}
	return 0;
}

static int read_user(
	const json_t *user, struct container_process *p, uint32_t **ret_groups, struct error *e)
{
	const json_t *groups = json_object_get(user, "additionalGids");
	size_t count = json_array_size(groups);
	p->user = (struct container_user){
		.uid = (uint32_t)json_integer_value(json_object_get(user, "uid")),
		.gid = (uint32_t)json_integer_value(json_object_get(user, "gid")),
		.umask = UINT32_MAX,
	};
	if (json_object_get(user, "umask"))
		p->user.umask = (uint32_t)json_integer_value(json_object_get(user, "umask"));
	if (count > CONTAINER_LIST_MAX)
		return error_set(e, -EINVAL, "process.user.additionalGids: too many");
	*ret_groups = alloc_array(count + 1, uint32_t);
	for (size_t i = 0; i < count; i++)
		(*ret_groups)[i] = (uint32_t)json_integer_value(json_array_get(groups, i));
	p->user.groups = *ret_groups;
	p->user.group_count = count;
	return 0;
}

int oci_read_process(
	const json_t *object, struct container_process *p, uint32_t **ret_groups, struct error *e)
{
	int r = words_of(json_object_get(object, "args"), "process.args", &p->args, NULL, e);
	if (r == 0)
		r = words_of(json_object_get(object, "env"), "process.env", &p->env, NULL, e);
	if (r == 0)
		r = read_user(json_object_get(object, "user"), p, ret_groups, e);
	const json_t *caps = json_object_get(object, "capabilities");
	if (r == 0 && caps)
		r = read_caps(caps, &p->caps, e);
	if (r == 0)
		r = read_limits(json_object_get(object, "rlimits"), p, e);
	if (r < 0)
		return r;
	p->cwd = text_of(object, "cwd") ?: "/";
	if (p->cwd[0] != '/')
		return error_set(e, -EINVAL, "process.cwd: an absolute path is wanted");
	if (!p->args[0])
		return error_set(e, -EINVAL, "process.args: a program is wanted");
	p->has_terminal = json_is_true(json_object_get(object, "terminal"));
	const json_t *size = json_object_get(object, "consoleSize");
	p->columns = (uint16_t)json_integer_value(json_object_get(size, "width"));
	p->rows = (uint16_t)json_integer_value(json_object_get(size, "height"));
	p->no_new_privileges = json_is_true(json_object_get(object, "noNewPrivileges"));
	const json_t *score = json_object_get(object, "oomScoreAdj");
	p->has_oom_score = score != NULL;
	p->oom_score_adj = (int32_t)json_integer_value(score);
	return 0;
}

static bool take_option(struct container_mount *mount, const char *option)
{
	if (text_equal(option, "bind") || text_equal(option, "rbind")) {
		mount->kind = MOUNT_BIND;
		mount->is_recursive = option[0] == 'r';
		return true;
	}
	if (text_equal(option, "idmap") || text_equal(option, "ridmap")) {
		mount->is_shifted = true;
		return true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(ignored_options); i++)
		if (text_equal(option, ignored_options[i]))
			return true;
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (!text_equal(option, options[i].name))
			continue;
		mount->clear |= options[i].clear;
		mount->set = (mount->set & ~options[i].clear) | options[i].set;
		if (options[i].propagation)
			mount->propagation = options[i].propagation;
		return true;
	}
	return false;
}

static int read_mount(
	struct oci_config *config, const char *bundle, const json_t *object, struct error *e)
{
	struct container *c = config->container;
	struct container_mount mount = { .fd = -1, .kind = MOUNT_NEW };
	const char *type = text_of(object, "type");
	mount.target = text_of(object, "destination");
	mount.source = text_of(object, "source");
	mount.fs = type ?: "none";
	if (!mount.target)
		return error_set(e, -EINVAL, "mounts: a destination is wanted");
	if (mount.target[0] != '/')
		mount.target = keep_text(config, alloc_printf("/%s", mount.target));
	cleanup(text_done) struct text rest = {};
	size_t at;
	json_t *option;
	json_array_foreach(json_object_get(object, "options"), at, option)
	{
		const char *word = json_string_value(option);
		if (word && !take_option(&mount, word))
			text_printf(&rest, "%s%s", rest.length ? "," : "", word);
	}
	if (text_equal(type, "bind"))
		mount.kind = MOUNT_BIND;
	if (mount.kind == MOUNT_BIND) {
		if (!mount.source)
			return error_set(
				e, -EINVAL, "mounts: %s: a source is wanted", mount.target);
		if (mount.source[0] != '/')
			mount.source =
				keep_text(config, alloc_printf("%s/%s", bundle, mount.source));
	} else if (text_equal(type, "cgroup") || text_equal(type, "cgroup2")) {
		mount.kind = MOUNT_CGROUP;
	} else {
		if (text_equal(type, "tmpfs") && text_equal(mount.target, "/dev"))
			mount.kind = MOUNT_DEV;
		mount.options = keep_text(config, alloc_text(text_str(&rest)));
	}
	*CONTAINER_ADD(c->mounts, c->mount_count) = mount;
	return 0;
}

static int read_mounts(struct oci_config *config, const char *bundle, struct error *e)
{
	const json_t *mounts = json_object_get(config->container->document, "mounts");
	if (json_array_size(mounts) > CONTAINER_MOUNTS_MAX)
		return error_set(e, -EINVAL, "mounts: more than %d", CONTAINER_MOUNTS_MAX);
	int r = 0;
	size_t at;
	json_t *mount;
	json_array_foreach(mounts, at, mount)
	{
		r = read_mount(config, bundle, mount, e);
		if (r < 0)
			return r;
	}
	return r;
}

static int read_namespaces(struct container *c, const json_t *linux_, struct error *e)
{
	size_t at;
	json_t *item;
	json_array_foreach(json_object_get(linux_, "namespaces"), at, item)
	{
		const char *type = text_of(item, "type"), *path = text_of(item, "path");
		uint64_t flag = 0;
		for (size_t i = 0; i < ARRAY_SIZE(namespaces); i++)
			if (text_equal(type, namespaces[i].name))
				flag = namespaces[i].flag;
		if (!flag)
			return error_set(e, -EINVAL, "linux.namespaces: there is no type %s",
				type ?: "(none)");
		uint64_t joined = 0;
		for (size_t i = 0; i < c->join_count; i++)
			joined |= c->joins[i].type;
		if ((c->namespaces | joined) & flag)
			return error_set(e, -EINVAL, "linux.namespaces: %s stands twice", type);
		if (path && (flag == CLONE_NEWUSER || flag == CLONE_NEWNS))
			return error_set(e, -EOPNOTSUPP,
				"linux.namespaces: a %s namespace cannot be joined by its path",
				type);
		if (path)
			*CONTAINER_ADD(c->joins, c->join_count) =
				(struct container_join){ flag, path };
		else
			c->namespaces |= flag;
	}
	if (!(c->namespaces & CLONE_NEWNS))
		return error_set(e, -EINVAL, "linux.namespaces: a new mount namespace is wanted");
	return 0;
}

static int read_ids(const json_t *array, const char *field, struct id_range **ranges, size_t *count,
	struct error *e)
{
	size_t at;
	json_t *item;
	json_array_foreach(array, at, item)
	{
		json_int_t inside = json_integer_value(json_object_get(item, "containerID"));
		json_int_t outside = json_integer_value(json_object_get(item, "hostID"));
		json_int_t size = json_integer_value(json_object_get(item, "size"));
		if (inside < 0 || outside < 0 || size < 1 || inside + size > UINT32_MAX ||
			outside + size > UINT32_MAX || *count >= CONTAINER_LIST_MAX)
			return error_set(e, -EINVAL, "linux.%s: a range that cannot be", field);
		*CONTAINER_ADD(*ranges, *count) =
			(struct id_range){ (uint32_t)inside, (uint32_t)outside, (uint32_t)size };
	}
	return 0;
}

static int read_devices(struct container *c, const json_t *array, struct error *e)
{
	size_t at;
	json_t *item;
	json_array_foreach(array, at, item)
	{
		const char *path = text_of(item, "path"), *type = text_of(item, "type");
		if (!path || !type || !strchr("cubp", type[0]) || type[1] != '\0' || !type[0])
			return error_set(e, -EINVAL, "linux.devices: a path and a type are wanted");
		if (c->device_count >= CONTAINER_LIST_MAX)
			return error_set(e, -EINVAL, "linux.devices: too many");
		const json_t *mode = json_object_get(item, "fileMode");
		*CONTAINER_ADD(c->devices, c->device_count) = (struct container_device){
			.path = path,
			.type = type[0] == 'u' ? 'c' : type[0],
			.major = (uint32_t)json_integer_value(json_object_get(item, "major")),
			.minor = (uint32_t)json_integer_value(json_object_get(item, "minor")),
			.mode = mode ? (uint32_t)json_integer_value(mode) & 07777 : 0666,
			.uid = (uint32_t)json_integer_value(json_object_get(item, "uid")),
			.gid = (uint32_t)json_integer_value(json_object_get(item, "gid")),
		};
	}
	return 0;
}

static int read_linux(struct oci_config *config, const json_t *linux_, struct error *e)
{
	struct container *c = config->container;
	int r = read_namespaces(c, linux_, e);
	if (r == 0)
		r = read_ids(json_object_get(linux_, "uidMappings"), "uidMappings", &c->uids,
			&c->uid_count, e);
	if (r == 0)
		r = read_ids(json_object_get(linux_, "gidMappings"), "gidMappings", &c->gids,
			&c->gid_count, e);
	if (r == 0 && (c->namespaces & CLONE_NEWUSER) && (!c->uid_count || !c->gid_count))
		r = error_set(e, -EINVAL, "linux.uidMappings: a user namespace needs them");
	if (r == 0 && !(c->namespaces & CLONE_NEWUSER) && (c->uid_count || c->gid_count))
		r = error_set(e, -EINVAL, "linux.uidMappings: there is no user namespace");
	if (r == 0)
		r = read_devices(c, json_object_get(linux_, "devices"), e);
	if (r == 0)
		r = words_of(json_object_get(linux_, "maskedPaths"), "linux.maskedPaths",
			&c->masked, NULL, e);
	if (r == 0)
		r = words_of(json_object_get(linux_, "readonlyPaths"), "linux.readonlyPaths",
			&c->readonly, NULL, e);
	if (r == 0)
		r = oci_read_seccomp(json_object_get(linux_, "seccomp"), &config->filter,
			&c->process.filter_length, &c->process.filter_flags, e);
	if (r < 0)
		return r;
	c->process.filter = config->filter;
	c->sysctls = json_object_get(linux_, "sysctl");
	config->cgroups_path = text_of(linux_, "cgroupsPath");
	config->resources = json_object_get(linux_, "resources");
	const char *propagation = text_of(linux_, "rootfsPropagation");
	for (size_t i = 0; propagation && i < ARRAY_SIZE(options); i++)
		if (options[i].propagation && text_equal(propagation, options[i].name))
			c->root.propagation = options[i].propagation;
	if (propagation && *propagation && !c->root.propagation)
		return error_set(
			e, -EINVAL, "linux.rootfsPropagation: there is no %s", propagation);
	if (json_object_get(linux_, "intelRdt"))
		return error_set(e, -EOPNOTSUPP, "linux.intelRdt: not supported");
	return 0;
}

static int read_root(struct oci_config *config, const char *bundle, struct error *e)
{
	const json_t *root = json_object_get(config->container->document, "root");
	const char *path = text_of(root, "path");
	if (!path || !*path)
		return error_set(e, -EINVAL, "root.path: missing");
	config->container->root.plain =
		path[0] == '/' ? path : keep_text(config, alloc_printf("%s/%s", bundle, path));
	config->container->root.is_readonly = json_is_true(json_object_get(root, "readonly"));
	return 0;
}

static int read_all(struct oci_config *config, const char *bundle, struct error *e)
{
	struct container *c = config->container;
	const json_t *document = c->document;
	config->version = text_of(document, "ociVersion");
	if (!config->version || !text_starts(config->version, "1."))
		return error_set(e, -EINVAL, "ociVersion: 1.x is wanted");
	const json_t *process = json_object_get(document, "process");
	c->process.user.umask = UINT32_MAX;
	int r = read_root(config, bundle, e);
	if (r == 0 && process)
		r = oci_read_process(process, &c->process, &config->groups, e);
	if (r == 0)
		r = read_mounts(config, bundle, e);
	if (r == 0)
		r = read_linux(config, json_object_get(document, "linux"), e);
	if (r < 0)
		return r;
	c->hostname = text_of(document, "hostname");
	c->domainname = text_of(document, "domainname");
	if (c->hostname && !(c->namespaces & CLONE_NEWUTS) && c->join_count == 0)
		return error_set(e, -EINVAL, "hostname: there is no uts namespace of its own");
	config->hooks = json_object_get(document, "hooks");
	config->annotations = json_object_get(document, "annotations");
	const char *apparmor = text_of(process, "apparmorProfile");
	const char *selinux = text_of(process, "selinuxLabel");
	if (apparmor && *apparmor && access("/sys/kernel/security/apparmor", F_OK) < 0)
		return error_set(
			e, -EOPNOTSUPP, "process.apparmorProfile: this host has no AppArmor");
	if (apparmor && *apparmor)
		return error_set(e, -EOPNOTSUPP, "process.apparmorProfile: not supported");
	if (selinux && *selinux)
		return error_set(e, -EOPNOTSUPP, "process.selinuxLabel: not supported");
	return 0;
}

/*
 * Numbers from 2^63 on do not fit the parser's integers. As its negative of the same 64 bits each does,
 * in no more characters, and is read back exactly by a cast; limits take what is negative as none.
 */
static void fold_large_numbers(char *text)
{
	bool in_string = false;
	for (char *at = text; *at; at++) {
		if (in_string && *at == '\\' && at[1])
			at++;
		else if (*at == '"')
			in_string = !in_string;
		else if (!in_string && *at >= '0' && *at <= '9') {
			size_t length = strspn(at, "0123456789");
			char *end = NULL;
			errno = 0;
			unsigned long long value = strtoull(at, &end, 10);
			if (length >= 19 && length <= 20 && errno == 0 && value > INT64_MAX) {
				char folded[24];
				int n = snprintf(folded, sizeof(folded), "%-*lld", (int)length,
					(long long)value);
				/* The smallest of them has one character more than its 19 digits. */
				if (n == (int)length)
					memcpy(at, folded, length);
			}
			at += length - 1;
		}
	}
}

int oci_read(const char *bundle, struct oci_config *ret, struct error *e)
{
	cleanup(oci_done) struct oci_config config = { .container = alloc(struct container) };
	cleanup(free) char *path = alloc_printf("%s/config.json", bundle);
	cleanup(free) char *text = NULL;
	size_t length;
	int r = file_read(AT_FDCWD, path, CONFIG_BYTES_MAX, &text, &length, e);
	json_error_t why;
	if (r == 0) {
		fold_large_numbers(text);
		config.container->document = json_loadb(text, length, JSON_REJECT_DUPLICATES, &why);
		if (!config.container->document)
			r = error_set(e, -EINVAL, "line %d: %s", why.line, why.text);
	}
	if (r == 0)
		r = read_all(&config, bundle, e);
	if (r < 0)
		return error_prefix(e, r, "%s", path);
	*ret = config;
	config = (struct oci_config){};
	return 0;
}

void oci_done(struct oci_config *config)
{
	for (size_t i = 0; i < config->text_count; i++)
		free(config->texts[i]);
	free(config->texts);
	free(config->groups);
	free(config->filter);
	container_free(config->container);
	*config = (struct oci_config){};
}
