/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan.c - the plan document, member by member; an unknown one is refused.
 */
#include "container/plan.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>

#include "base/file.h"
#include "base/text.h"
#include "container/caps.h"
#include "container/profile.h"
#include "model/json.h"

#define KNOWN(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define ALL_NAMESPACES \
	(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | \
		CLONE_NEWCGROUP | CLONE_NEWTIME)

static int refuse_many(const json_t *array, size_t limit, const char *path, struct error *e)
{
	if (json_array_size(array) <= limit)
		return 0;
	return error_set(e, -EINVAL, "%s: more than %zu", path, limit);
}

/* A NULL-terminated array of borrowed texts from a member that is an array of texts. */
static int read_texts(const json_t *object, const char *path, const char *field, size_t limit,
	const char ***ret, struct error *e)
{
	json_t *array = NULL;
	int r = json_read_text_array(object, path, field, &array, e);
	if (r == 0 && array)
		r = refuse_many(array, limit, field, e);
	if (r < 0)
		return r;
	size_t count = json_array_size(array);
	*ret = alloc_array(count + 1, const char *);
	for (size_t i = 0; i < count; i++)
		(*ret)[i] = json_string_value(json_array_get(array, i));
	return 0;
}

static int read_u32(
	const json_t *object, const char *path, const char *field, uint32_t *ret, struct error *e)
{
	uint64_t value = *ret;
	int r = json_read_u64(object, path, field, &value, e);
	if (r < 0)
		return r;
	if (value > UINT32_MAX)
		return error_set(e, -EINVAL, "%s.%s: too large", path, field);
	*ret = (uint32_t)value;
	return 0;
}

static int require_absolute(const char *path, const char *field, const char *value, struct error *e)
{
	if (value && value[0] == '/')
		return 0;
	return error_set(e, -EINVAL, "%s.%s: an absolute path is wanted", path, field);
}

static int read_ids(struct container *c, struct error *e)
{
	json_t *map = NULL;
	struct id_range range = {};
	int r = json_read_object(c->document, "", "idmap", &map, e);
	if (r < 0 || !map)
		return r;
	r = json_read_known(map, "idmap", KNOWN("base", "count"), e);
	if (r == 0)
		r = read_u32(map, "idmap", "base", &range.outside, e);
	if (r == 0)
		r = read_u32(map, "idmap", "count", &range.count, e);
	if (r < 0)
		return r;
	if (range.outside == 0 || range.count == 0 || range.count > UINT32_MAX - range.outside)
		return error_set(e, -EINVAL, "idmap: base and count must be above 0 and fit");
	*CONTAINER_ADD(c->uids, c->uid_count) = range;
	*CONTAINER_ADD(c->gids, c->gid_count) = range;
	return 0;
}

/* {"type": "directory" or "image", "path", "fs"} */
static int read_volume(const json_t *object, const char *path, const char *field,
	const char **ret_path, const char **ret_fs, struct error *e)
{
	json_t *volume = NULL;
	int r = json_read_object(object, path, field, &volume, e);
	if (r < 0 || !volume)
		return r;
	const char *type = NULL, *fs = NULL, *where = NULL;
	r = json_read_known(volume, field, KNOWN("type", "path", "fs"), e);
	if (r == 0)
		r = json_require_text(volume, field, "type", &type, e);
	if (r == 0)
		r = json_require_text(volume, field, "path", &where, e);
	if (r == 0)
		r = require_absolute(field, "path", where, e);
	if (r == 0)
		r = json_read_text(volume, field, "fs", &fs, e);
	if (r < 0)
		return r;
	bool is_image = text_equal(type, "image");
	if (!is_image && !text_equal(type, "directory"))
		return error_set(e, -EINVAL, "%s.type: directory or image is wanted", field);
	*ret_path = where;
	*ret_fs = is_image ? fs ?: "ext4" : NULL;
	return 0;
}

static int read_root(struct container *c, struct error *e)
{
	json_t *root = NULL;
	int r = json_read_object(c->document, "", "root", &root, e);
	if (r == 0 && !root)
		r = error_set(e, -EINVAL, "root: missing");
	if (r == 0)
		r = json_read_known(root, "root",
			KNOWN("layers", "volume", "readonly", "volatile", "plain"), e);
	if (r == 0)
		r = read_texts(root, "root", "layers", CONTAINER_LAYERS_MAX, &c->root.layers, e);
	if (r == 0)
		r = read_volume(root, "root", "volume", &c->root.volume, &c->root.fs, e);
	if (r == 0)
		r = json_read_bool(root, "root", "readonly", &c->root.is_readonly, e);
	if (r == 0)
		r = json_read_bool(root, "root", "volatile", &c->root.is_volatile, e);
	if (r == 0)
		r = json_read_text(root, "root", "plain", &c->root.plain, e);
	if (r < 0)
		return r;
	while (c->root.layers && c->root.layers[c->root.layer_count]) {
		r = require_absolute("root", "layers", c->root.layers[c->root.layer_count], e);
		if (r < 0)
			return r;
		c->root.layer_count++;
	}
	if (!c->root.volume && c->root.layer_count == 0 && !c->root.plain)
		return error_set(e, -EINVAL, "root: a volume, layers or a directory is wanted");
	return 0;
}

