/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spec.c - what was asked for: the expanded `config` and `devices` of an instance, read and checked.
 */
#include "model/spec.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "model/field.h"
#include "model/words.h"

#define PRIORITY_MAX      10
#define ID_MAX            65535
#define SECONDS_MAX       86400
#define IDMAP_SIZE_MIN    65536
#define IDMAP_ID_MAX      UINT64_C(4294967295)
#define SNAPSHOT_NAME_MAX 63
#define HUNDRED_PERCENT   1000 /* bytes of memory that percentages are of when only the form counts */

/* What the tables read into. */
struct reader {
	struct spec spec;
	uint64_t host_memory_bytes;
};

static int read_cpu(void *object, const char *key, const char *text, struct error *e)
{
	struct reader *reader = object;
	(void)key;
	return resources_read_cpus(text, &reader->spec.cpu, e);
}

static int read_allowance(void *object, const char *key, const char *text, struct error *e)
{
	struct reader *reader = object;
	(void)key;
	return resources_read_allowance(text, &reader->spec.cpu_allowance, e);
}

static int read_memory(void *object, const char *key, const char *text, struct error *e)
{
	struct reader *reader = object;
	(void)key;
	return resources_read_memory(
		text, reader->host_memory_bytes, &reader->spec.memory_bytes, e);
}

static int read_enforce(void *object, const char *key, const char *text, struct error *e)
{
	struct reader *reader = object;
	(void)key;
	reader->spec.is_memory_soft = text_equal(text, "soft");
	if (!reader->spec.is_memory_soft && !text_equal(text, "hard"))
		return error_set(e, -EINVAL, "\"%s\" is neither hard nor soft", text);
	return 0;
}

static int read_swap(void *object, const char *key, const char *text, struct error *e)
{
	struct reader *reader = object;
	bool has_swap;
	(void)key;
	int r = resources_read_bool(text, &has_swap, e);
	if (r == 0)
		reader->spec.is_swap_off = !has_swap;
	return r;
}

static int read_autostart(void *object, const char *key, const char *text, struct error *e)
{
	struct reader *reader = object;
	(void)key;
	reader->spec.is_autostart_set = true;
	return resources_read_bool(text, &reader->spec.autostart, e);
}

static int read_priority(void *object, const char *key, const char *text, struct error *e)
{
	struct reader *reader = object;
	(void)key;
	if (text_to_i64(text, &reader->spec.autostart_priority) < 0)
		return error_set(e, -EINVAL, "\"%s\" is no number", text);
	return 0;
}

static int read_processes(void *object, const char *key, const char *text, struct error *e)
{
	struct reader *reader = object;
	(void)key;
	if (text_to_u64(text, &reader->spec.processes) < 0 || reader->spec.processes == 0)
		return error_set(e, -EINVAL, "\"%s\" is no number of processes", text);
	return 0;
}

static int read_entrypoint(void *object, const char *key, const char *text, struct error *e)
{
	struct reader *reader = object;
	cleanup(words_free) char **words = NULL;
	(void)key;
	int r = words_split(text, &words, e);
	if (r < 0)
		return r;
	if (!words[0])
		return error_set(e, -EINVAL, "names no program");
	reader->spec.entrypoint = text;
	return 0;
}

static int read_engine(void *object, const char *key, const char *text, struct error *e)
{
	static const char *const engines[] = { "auto", "kvm", "soft", "process" };
	struct reader *reader = object;
	(void)key;
	for (size_t i = 0; i < ARRAY_SIZE(engines); i++)
		if (text_equal(text, engines[i])) {
			reader->spec.engine = text;
			return 0;
		}
	return error_set(e, -EINVAL, "is none of auto, kvm, soft, process");
}

static int read_cwd(void *object, const char *key, const char *text, struct error *e)
{
	struct reader *reader = object;
	(void)key;
	if (text[0] != '/')
		return error_set(e, -EINVAL, "\"%s\" must be an absolute path", text);
	reader->spec.cwd = text;
	return 0;
}

/* Only what "false" asks for can be had. */
static int read_never(void *object, const char *key, const char *text, struct error *e)
{
	bool is_asked;
	(void)object;
	(void)key;
	int r = resources_read_bool(text, &is_asked, e);
	if (r == 0 && is_asked)
		return error_set(e, -EINVAL, "is not offered");
	return r;
}

