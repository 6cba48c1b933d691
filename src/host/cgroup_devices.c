/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup_devices.c - allow lists of devices, as files of v1 or as a program on the v2 group.
 */
#include "host/cgroup_devices.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/file.h"

#define RULE_INSNS 8

static uint32_t access_bits(const char *access)
{
	uint32_t bits = 0;
	for (; *access; access++)
		bits |= *access == 'm'   ? BPF_DEVCG_ACC_MKNOD
			: *access == 'r' ? BPF_DEVCG_ACC_READ
			: *access == 'w' ? BPF_DEVCG_ACC_WRITE
					 : 0;
	return bits;
}

static int allow_v1(
	const char *dir, const struct cgroup_device *devices, size_t count, struct error *e)
{
	cleanup(free) char *deny = alloc_printf("%s/devices.deny", dir);
	cleanup(free) char *allow = alloc_printf("%s/devices.allow", dir);
	int r = file_write_value(AT_FDCWD, deny, "a");
	for (size_t i = 0; i < count && r == 0; i++) {
		char major[24] = "*", minor[24] = "*";
		if (devices[i].major >= 0)
			snprintf(major, sizeof(major), "%jd", (intmax_t)devices[i].major);
		if (devices[i].minor >= 0)
			snprintf(minor, sizeof(minor), "%jd", (intmax_t)devices[i].minor);
		r = file_write_value_f(AT_FDCWD, allow, "%c %s:%s %s", devices[i].type, major,
			minor, devices[i].access);
	}
	return r < 0 ? error_code(e, r, "set the devices of the cgroup %s", dir) : 0;
}

/* One instruction, as struct bpf_insn lays it out (whose bit-fields the compiler warns about). */
static uint64_t insn(int code, int dst, int src, int16_t offset, uint32_t imm)
{
	return (uint64_t)(code & 0xff) | (uint64_t)(dst & 0xf) << 8 | (uint64_t)(src & 0xf) << 12 |
		(uint64_t)(uint16_t)offset << 16 | (uint64_t)imm << 32;
}
static_assert(sizeof(struct bpf_insn) == sizeof(uint64_t), "eight bytes an instruction");

/* Allows what one rule names, else falls through: registers as set up in make_program(). */
static size_t add_rule(uint64_t *at, const struct cgroup_device *device)
{
	uint64_t *start = at;
	uint32_t type = device->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR;
	uint32_t not_allowed = 7u & ~access_bits(device->access);
	size_t length = 4 + (device->major >= 0) + (device->minor >= 0);
#define TO_NEXT() ((int16_t)(length - 1 - (size_t)(at - start)))
	*at = insn(BPF_JMP | BPF_JNE | BPF_K, BPF_REG_2, 0, TO_NEXT(), type);
	at++;
	/* Any access that the rule does not have? BPF_JSET jumps if it finds one. */
	*at = insn(BPF_JMP | BPF_JSET | BPF_K, BPF_REG_3, 0, TO_NEXT(), not_allowed);
	at++;
	if (device->major >= 0) {
		*at = insn(BPF_JMP | BPF_JNE | BPF_K, BPF_REG_4, 0, TO_NEXT(),
			(uint32_t)device->major);
		at++;
	}
	if (device->minor >= 0) {
		*at = insn(BPF_JMP | BPF_JNE | BPF_K, BPF_REG_5, 0, TO_NEXT(),
			(uint32_t)device->minor);
		at++;
	}
#undef TO_NEXT
	*at++ = insn(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 1);
	*at++ = insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	return (size_t)(at - start);
}

