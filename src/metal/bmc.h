/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bmc.h - the contract of a driver for baseboard management controllers (BMCs).
 *
 * A driver (ipmi.c, redfish.c) says what one BMC answers, no more: what is written is read back, repeated
 * and timed by desk.c. It is asked one thing at a time. Each call ends with `done`, once, maybe before it
 * returns; after bmc_close() it does not come any more.
 */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "base/loop.h"

#define BMC_CAN_CONSOLE 0x01u
#define BMC_CAN_MEDIA   0x02u
#define BMC_CAN_TLS     0x04u /* and wants to know whom to trust */

enum bmc_power { BMC_POWER_UNKNOWN, BMC_POWER_OFF, BMC_POWER_ON, BMC_POWERS };
enum bmc_action { BMC_ON, BMC_OFF, BMC_SOFT, BMC_CYCLE, BMC_RESET, BMC_ACTIONS };
enum bmc_device {
	BMC_BOOT_NONE, /* as the firmware is set */
	BMC_BOOT_NETWORK,
	BMC_BOOT_DISK,
	BMC_BOOT_CDROM,
	BMC_BOOT_SETUP,
	BMC_BOOT_DEVICES,
};

struct bmc_boot {
	enum bmc_device device;
	bool is_persistent; /* else for the next start only */
	bool is_uefi;
};

struct bmc_state {
	enum bmc_power power;
	struct bmc_boot boot;
	bool is_boot_valid; /* as the BMC says */
};

struct bmc_driver;

struct bmc {
	const struct bmc_driver *driver;
	uint32_t quirks; /* QUIRK_..., once identity() was asked */
};

struct bmc_options {
	struct loop *loop;
	const char *address; /* a number, for Redfish a URL without a path */
	uint16_t port;       /* 0: the usual one */
	const char *system;  /* Redfish: the end of its path; NULL: the first */
	const char *user;
	const char *password;
	const char *
		tls; /* Redfish: "none", "sha256//BASE64" of the public key, or NULL: as the system trusts */
	const char *authorities; /* PEM text; NULL with the first two */
	unsigned int
		cipher; /* IPMI: the cipher suite, 17 or 3; 0: 17, or 3 if the BMC has not that */
};

/* What came: 0 and the value, or a negative errno and why. */
typedef void bmc_done(void *data, int code, const struct error *e);
typedef void bmc_state_done(
	void *data, int code, const struct bmc_state *state, const struct error *e);
/* `result` is borrowed. */
typedef void bmc_json_done(void *data, int code, json_t *result, const struct error *e);

struct bmc_console_calls {
	void (*output)(void *data, const void *bytes, size_t length);
	void (*closed)(void *data, const char *why);
	void *data;
};

/* Every member is set; what `can` does not name fails with -EOPNOTSUPP. */
struct bmc_driver {
	const char *name;
	uint32_t can;
	int (*open)(const struct bmc_options *options, struct bmc **ret, struct error *e);
	void (*close)(struct bmc *bmc);
	/* Forgets what it is doing: `done` of it does not come any more. The next call begins anew. */
	void (*cancel)(struct bmc *bmc);
	void (*state)(struct bmc *bmc, bmc_state_done *done, void *data);
	void (*power)(struct bmc *bmc, enum bmc_action action, bmc_done *done, void *data);
	void (*boot)(struct bmc *bmc, const struct bmc_boot *boot, bmc_done *done, void *data);
	void (*identity)(struct bmc *bmc, bmc_json_done *done, void *data);
	void (*sensors)(struct bmc *bmc, bmc_json_done *done, void *data);
	void (*events)(struct bmc *bmc, bmc_json_done *done, void *data);
	/* `url` NULL ejects. */
	void (*media)(struct bmc *bmc, const char *url, bmc_done *done, void *data);
	int (*console_open)(
		struct bmc *bmc, const struct bmc_console_calls *calls, struct error *e);
	void (*console_write)(struct bmc *bmc, const void *bytes, size_t length);
	void (*console_close)(struct bmc *bmc);
};

static inline void bmc_close(struct bmc *bmc)
{
	if (bmc)
		bmc->driver->close(bmc);
}
DEFINE_CLEANUP(struct bmc *, bmc_close);

const char *bmc_power_name(enum bmc_power power);
const char *bmc_device_name(enum bmc_device device);
const char *bmc_action_name(enum bmc_action action);
/* -EINVAL if there is none of that name. */
int bmc_device_read(const char *name, enum bmc_device *ret) must_use;
int bmc_action_read(const char *name, enum bmc_action *ret) must_use;
