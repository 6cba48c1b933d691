/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan.c - the plan document of a unikernel, member by member; an unknown one is refused.
 */
#include "tender/plan.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "model/json.h"

#define LAYERS_MAX  128
#define CGROUPS_MAX 64
#define WORDS_MAX   8192
#define MEMORY_MIN  (4 * MIB)
#define MEMORY_MAX  (1024 * GIB)
#define MTU_MIN     576
#define MTU_MAX     9000

#define KNOWN(...) ((const char *const[]){ __VA_ARGS__, NULL })

static int require_absolute(const char *path, const char *text, struct error *e)
{
	return text[0] == '/' ? 0 : error_set(e, -EINVAL, "%s: an absolute path is wanted", path);
}

static int read_texts(const json_t *object, const char *path, const char *field, size_t limit,
	const json_t **ret, struct error *e)
{
	json_t *array = NULL;
	int r = json_read_text_array(object, path, field, &array, e);
	if (r == 0 && json_array_size(array) > limit)
		r = error_set(e, -E2BIG, "%s.%s: more than %zu", path, field, limit);
	*ret = array;
	return r;
}

static int read_volume(struct tender_plan *plan, const json_t *root, struct error *e)
{
	json_t *volume = NULL;
	const char *type = NULL;
	int r = json_read_object(root, "root", "volume", &volume, e);
	if (r < 0 || !volume)
		return r;
	r = json_read_known(volume, "root.volume", KNOWN("type", "path"), e);
	if (r == 0)
		r = json_require_text(volume, "root.volume", "type", &type, e);
	if (r == 0)
		r = json_require_text(volume, "root.volume", "path", &plan->volume, e);
	if (r == 0)
		r = require_absolute("root.volume.path", plan->volume, e);
	if (r == 0 && !text_equal(type, "block"))
		r = error_set(e, -EINVAL, "root.volume.type: block is wanted");
	return r;
}

static int read_root(struct tender_plan *plan, struct error *e)
{
	json_t *root = NULL;
	int r = json_read_object(plan->document, "", "root", &root, e);
	if (r == 0 && !root)
		r = error_set(e, -EINVAL, "root: is missing");
	if (r == 0)
		r = json_read_known(root, "root", KNOWN("layers", "volume", "readonly"), e);
	if (r == 0)
		r = read_texts(root, "root", "layers", LAYERS_MAX, &plan->layers, e);
	if (r == 0 && json_array_size(plan->layers) == 0)
		r = error_set(e, -EINVAL, "root.layers: a unikernel starts from an image");
	for (size_t i = 0; r == 0 && i < json_array_size(plan->layers); i++)
		r = require_absolute(
			"root.layers", json_string_value(json_array_get(plan->layers, i)), e);
	if (r == 0)
		r = json_require_text(plan->document, "", "image", &plan->image, e);
	if (r == 0)
		r = require_absolute("image", plan->image, e);
	return r < 0 ? r : read_volume(plan, root, e);
}

/* "TERM", "SIGTERM" or "15". */
static int signal_number(const char *name)
{
	uint64_t number;
	if (text_to_u64(name, &number) == 0)
		return number > 0 && number < NSIG ? (int)number : -1;
	if (text_starts(name, "SIG"))
		name += 3;
	for (int i = 1; i < NSIG; i++)
		if (text_equal(sigabbrev_np(i), name))
			return i;
	return -1;
}