static size_t make_program(uint64_t *program, const struct cgroup_device *devices, size_t count)
{
	uint64_t *at = program;
	/* r2 = type, r3 = access, r4 = major, r5 = minor of struct bpf_cgroup_dev_ctx at r1 */
	*at++ = insn(BPF_LDX | BPF_MEM | BPF_W, BPF_REG_2, BPF_REG_1, 0, 0);
	*at++ = insn(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_3, BPF_REG_2, 0, 0);
	*at++ = insn(BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_2, 0, 0, 0xffff);
	*at++ = insn(BPF_ALU64 | BPF_RSH | BPF_K, BPF_REG_3, 0, 0, 16);
	*at++ = insn(BPF_LDX | BPF_MEM | BPF_W, BPF_REG_4, BPF_REG_1, 4, 0);
	*at++ = insn(BPF_LDX | BPF_MEM | BPF_W, BPF_REG_5, BPF_REG_1, 8, 0);
	for (size_t i = 0; i < count; i++)
		at += add_rule(at, &devices[i]);
	*at++ = insn(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 0);
	*at++ = insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	return (size_t)(at - program);
}

static int bpf(int command, union bpf_attr *attr, size_t size)
{
	long r = syscall(SYS_bpf, command, attr, size);
	return r < 0 ? -errno : (int)r;
}

/* Takes away the programs that stand at the group when the new one has been attached. */
static void detach(int group, const uint32_t *ids, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		union bpf_attr attr = { .prog_id = ids[i] };
		cleanup(close) int program = bpf(BPF_PROG_GET_FD_BY_ID, &attr, sizeof(attr));
		if (program < 0)
			continue;
		attr = (union bpf_attr){ .target_fd = (uint32_t)group,
			.attach_bpf_fd = (uint32_t)program,
			.attach_type = BPF_CGROUP_DEVICE };
		(void)bpf(BPF_PROG_DETACH, &attr, sizeof(attr));
	}
}

static int allow_v2(
	const char *dir, const struct cgroup_device *devices, size_t count, struct error *e)
{
	cleanup(close) int group = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (group < 0)
		return error_errno(e, "open the cgroup %s", dir);
	uint32_t ids[16] = {};
	union bpf_attr query = { .query = { .target_fd = (uint32_t)group,
					 .attach_type = BPF_CGROUP_DEVICE,
					 .prog_ids = (uint64_t)(uintptr_t)ids,
					 .prog_cnt = ARRAY_SIZE(ids) } };
	uint32_t before = bpf(BPF_PROG_QUERY, &query, sizeof(query)) < 0 ? 0 : query.query.prog_cnt;

	cleanup(free) uint64_t *program = alloc_array(RULE_INSNS * (count + 1), uint64_t);
	size_t length = make_program(program, devices, count);
	union bpf_attr load = {
		.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
		.insns = (uint64_t)(uintptr_t)program,
		.insn_cnt = (uint32_t)length,
		.license = (uint64_t)(uintptr_t) "Apache-2.0",
	};
	cleanup(close) int fd = bpf(BPF_PROG_LOAD, &load, sizeof(load));
	if (fd < 0)
		return error_code(e, fd, "load the device filter of the cgroup %s", dir);
	union bpf_attr attach = { .target_fd = (uint32_t)group,
		.attach_bpf_fd = (uint32_t)fd,
		.attach_type = BPF_CGROUP_DEVICE,
		.attach_flags = BPF_F_ALLOW_MULTI };
	int r = bpf(BPF_PROG_ATTACH, &attach, sizeof(attach));
	if (r < 0)
		return error_code(e, r, "attach the device filter to the cgroup %s", dir);
	detach(group, ids, before);
	return 0;
}

int cgroup_devices_allow(
	struct cgroup *group, const struct cgroup_device *devices, size_t count, struct error *e)
{
	if (count > CGROUP_DEVICES_MAX)
		return error_set(
			e, -E2BIG, "devices: more than %d for a group", CGROUP_DEVICES_MAX);
	if (group->dirs[CGROUP_DEVICES])
		return allow_v1(group->dirs[CGROUP_DEVICES], devices, count, e);
	if (group->dirs[CGROUP_UNIFIED])
		return allow_v2(group->dirs[CGROUP_UNIFIED], devices, count, e);
	return error_set(
		e, -EOPNOTSUPP, "devices: this host or group has no such cgroup controller");
}