/* On unless it is said otherwise, by the name of either server. */
static int read_guest_api(void *object, const char *key, const char *text, struct error *e)
{
	struct reader *reader = object;
	bool is_on;
	(void)key;
	int r = resources_read_bool(text, &is_on, e);
	if (r == 0 && !is_on)
		reader->spec.is_guest_api_off = true;
	return r;
}

static int read_environment(void *object, const char *key, const char *text, struct error *e)
{
	struct reader *reader = object;
	struct spec *spec = &reader->spec;
	const char *name = key + strlen("environment.");
	if (strchr(name, '='))
		return error_set(e, -EINVAL, "a name has no '='");
	if (spec->environment_count == SPEC_ENVIRONMENT_MAX)
		return error_set(e, -EINVAL, "is one of more than %d", SPEC_ENVIRONMENT_MAX);
	if (!spec->environment)
		spec->environment = alloc_array(SPEC_ENVIRONMENT_MAX, struct spec_pair);
	spec->environment[spec->environment_count++] = (struct spec_pair){ name, text };
	return 0;
}

/* Only what the kernel keeps apart for each of the instance's namespaces. */
static int read_sysctl(void *object, const char *key, const char *text, struct error *e)
{
	static const char *const own[] = { "net.", "kernel.shm", "kernel.msg", "kernel.sem",
		"kernel.domainname", "fs.mqueue.", "user." };
	struct reader *reader = object;
	struct spec *spec = &reader->spec;
	const char *name = key + strlen("linux.sysctl.");
	bool is_own = false;
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		is_own = is_own || text_starts(name, own[i]);
	if (!is_own || strchr(name, '/') || strstr(name, ".."))
		return error_set(e, -EINVAL, "is a setting of the whole host");
	if (spec->sysctl_count == SPEC_SYSCTLS_MAX)
		return error_set(e, -EINVAL, "is one of more than %d", SPEC_SYSCTLS_MAX);
	spec->sysctls[spec->sysctl_count++] = (struct spec_pair){ name, text };
	return 0;
}

static int rlimit_value(const char *text, uint64_t *ret)
{
	if (text_equal(text, "unlimited")) {
		*ret = UINT64_MAX;
		return 0;
	}
	return text_to_u64(text, ret);
}

static int read_rlimit(void *object, const char *key, const char *text, struct error *e)
{
	static const char *const names[] = { "as", "core", "cpu", "data", "fsize", "locks",
		"memlock", "msgqueue", "nice", "nofile", "nproc", "rtprio", "sigpending", "stack" };
	struct reader *reader = object;
	struct spec *spec = &reader->spec;
	struct spec_rlimit limit = {};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (text_equal(key + strlen("limits.kernel."), names[i]))
			limit.name = names[i];
	}
	if (!limit.name)
		return error_set(e, -EINVAL, "unknown limit");
	cleanup(free) char *soft = alloc_text_n(text, strcspn(text, ":"));
	const char *hard = strchr(text, ':');
	if (rlimit_value(soft, &limit.soft) < 0 ||
		rlimit_value(hard ? hard + 1 : soft, &limit.hard) < 0 || limit.soft > limit.hard)
		return error_set(e, -EINVAL, "\"%s\" is no limit like 1000:3000", text);
	assert(spec->rlimit_count < SPEC_RLIMITS_MAX); /* one a name */
	spec->rlimits[spec->rlimit_count++] = limit;
	return 0;
}

#define SPEC(member) offsetof(struct reader, spec.member)
#define NEVER        FIELD_READ, .read = read_never

