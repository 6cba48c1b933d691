/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arguments.c - the monitor's command line, for a machine without a plan.json.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "vmm/plan.h"

struct option {
	const char *name;
	const char *what; /* of the value; NULL: a flag */
	const char *help;
	int (*read)(struct plan *plan, char *value);
};

#define TEXT_OPTION(field) \
	static int read_##field(struct plan *plan, char *value) \
	{ \
		plan->field = value; \
		return 0; \
	}
TEXT_OPTION(name)
TEXT_OPTION(engine)
TEXT_OPTION(kernel)
TEXT_OPTION(initrd)
TEXT_OPTION(append)
TEXT_OPTION(firmware)
TEXT_OPTION(firmware_vars)
TEXT_OPTION(firmware_log)
TEXT_OPTION(cache)
TEXT_OPTION(restore)

static int read_memory(struct plan *plan, char *value)
{
	return text_to_bytes(value, &plan->memory_bytes);
}

static int read_memory_max(struct plan *plan, char *value)
{
	return text_to_bytes(value, &plan->memory_max_bytes);
}

static int read_small(const char *value, uint64_t min, uint64_t max, uint32_t *ret)
{
	uint64_t number;
	int r = text_to_u64(value, &number);
	if (r < 0 || number < min || number > max)
		return -EINVAL;
	*ret = (uint32_t)number;
	return 0;
}

static int read_cpus(struct plan *plan, char *value)
{
	return read_small(value, 1, 64, &plan->cpus);
}

static int read_uid(struct plan *plan, char *value)
{
	return read_small(value, 1, UINT32_MAX - 1, &plan->uid);
}

static int read_exit_port(struct plan *plan, char *value)
{
	char *end;
	unsigned long port = strtoul(value, &end, 0);
	if (*end || port == 0 || port > 0xfffc)
		return -EINVAL;
	plan->exit_port = (uint32_t)port;
	return 0;
}

/* FILE[,ro][,sata][,cdrom][,id=ID][,bps=BYTES][,iops=COUNT] */
static int read_disk(struct plan *plan, char *value)
{
	if (plan->disk_count == PLAN_DISKS_MAX)
		return -E2BIG;
	struct plan_disk disk = {};
	char *rest = NULL;
	disk.file = strtok_r(value, ",", &rest);
	if (!disk.file)
		return -EINVAL;
	for (char *part = strtok_r(NULL, ",", &rest); part; part = strtok_r(NULL, ",", &rest)) {
		int r = 0;
		if (strcmp(part, "ro") == 0)
			disk.read_only = true;
		else if (strcmp(part, "sata") == 0)
			disk.is_sata = true;
		else if (strcmp(part, "cdrom") == 0)
			disk.is_sata = disk.is_cd = true;
		else if (text_starts(part, "id="))
			disk.id = part + 3;
		else if (text_starts(part, "bps="))
			r = text_to_bytes(part + 4, &disk.bytes_per_second);
		else if (text_starts(part, "iops="))
			r = text_to_u64(part + 5, &disk.operations_per_second);
		else
			r = -EINVAL;
		if (r < 0)
			return r;
	}
	plan->disks[plan->disk_count++] = disk;
	return 0;
}

/* NAME[,e1000][,mac=MAC][,queues=COUNT] */
static int read_tap(struct plan *plan, char *value)
{
	if (plan->nic_count == PLAN_NICS_MAX)
		return -E2BIG;
	struct plan_nic nic = {};
	char *rest = NULL;
	nic.tap = strtok_r(value, ",", &rest);
	if (!nic.tap)
		return -EINVAL;
	for (char *part = strtok_r(NULL, ",", &rest); part; part = strtok_r(NULL, ",", &rest)) {
		if (text_starts(part, "mac="))
			nic.mac = part + 4;
		else if (strcmp(part, "e1000") == 0)
			nic.is_e1000 = true;
		else if (!text_starts(part, "queues=") ||
			read_small(part + 7, 1, 8, &nic.queues) < 0)
			return -EINVAL;
	}
	plan->nics[plan->nic_count++] = nic;
	return 0;
}

/* CID,DIR */
static int read_vsock(struct plan *plan, char *value)
{
	char *comma = strchr(value, ',');
	if (!comma || !comma[1])
		return -EINVAL;
	*comma = '\0';
	plan->vsock_dir = comma + 1;
	if (text_to_u64(value, &plan->vsock_cid) < 0 || plan->vsock_cid < 3 ||
		plan->vsock_cid >= UINT32_MAX)
		return -EINVAL;
	return 0;
}

static int read_console(struct plan *plan, char *value)
{
	if (strcmp(value, "none") == 0)
		plan->console = PLAN_CONSOLE_NONE;
	else if (strcmp(value, "stdio") == 0)
		plan->console = PLAN_CONSOLE_STDIO;
	else
		return -EINVAL;
	return 0;
}

static int read_exit_on_reset(struct plan *plan, char *value)
{
	(void)value;
	plan->exit_on_reset = true;
	return 0;
}

static int read_test_device(struct plan *plan, char *value)
{
	(void)value;
	plan->has_test_device = true;
	return 0;
}