static int read_init(struct container *c, struct error *e)
{
	json_t *init = NULL;
	const char *signal = NULL;
	struct container_process *p = &c->process;
	int r = json_read_object(c->document, "", "init", &init, e);
	if (r == 0 && !init)
		r = error_set(e, -EINVAL, "init: missing");
	if (r == 0)
		r = json_read_known(init, "init",
			KNOWN("args", "environment", "cwd", "user", "system", "stop_signal",
				"terminal"),
			e);
	if (r == 0)
		r = read_texts(init, "init", "args", CONTAINER_WORDS_MAX, &p->args, e);
	if (r == 0)
		r = read_texts(init, "init", "environment", CONTAINER_WORDS_MAX, &p->env, e);
	p->cwd = "/";
	p->user.name = "0:0";
	c->is_system = true;
	p->has_terminal = true;
	if (r == 0)
		r = json_read_text(init, "init", "cwd", &p->cwd, e);
	if (r == 0)
		r = require_absolute("init", "cwd", p->cwd, e);
	if (r == 0)
		r = json_read_text(init, "init", "user", &p->user.name, e);
	if (r == 0)
		r = json_read_bool(init, "init", "system", &c->is_system, e);
	if (r == 0)
		r = json_read_bool(init, "init", "terminal", &p->has_terminal, e);
	if (r == 0)
		r = json_read_text(init, "init", "stop_signal", &signal, e);
	if (r < 0)
		return r;
	if (!p->args[0] || !p->args[0][0])
		return error_set(e, -EINVAL, "init.args: a program is wanted");
	c->stop_signal = c->is_system ? SIGRTMIN + 3 : SIGTERM;
	if (signal && (c->stop_signal = container_signal_number(signal)) < 0)
		return error_set(e, -EINVAL, "init.stop_signal: %s is no signal", signal);
	p->user.umask = UINT32_MAX;
	return 0;
}

static int read_mount(struct container *c, const json_t *object, struct error *e)
{
	static const char path[] = "mounts";
	struct container_mount *mount = CONTAINER_ADD(c->mounts, c->mount_count);
	mount->fd = -1;
	const char *type = NULL, *volume_fs = NULL;
	uint64_t size_bytes = 0;
	bool is_readonly = false;
	int r = json_read_known(object, path,
		KNOWN("device", "type", "source", "target", "readonly", "recursive", "shift",
			"optional", "size_bytes"),
		e);
	if (r == 0)
		r = json_require_text(object, path, "type", &type, e);
	if (r == 0)
		r = json_require_text(object, path, "target", &mount->target, e);
	if (r == 0)
		r = require_absolute(path, "target", mount->target, e);
	if (r == 0)
		r = json_read_bool(object, path, "readonly", &is_readonly, e);
	if (r == 0)
		r = json_read_bool(object, path, "recursive", &mount->is_recursive, e);
	if (r == 0)
		r = json_read_bool(object, path, "shift", &mount->is_shifted, e);
	if (r == 0)
		r = json_read_bool(object, path, "optional", &mount->is_optional, e);
	if (r == 0)
		r = json_read_u64(object, path, "size_bytes", &size_bytes, e);
	if (r < 0)
		return r;
	mount->set = MOUNT_ATTR_NODEV | (is_readonly ? MOUNT_ATTR_RDONLY : 0);
	if (text_equal(type, "bind")) {
		mount->kind = MOUNT_BIND;
		r = json_require_text(object, path, "source", &mount->source, e);
		return r < 0 ? r : require_absolute(path, "source", mount->source, e);
	}
	if (text_equal(type, "volume")) {
		mount->kind = MOUNT_VOLUME;
		r = read_volume(object, path, "source", &mount->source, &volume_fs, e);
		if (r == 0 && !mount->source)
			r = error_set(e, -EINVAL, "mounts.source: missing");
		mount->fs = volume_fs;
		mount->is_image = volume_fs != NULL;
		return r;
	}
	if (!text_equal(type, "tmpfs"))
		return error_set(e, -EINVAL, "mounts.type: bind, volume or tmpfs is wanted");
	mount->kind = MOUNT_NEW;
	mount->fs = "tmpfs";
	mount->set |= MOUNT_ATTR_NOSUID;
	/* The text lives as long as the document. */
	json_t *options = size_bytes ? json_sprintf("mode=1777,size=%ju", (uintmax_t)size_bytes)
				     : json_string("mode=1777");
	json_object_set_new((json_t *)(uintptr_t)object, "options", options);
	mount->options = json_string_value(options);
	return 0;
}