static const struct field fields[] = {
	{ "limits.cpu", FIELD_READ, .read = read_cpu },
	{ "limits.cpu.allowance", FIELD_READ, .read = read_allowance },
	{ "limits.cpu.priority", FIELD_SMALL, SPEC(cpu_priority), .max = PRIORITY_MAX },
	{ "limits.disk.priority", FIELD_SMALL, SPEC(disk_priority), .max = PRIORITY_MAX },
	{ "limits.memory", FIELD_READ, .read = read_memory },
	{ "limits.memory.enforce", FIELD_READ, .read = read_enforce },
	{ "limits.memory.swap", FIELD_READ, .read = read_swap },
	{ "limits.processes", FIELD_READ, .read = read_processes },
	{ "limits.kernel.*", FIELD_READ, .read = read_rlimit },
	{ "limits.hugepages.*", FIELD_REFUSED, .why = "huge pages are not limited" },
	{ "limits.memory.hugepages", NEVER },
	{ "limits.memory.swap.priority", FIELD_REFUSED, .why = "swap has no priorities" },
	{ "limits.network.priority", FIELD_REFUSED, .why = "set limits.ingress of a card" },
	{ "limits.cpu.nodes", FIELD_REFUSED, .why = "give CPUs as a set in limits.cpu" },
	{ "linux.sysctl.*", FIELD_READ, .read = read_sysctl },
	{ "linux.kernel_modules*", FIELD_REFUSED, .why = "an instance loads no module" },

	{ "security.privileged", FIELD_BOOL, SPEC(is_privileged) },
	{ "security.nesting", FIELD_BOOL, SPEC(is_nesting) },
	{ "security.protection.delete", FIELD_BOOL, SPEC(is_protected) },
	{ "security.protection.shift", FIELD_KEPT }, /* nothing is ever shifted on disk */
	{ "security.idmap.base", FIELD_NUMBER, SPEC(idmap_base), .max = IDMAP_ID_MAX },
	{ "security.idmap.size", FIELD_NUMBER, SPEC(idmap_size), .max = IDMAP_ID_MAX },
	{ "security.idmap.isolated", FIELD_KEPT }, /* each instance has its own map anyway */
	{ "security.devlxd", FIELD_READ, .read = read_guest_api },
	{ "security.devlxd.images", NEVER },
	{ "security.guestapi", FIELD_READ, .read = read_guest_api },
	{ "security.guestapi.images", NEVER },
	{ "security.secureboot", FIELD_BOOL, SPEC(is_secureboot) },
	{ "security.csm", FIELD_BOOL, SPEC(is_csm) },
	{ "security.syscalls.*", FIELD_REFUSED, .why = "the filter of system calls is fixed" },

	{ "boot.autostart", FIELD_READ, .read = read_autostart },
	{ "boot.autostart.priority", FIELD_READ, .read = read_priority },
	{ "boot.autostart.delay", FIELD_SECONDS, SPEC(autostart_delay_ns), .max = SECONDS_MAX },
	{ "boot.autorestart", FIELD_BOOL, SPEC(autorestart) },
	{ "boot.stop.priority", FIELD_KEPT },
	{ "boot.mode", FIELD_TEXT, SPEC(boot_mode) },
	{ "boot.host_shutdown_timeout", FIELD_SECONDS, SPEC(shutdown_timeout_ns),
		.max = SECONDS_MAX },
	{ "boot.host_shutdown_action", FIELD_KEPT },

	{ "environment.*", FIELD_READ, .read = read_environment },
	{ "oci.entrypoint", FIELD_READ, .read = read_entrypoint },
	{ "oci.cwd", FIELD_READ, .read = read_cwd },
	{ "oci.user", FIELD_TEXT, SPEC(user) },
	{ "oci.uid", FIELD_SMALL, SPEC(uid), .max = ID_MAX },
	{ "oci.gid", FIELD_SMALL, SPEC(gid), .max = ID_MAX },
	{ "oci.stop_signal", FIELD_TEXT, SPEC(stop_signal) },

	{ "cloud-init.user-data", FIELD_TEXT, SPEC(cloud_user_data) },
	{ "cloud-init.vendor-data", FIELD_TEXT, SPEC(cloud_vendor_data) },
	{ "cloud-init.network-config", FIELD_TEXT, SPEC(cloud_network) },
	{ "snapshots.pattern", FIELD_TEXT, SPEC(snapshots_pattern) },
	{ "snapshots.expiry", FIELD_TEXT, SPEC(snapshots_expiry) },
	{ "snapshots.schedule", FIELD_REFUSED, .why = "snapshots are not made by themselves" },
	{ "snapshots.schedule.stopped", FIELD_KEPT },

	{ "user.meta-data", FIELD_TEXT, SPEC(user_meta_data) },
	{ "user.*", FIELD_KEPT },
	{ "image.*", FIELD_KEPT },
	{ "volatile.*", FIELD_KEPT },
	{ "berth.agent", FIELD_BOOL, SPEC(is_agent_wanted) },
	{ "berth.engine", FIELD_READ, .read = read_engine },
	{ "berth.*", FIELD_REFUSED, .why = "unknown key" },
	{ "cluster.evacuate", FIELD_KEPT },
	{ "migration.stateful", FIELD_BOOL, SPEC(is_stateful) },
	{ "migration.incremental.*", FIELD_KEPT },
	{ "nvidia.*", FIELD_REFUSED, .why = "graphics cards are not offered" },
	{ "raw.*", FIELD_REFUSED, .why = "nothing is passed on raw" },
};