static int read_init(struct tender_plan *plan, struct error *e)
{
	json_t *init = NULL;
	const char *name = "TERM";
	int r = json_read_object(plan->document, "", "init", &init, e);
	if (r == 0 && !init)
		r = error_set(e, -EINVAL, "init: is missing");
	if (r == 0)
		r = json_read_known(
			init, "init", KNOWN("args", "environment", "cwd", "stop_signal"), e);
	if (r == 0)
		r = read_texts(init, "init", "args", WORDS_MAX, &plan->arguments, e);
	if (r == 0)
		r = read_texts(init, "init", "environment", WORDS_MAX, &plan->environment, e);
	if (r == 0)
		r = json_read_text(init, "init", "cwd", &plan->cwd, e);
	if (r == 0)
		r = json_read_text(init, "init", "stop_signal", &name, e);
	if (r < 0)
		return r;
	if (json_array_size(plan->arguments) == 0)
		return error_set(e, -EINVAL, "init.args: a program is wanted");
	plan->program = json_string_value(json_array_get(plan->arguments, 0));
	plan->search = "/usr/local/bin:/usr/bin:/bin";
	for (size_t i = 0; i < json_array_size(plan->environment); i++) {
		const char *setting = json_string_value(json_array_get(plan->environment, i));
		if (text_starts(setting, "PATH="))
			plan->search = setting + strlen("PATH=");
	}
	plan->stop_signal = signal_number(name);
	if (plan->stop_signal < 0)
		return error_set(
			e, -EINVAL, "init.stop_signal: \"%.40s\" is no signal of Linux", name);
	return plan->cwd ? require_absolute("init.cwd", plan->cwd, e) : 0;
}

static int read_host(const json_t *nic, struct tender_nic *to, struct error *e)
{
	json_t *host = NULL;
	int r = json_read_object(nic, "nics", "host", &host, e);
	if (r == 0 && !host)
		r = error_set(e, -EINVAL, "nics.host: is missing");
	if (r == 0)
		r = json_read_known(host, "nics.host",
			KNOWN("name", "bridge", "shaper", "isolated", "into_bits", "out_of_bits"),
			e);
	if (r == 0)
		r = json_require_text(host, "nics.host", "name", &to->host, e);
	if (r == 0)
		r = json_read_text(host, "nics.host", "bridge", &to->bridge, e);
	if (r == 0)
		r = json_read_text(host, "nics.host", "shaper", &to->shaper, e);
	if (r == 0)
		r = json_read_bool(host, "nics.host", "isolated", &to->is_isolated, e);
	if (r == 0)
		r = json_read_u64(host, "nics.host", "into_bits", &to->into_bits, e);
	if (r == 0)
		r = json_read_u64(host, "nics.host", "out_of_bits", &to->out_of_bits, e);
	return r;
}

static int read_nic(struct tender_plan *plan, struct error *e)
{
	json_t *nics = NULL;
	uint64_t mtu = 1500;
	struct tender_nic *to = &plan->nic;
	int r = json_read_array(plan->document, "", "nics", &nics, e);
	if (r < 0 || json_array_size(nics) == 0)
		return r;
	if (json_array_size(nics) > 1)
		return error_set(e, -EINVAL, "nics: a unikernel has one network card");
	const json_t *nic = json_array_get(nics, 0);
	if (!json_is_object(nic))
		return error_set(e, -EINVAL, "nics: an object is wanted");
	r = json_read_known(nic, "nics",
		KNOWN("device", "name", "host", "mac", "mtu", "addresses", "gateways"), e);
	if (r == 0)
		r = read_host(nic, to, e);
	if (r == 0)
		r = json_require_text(nic, "nics", "mac", &to->mac, e);
	if (r == 0)
		r = json_read_u64(nic, "nics", "mtu", &mtu, e);
	if (r == 0 && (mtu < MTU_MIN || mtu > MTU_MAX))
		r = error_set(e, -EINVAL, "nics.mtu: from %d to %d", MTU_MIN, MTU_MAX);
	if (r == 0)
		r = read_texts(nic, "nics", "addresses", 2, &to->addresses, e);
	if (r == 0)
		r = read_texts(nic, "nics", "gateways", 2, &to->gateways, e);
	to->mtu = (uint32_t)mtu;
	plan->has_nic = true;
	return r;
}

static int read_resolver(struct tender_plan *plan, struct error *e)
{
	json_t *resolver = NULL;
	int r = json_read_object(plan->document, "", "resolver", &resolver, e);
	if (r < 0 || !resolver)
		return r;
	r = json_read_known(resolver, "resolver", KNOWN("nameservers", "search"), e);
	return r < 0 ? r
		     : read_texts(resolver, "resolver", "nameservers", 16, &plan->nameservers, e);
}