static int read_device(struct container *c, const json_t *object, struct error *e)
{
	static const char path[] = "devices";
	struct container_device *device = CONTAINER_ADD(c->devices, c->device_count);
	const char *type = NULL;
	device->mode = 0660;
	int r = json_read_known(object, path,
		KNOWN("device", "path", "source", "type", "major", "minor", "mode", "uid", "gid",
			"optional"),
		e);
	if (r == 0)
		r = json_require_text(object, path, "path", &device->path, e);
	if (r == 0)
		r = require_absolute(path, "path", device->path, e);
	if (r == 0)
		r = json_require_text(object, path, "type", &type, e);
	if (r == 0)
		r = json_read_text(object, path, "source", &device->source, e);
	if (r == 0)
		r = read_u32(object, path, "major", &device->major, e);
	if (r == 0)
		r = read_u32(object, path, "minor", &device->minor, e);
	if (r == 0)
		r = read_u32(object, path, "mode", &device->mode, e);
	if (r == 0)
		r = read_u32(object, path, "uid", &device->uid, e);
	if (r == 0)
		r = read_u32(object, path, "gid", &device->gid, e);
	if (r == 0)
		r = json_read_bool(object, path, "optional", &device->is_optional, e);
	if (r < 0)
		return r;
	if (!text_equal(type, "c") && !text_equal(type, "b"))
		return error_set(e, -EINVAL, "devices.type: c or b is wanted");
	device->type = type[0];
	device->mode &= 0777;
	return 0;
}

static int read_file_item(struct container *c, const json_t *object, struct error *e)
{
	static const char path[] = "files";
	struct container_file *file = CONTAINER_ADD(c->files, c->file_count);
	file->mode = 0644;
	int r = json_read_known(object, path, KNOWN("path", "content", "mode", "create_only"), e);
	if (r == 0)
		r = json_require_text(object, path, "path", &file->path, e);
	if (r == 0)
		r = require_absolute(path, "path", file->path, e);
	file->content = "";
	if (r == 0)
		r = json_read_text(object, path, "content", &file->content, e);
	if (r == 0)
		r = read_u32(object, path, "mode", &file->mode, e);
	if (r == 0)
		r = json_read_bool(object, path, "create_only", &file->is_only_new, e);
	file->mode &= 0777;
	return r;
}

static int read_nic_host(const json_t *object, struct container_nic *nic, struct error *e)
{
	static const char path[] = "nics.host";
	int r = json_read_known(object, path,
		KNOWN("name", "bridge", "shaper", "isolated", "into_bits", "out_of_bits"), e);
	if (r == 0)
		r = json_require_text(object, path, "name", &nic->host.name, e);
	if (r == 0)
		r = json_require_text(object, path, "bridge", &nic->host.bridge, e);
	if (r == 0)
		r = json_read_text(object, path, "shaper", &nic->host.shaper, e);
	if (r == 0)
		r = json_read_bool(object, path, "isolated", &nic->host.is_isolated, e);
	if (r == 0)
		r = json_read_u64(object, path, "into_bits", &nic->host.into_bits, e);
	if (r == 0)
		r = json_read_u64(object, path, "out_of_bits", &nic->host.out_of_bits, e);
	if (r == 0 && !nic->mac)
		r = error_set(e, -EINVAL, "nics.mac: needed with nics.host");
	return r;
}

