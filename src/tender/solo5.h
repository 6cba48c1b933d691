/* SPDX-License-Identifier: Apache-2.0 */
/*
 * solo5.h - a Solo5 unikernel: its notes are checked, its devices attached to descriptors of the host.
 */
#pragma once

#include "abi/solo5.h"
#include "base/base.h"
#include "base/error.h"
#include "model/elf64.h"

struct solo5 {
	uint32_t target; /* SOLO5_TARGET_ */
	struct elf elf;
	struct solo5_manifest manifest;
};

/*
 * Reads ABI and manifest of an opened ELF file; -ENOEXEC if it is no Solo5 unikernel for `target` (ANY: spt or hvt) or if a
 * note is wrong.
 */
int solo5_open(const struct elf *elf, uint32_t target, struct solo5 *ret, struct error *e) must_use;

/* Bytes of the manifest that are in use. */
size_t solo5_manifest_size(const struct solo5 *solo5);

/*
 * Each attaches what one option names, "NAME=WHAT", to the device NAME of the manifest. -EINVAL if it is
 * malformed, -ENOENT if the manifest has no such device, or why the host refused.
 */
int solo5_attach_block(struct solo5 *solo5, const char *option, struct error *e) must_use;
int solo5_set_block_size(struct solo5 *solo5, const char *option, struct error *e) must_use;
int solo5_attach_net(struct solo5 *solo5, const char *option, struct error *e) must_use;
int solo5_set_mac(struct solo5 *solo5, const char *option, struct error *e) must_use;

/* Fills in what was left open; -EINVAL names a device that is not attached or can't be used so. */
int solo5_finish(struct solo5 *solo5, struct error *e) must_use;