static int read_balloon(struct plan *plan, char *value)
{
	(void)value;
	plan->has_balloon = true;
	return 0;
}

static int read_lockstep(struct plan *plan, char *value)
{
	(void)value;
	plan->engine = "soft-lockstep";
	return 0;
}

static int read_no_jail(struct plan *plan, char *value)
{
	(void)value;
	plan->is_jailed = false;
	return 0;
}

static const struct option options[] = {
	{ "name", "NAME", "what the machine is called in messages", read_name },
	{ "engine", "auto|kvm|soft|soft-translator|soft-interpreter|soft-mapped",
		"what runs the CPUs (auto: measured)", read_engine },
	{ "lockstep", NULL, "the software engine's translator and interpreter compare each block",
		read_lockstep },
	{ "cpus", "N", "virtual CPUs, at most 64 (1)", read_cpus },
	{ "memory", "SIZE", "guest memory (256MiB)", read_memory },
	{ "memory-max", "SIZE", "the most that it can have while it runs (as --memory)",
		read_memory_max },
	{ "kernel", "FILE", "a Linux bzImage, or an ELF, PVH or multiboot program", read_kernel },
	{ "initrd", "FILE", "its initial file system", read_initrd },
	{ "append", "TEXT", "its command line", read_append },
	{ "firmware", "FILE", "SeaBIOS or OVMF in place of a kernel: the disks boot in their order",
		read_firmware },
	{ "firmware-vars", "FILE", "OVMF's variables: written, and the machine's own",
		read_firmware_vars },
	{ "firmware-log", "FILE", "what the firmware says at its debug port", read_firmware_log },
	{ "cache", "DIR", "where unpacked kernels are kept", read_cache },
	{ "restore", "FILE", "go on from the state that this file holds", read_restore },
	{ "disk", "FILE[,ro][,sata|cdrom][,id=ID][,bps=SIZE][,iops=N]",
		"a virtio or SATA disk, or a CD drive", read_disk },
	{ "tap", "NAME[,e1000][,mac=MAC][,queues=N]",
		"a virtio or e1000 network card on a tap device", read_tap },
	{ "vsock", "CID,DIR", "a virtio socket; its unix sockets are in DIR", read_vsock },
	{ "balloon", NULL, "a memory balloon", read_balloon },
	{ "console", "none|stdio", "where the console goes (stdio)", read_console },
	{ "exit-port", "PORT", "a byte v written there ends it with status 2v+1", read_exit_port },
	{ "exit-on-reset", NULL, "a reset ends it instead of starting it again",
		read_exit_on_reset },
	{ "test-device", NULL, "ports and memory that test programs for CPUs expect",
		read_test_device },
	{ "no-jail", NULL, "keep all rights, for debugging", read_no_jail },
	{ "uid", "UID", "what the jailed monitor becomes", read_uid },
};

void plan_print_usage(void)
{
	printf("usage: berth-vmm plan.json\n       berth-vmm OPTION...\n"
	       "       berth-vmm --explain-engine   what --engine auto takes here, and why\n"
	       "       berth-vmm --explain-direct   whether soft can run programs as they are here\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		const struct option *option = &options[i];
		printf("  --%s%s%s\n        %s\n", option->name, option->what ? " " : "",
			option->what ? option->what : "", option->help);
	}
}

static int read_one(struct plan *plan, const struct option *option, char *value, struct error *e)
{
	if (option->what && !value)
		return error_set(
			e, -EINVAL, "--%s: a value is missing: %s", option->name, option->what);
	if (option->read(plan, value) < 0)
		return error_set(e, -EINVAL, "--%s: it is no %s: %s", option->name, option->what,
			option->help);
	return 0;
}

int plan_read_arguments(int argc, char **argv, struct plan *ret, struct error *e)
{
	struct plan plan = {
		.name = "vm",
		.engine = "auto",
		.cpus = 1,
		.memory_bytes = 256 * MIB,
		.append = "",
		.has_rng = true,
		.console = PLAN_CONSOLE_STDIO,
		.is_jailed = true,
	};
	for (int i = 1; i < argc; i++) {
		size_t j = 0;
		while (j < ARRAY_SIZE(options) &&
			(!text_starts(argv[i], "--") || strcmp(options[j].name, argv[i] + 2) != 0))
			j++;
		if (j == ARRAY_SIZE(options))
			return error_set(
				e, -EINVAL, "%s: no such option (--help lists them)", argv[i]);
		char *value = options[j].what && i + 1 < argc ? argv[++i] : NULL;
		int r = read_one(&plan, &options[j], value, e);
		if (r < 0)
			return r;
	}
	if (!plan.kernel && !plan.firmware)
		return error_set(
			e, -EINVAL, "--kernel or --firmware is needed (--help lists options)");
	if (plan.kernel && plan.firmware)
		return error_set(
			e, -EINVAL, "--kernel and --firmware: a machine boots one of them");
	if (!plan.firmware && (plan.firmware_vars || plan.firmware_log))
		return error_set(e, -EINVAL, "--firmware-vars and --firmware-log need --firmware");
	*ret = plan;
	return 0;
}