static int read_nic(struct container *c, const json_t *object, struct error *e)
{
	static const char path[] = "nics";
	struct container_nic *nic = CONTAINER_ADD(c->nics, c->nic_count);
	json_t *addresses = NULL, *gateways = NULL, *host = NULL;
	int r = json_read_known(object, path,
		KNOWN("device", "link", "host", "name", "mac", "mtu", "addresses", "gateways"), e);
	if (r == 0)
		r = json_read_object(object, path, "host", &host, e);
	if (r == 0 && !host)
		r = json_require_text(object, path, "link", &nic->link, e);
	if (r == 0)
		r = json_require_text(object, path, "name", &nic->name, e);
	if (r == 0)
		r = json_read_text(object, path, "mac", &nic->mac, e);
	if (r == 0)
		r = read_u32(object, path, "mtu", &nic->mtu, e);
	if (r == 0)
		r = json_read_text_array(object, path, "addresses", &addresses, e);
	if (r == 0)
		r = json_read_text_array(object, path, "gateways", &gateways, e);
	if (r == 0 && host)
		r = read_nic_host(host, nic, e);
	nic->addresses = addresses;
	nic->gateways = gateways;
	return r;
}

static int read_limit(struct container *c, const json_t *object, struct error *e)
{
	static const char path[] = "rlimits";
	const char *type = NULL;
	int64_t soft = -1, hard = -1;
	int r = json_read_known(object, path, KNOWN("type", "soft", "hard"), e);
	if (r == 0)
		r = json_require_text(object, path, "type", &type, e);
	if (r == 0)
		r = json_read_i64(object, path, "soft", &soft, e);
	if (r == 0)
		r = json_read_i64(object, path, "hard", &hard, e);
	if (r < 0)
		return r;
	int resource = container_limit_number(type);
	if (resource < 0)
		return error_set(e, -EINVAL, "rlimits.type: there is no limit %s", type);
	*CONTAINER_ADD(c->process.limits, c->process.limit_count) = (struct container_limit){
		.resource = resource,
		.soft = soft < 0 ? UINT64_MAX : (uint64_t)soft,
		.hard = hard < 0 ? UINT64_MAX : (uint64_t)hard,
	};
	return 0;
}

typedef int read_item(struct container *container, const json_t *object, struct error *e);

static int read_list(struct container *c, const char *field, read_item *read, struct error *e)
{
	json_t *array = NULL;
	int r = json_read_array(c->document, "", field, &array, e);
	if (r == 0)
		r = refuse_many(array, CONTAINER_LIST_MAX, field, e);
	for (size_t i = 0; r == 0 && i < json_array_size(array); i++) {
		const json_t *item = json_array_get(array, i);
		if (!json_is_object(item))
			return error_set(e, -EINVAL, "%s: item %zu is no object", field, i);
		r = read(c, item, e);
	}
	return r;
}

static int read_caps(struct container *c, bool is_privileged, struct error *e)
{
	json_t *names = NULL;
	int r = json_read_text_array(c->document, "", "capabilities", &names, e);
	if (r < 0)
		return r;
	/* Below a user namespace, all of them reach no further than it does. */
	uint64_t caps = !c->is_system ? caps_application
		: is_privileged       ? caps_system_privileged
				      : caps_system;
	if (names)
		caps = 0;
	for (size_t i = 0; i < json_array_size(names); i++) {
		const char *name = json_string_value(json_array_get(names, i));
		uint64_t bit = caps_bit(name);
		if (!bit)
			return error_set(e, -EINVAL, "capabilities: there is no %s", name);
		caps |= bit;
	}
	c->process.caps = caps_sets(caps);
	return 0;
}

static int read_security(struct container *c, struct error *e)
{
	bool is_privileged = false, has_nesting = false;
	const char *seccomp = "default";
	int r = json_read_bool(c->document, "", "privileged", &is_privileged, e);
	if (r == 0)
		r = json_read_bool(c->document, "", "nesting", &has_nesting, e);
	if (r == 0)
		r = json_read_text(c->document, "", "seccomp", &seccomp, e);
	if (r == 0)
		r = read_caps(c, is_privileged, e);
	if (r < 0)
		return r;
	if (c->uid_count == 0 && !is_privileged)
		return error_set(e, -EINVAL, "idmap: missing, and the container is not privileged");
	c->process.no_new_privileges = false;
	json_t *wanted = json_object_get(c->document, "no_new_privileges");
	if (wanted)
		c->process.no_new_privileges = json_is_true(wanted);
	else
		c->process.no_new_privileges = !c->is_system;

	bool is_application =
		!c->is_system && !(c->process.caps.bounding & caps_bit("CAP_SYS_ADMIN"));
	enum profile profile = has_nesting || text_equal(seccomp, "nesting") ? PROFILE_NESTING
		: is_application                                             ? PROFILE_APPLICATION
									     : PROFILE_SYSTEM;
	if (text_equal(seccomp, "none"))
		return 0;
	if (!text_equal(seccomp, "default") && !text_equal(seccomp, "nesting"))
		return error_set(e, -EINVAL, "seccomp: default, nesting or none is wanted");
	c->process.filter = profiles[profile].filter;
	c->process.filter_length = profiles[profile].length;
	return 0;
}

