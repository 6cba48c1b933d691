/* SPDX-License-Identifier: Apache-2.0 */
/*
 * caps.c - capabilities(7).
 */
#include "container/caps.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static const char *const names[] = {
	"CAP_CHOWN",
	"CAP_DAC_OVERRIDE",
	"CAP_DAC_READ_SEARCH",
	"CAP_FOWNER",
	"CAP_FSETID",
	"CAP_KILL",
	"CAP_SETGID",
	"CAP_SETUID",
	"CAP_SETPCAP",
	"CAP_LINUX_IMMUTABLE",
	"CAP_NET_BIND_SERVICE",
	"CAP_NET_BROADCAST",
	"CAP_NET_ADMIN",
	"CAP_NET_RAW",
	"CAP_IPC_LOCK",
	"CAP_IPC_OWNER",
	"CAP_SYS_MODULE",
	"CAP_SYS_RAWIO",
	"CAP_SYS_CHROOT",
	"CAP_SYS_PTRACE",
	"CAP_SYS_PACCT",
	"CAP_SYS_ADMIN",
	"CAP_SYS_BOOT",
	"CAP_SYS_NICE",
	"CAP_SYS_RESOURCE",
	"CAP_SYS_TIME",
	"CAP_SYS_TTY_CONFIG",
	"CAP_MKNOD",
	"CAP_LEASE",
	"CAP_AUDIT_WRITE",
	"CAP_AUDIT_CONTROL",
	"CAP_SETFCAP",
	"CAP_MAC_OVERRIDE",
	"CAP_MAC_ADMIN",
	"CAP_SYSLOG",
	"CAP_WAKE_ALARM",
	"CAP_BLOCK_SUSPEND",
	"CAP_AUDIT_READ",
	"CAP_PERFMON",
	"CAP_BPF",
	"CAP_CHECKPOINT_RESTORE",
};
static_assert(ARRAY_SIZE(names) == CAP_LAST_CAP + 1, "a name for each capability");

#define BIT(capability) (UINT64_C(1) << (capability))

const uint64_t caps_application = BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FOWNER) |
	BIT(CAP_FSETID) | BIT(CAP_KILL) | BIT(CAP_SETGID) | BIT(CAP_SETUID) | BIT(CAP_SETPCAP) |
	BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_NET_RAW) | BIT(CAP_SYS_CHROOT) | BIT(CAP_SETFCAP) |
	BIT(CAP_AUDIT_WRITE);

#define HOST_ONLY \
	(BIT(CAP_SYS_MODULE) | BIT(CAP_SYS_RAWIO) | BIT(CAP_SYS_TIME) | BIT(CAP_MAC_ADMIN) | \
		BIT(CAP_MAC_OVERRIDE) | BIT(CAP_BPF) | BIT(CAP_PERFMON) | BIT(CAP_SYSLOG) | \
		BIT(CAP_WAKE_ALARM) | BIT(CAP_BLOCK_SUSPEND) | BIT(CAP_AUDIT_CONTROL) | \
		BIT(CAP_AUDIT_READ))

const uint64_t caps_system = ~HOST_ONLY;

const uint64_t caps_system_privileged = ~(HOST_ONLY | BIT(CAP_LINUX_IMMUTABLE) |
	BIT(CAP_DAC_READ_SEARCH) | BIT(CAP_CHECKPOINT_RESTORE));

uint64_t caps_bit(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcasecmp(name, names[i]) == 0 || strcasecmp(name, names[i] + 4) == 0)
			return BIT(i);
	return 0;
}

const char *caps_name(unsigned int number)
{
	return number < ARRAY_SIZE(names) ? names[number] : NULL;
}

struct container_caps caps_sets(uint64_t caps)
{
	return (struct container_caps){ .bounding = caps, .permitted = caps, .effective = caps };
}

static int get(struct __user_cap_data_struct data[2])
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	return syscall(SYS_capget, &header, data) < 0 ? -errno : 0;
}

uint64_t caps_ours(void)
{
	struct __user_cap_data_struct data[2] = {};
	if (get(data) < 0)
		return 0;
	return data[0].permitted | (uint64_t)data[1].permitted << 32;
}

int caps_raise(struct error *e)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {};
	int r = get(data);
	if (r < 0)
		return error_code(e, r, "read the capabilities");
	for (size_t i = 0; i < ARRAY_SIZE(data); i++)
		data[i].effective = data[i].permitted;
	return syscall(SYS_capset, &header, data) < 0 ? error_errno(e, "raise the capabilities")
						      : 0;
}

int caps_bound(uint64_t bounding, struct error *e)
{
	for (unsigned int i = 0; i < 64; i++) {
		if (bounding & BIT(i))
			continue;
		if (prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0) {
			if (errno == EINVAL)
				break; /* the kernel knows no more */
			return error_errno(e, "drop capability %u from the bounding set", i);
		}
	}
	return 0;
}

int caps_apply(const struct container_caps *caps, struct error *e)
{
	uint64_t have = caps_ours();
	uint64_t permitted = caps->permitted & have;
	uint64_t effective = caps->effective & permitted;
	uint64_t inheritable = caps->inheritable & have;
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {
		{ .effective = (uint32_t)effective,
			.permitted = (uint32_t)permitted,
			.inheritable = (uint32_t)inheritable },
		{ .effective = (uint32_t)(effective >> 32),
			.permitted = (uint32_t)(permitted >> 32),
			.inheritable = (uint32_t)(inheritable >> 32) },
	};
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
		return error_errno(e, "clear the ambient capabilities");
	if (syscall(SYS_capset, &header, data) < 0)
		return error_errno(e, "set the capabilities");
	uint64_t ambient = caps->ambient & permitted & inheritable;
	for (unsigned int i = 0; i <= CAP_LAST_CAP; i++)
		if ((ambient & BIT(i)) && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0) < 0)
			return error_errno(e, "raise the ambient capability %s", names[i]);
	return 0;
}