static int read_cgroups(struct tender_plan *plan, struct error *e)
{
	const json_t *groups = NULL;
	int r = read_texts(plan->document, "", "cgroups", CGROUPS_MAX, &groups, e);
	plan->cgroups = alloc_array(json_array_size(groups) + 1, const char *);
	for (size_t i = 0; r == 0 && i < json_array_size(groups); i++) {
		plan->cgroups[i] = json_string_value(json_array_get(groups, i));
		r = require_absolute("cgroups", plan->cgroups[i], e);
	}
	return r;
}

static int read_head(struct tender_plan *plan, struct error *e)
{
	uint64_t version = 0;
	const char *kind = NULL;
	int r = json_read_known(plan->document, "",
		KNOWN("version", "kind", "project", "name", "hostname", "root", "image", "init",
			"uid", "memory_bytes", "engine", "stateful", "restore", "nics", "resolver",
			"cgroups"),
		e);
	if (r == 0)
		r = json_read_u64(plan->document, "", "version", &version, e);
	if (r == 0 && version != 1)
		r = error_set(e, -EINVAL, "version: 1 is wanted");
	if (r == 0)
		r = json_require_text(plan->document, "", "kind", &kind, e);
	if (r == 0 && !text_equal(kind, "unikernel"))
		r = error_set(e, -EINVAL, "kind: unikernel is wanted");
	if (r == 0)
		r = json_require_text(plan->document, "", "name", &plan->name, e);
	return r;
}

static int read_engine(struct tender_plan *plan, struct error *e)
{
	const char *engine = "process";
	int r = json_read_text(plan->document, "", "engine", &engine, e);
	plan->is_machine = text_equal(engine, "kvm");
	plan->is_soft = text_equal(engine, "soft");
	if (r == 0 && !plan->is_machine && !plan->is_soft && !text_equal(engine, "process"))
		r = error_set(
			e, -EINVAL, "engine: \"%.20s\" is none of process, kvm, soft", engine);
	/* What goes on from a state can be kept itself. */
	plan->is_stateful |= plan->restore != NULL;
	return r;
}

static int read_numbers(struct tender_plan *plan, struct error *e)
{
	uint64_t uid = 0;
	int r = json_read_u64(plan->document, "", "uid", &uid, e);
	if (r == 0 && (uid == 0 || uid >= UINT32_MAX))
		r = error_set(e, -EINVAL, "uid: the number of a user of its own is wanted");
	plan->uid = (uint32_t)uid;
	if (r == 0)
		r = json_read_u64(plan->document, "", "memory_bytes", &plan->memory_bytes, e);
	if (r == 0 && (plan->memory_bytes < MEMORY_MIN || plan->memory_bytes > MEMORY_MAX))
		r = error_set(e, -EINVAL, "memory_bytes: at least 4 MiB are wanted");
	plan->memory_bytes &= ~UINT64_C(4095);
	if (r == 0)
		r = json_read_bool(plan->document, "", "stateful", &plan->is_stateful, e);
	if (r == 0)
		r = json_read_text(plan->document, "", "restore", &plan->restore, e);
	if (r == 0)
		r = read_engine(plan, e);
	return r == 0 && plan->restore ? require_absolute("restore", plan->restore, e) : r;
}

int tender_plan_read(const char *text, size_t length, struct tender_plan **ret, struct error *e)
{
	cleanup(tender_plan_free) struct tender_plan *plan = alloc(struct tender_plan);
	int r = json_parse(text, length, &plan->document, e);
	if (r == 0 && !json_is_object(plan->document))
		r = error_set(e, -EINVAL, "it is no object");
	if (r == 0)
		r = read_head(plan, e);
	if (r == 0)
		r = read_root(plan, e);
	if (r == 0)
		r = read_init(plan, e);
	if (r == 0)
		r = read_numbers(plan, e);
	if (r == 0)
		r = read_nic(plan, e);
	if (r == 0)
		r = read_resolver(plan, e);
	if (r == 0)
		r = read_cgroups(plan, e);
	if (r < 0)
		return error_prefix(e, r, "plan");
	*ret = TAKE_PTR(plan);
	return 0;
}

void tender_plan_free(struct tender_plan *plan)
{
	if (!plan)
		return;
	json_decref(plan->document);
	free(plan->cgroups);
	free(plan);
}
