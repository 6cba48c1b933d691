/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backup_index.h - what an instance's archive says of itself, in the layout of LXD and Incus.
 *
 * An archive is a tar:
 *
 *	backup/index.yaml                  name, type, names of the snapshots, and in `config` the whole objects
 *	backup/container/rootfs/...        the root of a container, all its layers as one tree
 *	backup/container/backup.yaml       `config` again: where older servers look for it
 *	backup/container/metadata.yaml     and templates/: the templates
 *	backup/snapshots/NAME/rootfs/...   its snapshots, likewise
 *	backup/virtual-machine.img         the disk of a machine; of a microVM its layers below
 *	                                   backup/virtual-machine/, too
 *	backup/virtual-machine-snapshots/NAME.img
 *
 * berth's first archives had their index in backup/meta/index.yaml and the root right in backup/container; they
 * are read, too.
 */
#pragma once

#include "daemon/instance/instances.h"

/*
 * The index as YAML, and its `config` alone, as it stands in backup.yaml; the caller owns both. `left_out`: a snapshot
 * that is not to be told of, or NULL.
 */
void backup_index_write(const struct instance *instance, bool with_snapshots, const char *left_out,
	char **ret, char **ret_config);

/* metadata.yaml of the templates, or NULL if it has none; the caller owns it. */
char *backup_metadata_write(const struct instance *instance);

struct backup_index {
	json_t *body;      /* as for POST /1.0/instances, without a source */
	json_t *snapshots; /* as instance->snapshots, oldest first; what they expand to is not in them */
	json_t *templates;   /* as in an instance's object, or NULL */
	bool is_old;         /* of the first layout */
	uint64_t root_bytes; /* what the largest of its trees takes, the root's or a snapshot's */
};

/* What the task "backup-index" wrote into `fd`, of at most `bytes_max` bytes; the caller owns it. */
int backup_told_read(int fd, size_t bytes_max, json_t **ret, struct error *e) must_use;

/* `told` is what the task "backup-index" wrote. -EINVAL with the field. */
int backup_index_read(const json_t *told, struct backup_index *ret, struct error *e) must_use;
void backup_index_done(struct backup_index *index);

/* Below which an archive has the root, or that of a snapshot; the caller owns it. Of a disk it is PREFIX.img. */
char *backup_prefix(const struct kind *kind, bool is_old, const char *snapshot);