/* The names that cloud-init's keys had before: the newer ones go first. */
static void old_names_take(const json_t *config, struct spec *spec)
{
	const struct {
		const char *key;
		const char **field;
	} olds[] = {
		{ "user.user-data", &spec->cloud_user_data },
		{ "user.vendor-data", &spec->cloud_vendor_data },
		{ "user.network-config", &spec->cloud_network },
	};
	for (size_t i = 0; i < ARRAY_SIZE(olds); i++)
		if (!*olds[i].field)
			*olds[i].field = json_string_value(json_object_get(config, olds[i].key));
}

static int ids_check(const struct spec *spec, struct error *e)
{
	if (spec->idmap_size && spec->idmap_size < IDMAP_SIZE_MIN)
		return error_set(
			e, -EINVAL, "config.security.idmap.size: is less than %d", IDMAP_SIZE_MIN);
	if (spec->idmap_size > IDMAP_SIZE_MIN)
		return error_set(
			e, -EINVAL, "config.security.idmap.size: is more than %d", IDMAP_SIZE_MIN);
	if (spec->idmap_base && spec->idmap_base < IDMAP_SIZE_MIN)
		return error_set(e, -EINVAL,
			"config.security.idmap.base: the host's own ids end at %d", ID_MAX);
	if (spec->idmap_base + IDMAP_SIZE_MIN > IDMAP_ID_MAX)
		return error_set(e, -EINVAL, "config.security.idmap.base: is too high");
	if (spec->is_privileged && spec->idmap_base)
		return error_set(e, -EINVAL,
			"config.security.idmap.base: a privileged instance has no id map");
	return 0;
}

int spec_read(const json_t *config, const json_t *devices, uint64_t host_memory_bytes,
	struct spec *ret, struct error *e)
{
	struct reader reader = { .host_memory_bytes = host_memory_bytes };
	reader.spec.cpu_priority = reader.spec.disk_priority = PRIORITY_MAX / 2;
	reader.spec.shutdown_timeout_ns = 30 * NS_PER_SEC;
	int r = fields_read(fields, ARRAY_SIZE(fields), config, "config", &reader, e);
	old_names_take(config, &reader.spec);
	if (r == 0)
		r = ids_check(&reader.spec, e);
	if (r == 0)
		r = devices_read(devices, &reader.spec.devices, e);
	if (r < 0) {
		spec_done(&reader.spec);
		return r;
	}
	*ret = reader.spec;
	return 0;
}

int spec_check(const json_t *config, const json_t *devices, struct error *e)
{
	cleanup(spec_done) struct spec spec = {};
	return spec_read(config, devices, HUNDRED_PERCENT, &spec, e);
}

void spec_done(struct spec *spec)
{
	free(spec->environment);
	devices_done(&spec->devices);
	*spec = (struct spec){};
}

struct resources spec_resources(const struct spec *spec)
{
	const struct disk_device *root = devices_root(&spec->devices);
	uint64_t milli = spec->cpu.milli;
	if (!milli)
		milli = 1000 * (uint64_t)cpu_set_mask_count(&spec->cpu.set);
	return (struct resources){
		.cpu_milli = milli,
		.memory_bytes = spec->memory_bytes,
		.storage_bytes = root ? root->size_bytes : 0,
	};
}

int spec_check_name(const char *name, struct error *e)
{
	if (!text_is_label(name))
		return error_set(e, -EINVAL,
			"name: \"%.80s\" must be 1 to 63 letters, digits and '-', "
			"a letter first, no '-' last",
			name);
	return 0;
}

int spec_check_snapshot_name(const char *name, struct error *e)
{
	size_t length = strlen(name);
	if (length == 0 || length > SNAPSHOT_NAME_MAX || text_equal(name, ".") ||
		text_equal(name, "..") ||
		strspn(name,
			"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			"0123456789._-") != length)
		return error_set(e, -EINVAL,
			"name: \"%.80s\" must be 1 to %d letters, digits, '.', '_' and '-'", name,
			SNAPSHOT_NAME_MAX);
	return 0;
}