static void add_paths(struct container *c)
{
	/*
	 * Below a user namespace the system container's own sysctls are its own, and what is the host's
	 * belongs to an owner that it does not have.
	 */
	bool keeps_sys = c->is_system && c->uid_count > 0;
	size_t count = 0;
	c->masked = alloc_array(64, const char *);
	for (; container_masked[count]; count++)
		c->masked[count] = container_masked[count];
	c->readonly = alloc_array(64, const char *);
	count = 0;
	for (size_t i = 0; container_readonly[i]; i++)
		if (!keeps_sys || !text_equal(container_readonly[i], "/proc/sys"))
			c->readonly[count++] = container_readonly[i];
}

static int read_rest(struct container *c, struct error *e)
{
	int r = json_read_text(c->document, "", "hostname", &c->hostname, e);
	if (r == 0)
		r = read_texts(c->document, "", "cgroups", CONTAINER_LIST_MAX, &c->cgroups, e);
	if (r == 0)
		r = json_read_text_map(c->document, "", "sysctl", &c->sysctls, e);
	if (r == 0)
		r = json_read_object(c->document, "", "resolver", &c->resolver, e);
	if (r == 0)
		r = json_read_u64(c->document, "", "console_bytes", &c->console_bytes, e);
	int64_t score = 0;
	c->process.has_oom_score = json_object_get(c->document, "oom_score_adj") != NULL;
	if (r == 0)
		r = json_read_i64(c->document, "", "oom_score_adj", &score, e);
	c->process.oom_score_adj = (int32_t)score;
	for (size_t i = 0; r == 0 && c->cgroups[i]; i++)
		r = require_absolute("cgroups", "item", c->cgroups[i], e);
	return r;
}

static int read_all(struct container *c, struct error *e)
{
	uint64_t version = 0;
	const char *kind = NULL;
	int r = json_read_known(c->document, "",
		KNOWN("version", "kind", "project", "name", "hostname", "idmap", "root", "init",
			"mounts", "devices", "files", "nics", "resolver", "cgroups", "privileged",
			"nesting", "capabilities", "seccomp", "rlimits", "sysctl", "oom_score_adj",
			"console_bytes", "no_new_privileges"),
		e);
	if (r == 0)
		r = json_read_u64(c->document, "", "version", &version, e);
	if (r == 0 && version != 1)
		r = error_set(e, -EINVAL, "version: 1 is wanted");
	if (r == 0)
		r = json_require_text(c->document, "", "kind", &kind, e);
	if (r == 0 && !text_equal(kind, "container"))
		r = error_set(e, -EINVAL, "kind: container is wanted");
	if (r == 0)
		r = json_require_text(c->document, "", "name", &c->name, e);
	if (r == 0)
		r = read_ids(c, e);
	if (r == 0)
		r = read_root(c, e);
	if (r == 0)
		r = read_init(c, e);
	if (r == 0)
		r = read_rest(c, e);
	if (r < 0)
		return r;
	c->namespaces = ALL_NAMESPACES | (c->uid_count ? CLONE_NEWUSER : 0);
	c->has_delegate = c->is_system && c->uid_count > 0;
	container_add_usual_mounts(c);
	r = read_list(c, "mounts", read_mount, e);
	if (r == 0)
		r = read_list(c, "devices", read_device, e);
	if (r == 0)
		r = read_list(c, "files", read_file_item, e);
	if (r == 0)
		r = read_list(c, "nics", read_nic, e);
	if (r == 0)
		r = read_list(c, "rlimits", read_limit, e);
	if (r == 0)
		r = read_security(c, e);
	if (r == 0)
		add_paths(c);
	return r;
}

int plan_read(const char *text, size_t length, struct container **ret, struct error *e)
{
	cleanup(container_free) struct container *container = alloc(struct container);
	int r = json_parse(text, length, &container->document, e);
	if (r == 0 && !json_is_object(container->document))
		r = error_set(e, -EINVAL, "the plan is no object");
	if (r == 0)
		r = read_all(container, e);
	if (r < 0)
		return error_prefix(e, r, "plan");
	*ret = TAKE_PTR(container);
	return 0;
}

int plan_read_file(int dir, const char *path, struct container **ret, struct error *e)
{
	cleanup(free) char *text = NULL;
	size_t length;
	int r = file_read(dir, path, PLAN_BYTES_MAX, &text, &length, e);
	return r < 0 ? r : plan_read(text, length, ret, e);
}
