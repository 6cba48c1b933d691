/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tasks.h - what a berth-job can do, one function a task. Each enters its own jail before it looks at bytes
 * that somebody else wrote, and returns its answer in *ret (new reference).
 */
#pragma once

#include "job/task.h"

/*
 * "image": fds [image or metadata, stage, rootfs]; the third only for a split image. Verifies `digest` if given,
 * unpacks into the stage's `rootfs` and `templates`. A rootfs in squashfs goes through unsquashfs: `squashfs`, in
 * a second task with the same descriptors. A disk (`disk`: it was sent as one) stays as it is; one in qcow2 becomes
 * raw in the stage's `disk`: `qcow2`, in a second task, too. One file that is a disk needs no metadata.
 * Answers {"fingerprint", "size", "metadata", "type": "container" | "virtual-machine", "skipped", "bytes",
 * "squashfs", "qcow2", "disk_bytes", "inner_disk"}; an archive with a `rootfs.img`, the inner disk, is a machine's:
 * with a rootfs beside it a microVM's, whose own disk it is.
 */
int task_image(struct task *task, json_t **ret, struct error *e) must_use;

/*
 * "oci": fds [layout, stage]; `name` of the image in the index, `have`: layers that need no unpacking.
 * Unpacks each new layer into stage/DIFF. Answers {"fingerprint", "size", "layers": [top first],
 * "unpacked": [...], "image": what oci_read_config() gives}.
 */
int task_oci(struct task *task, json_t **ret, struct error *e) must_use;

/*
 * "oci-archive": fds [archive, stage]; unpacks a tar of an OCI layout into stage/layout.
 */
int task_oci_archive(struct task *task, json_t **ret, struct error *e) must_use;

/*
 * "fetch": fds [stage]; `source` as skopeo reads it ("docker://host/name:tag"), `plain`: HTTP or a
 * certificate of nobody are accepted. Fetches into the OCI layout stage/layout.
 */
int task_fetch(struct task *task, json_t **ret, struct error *e) must_use;

/*
 * "pack": fds [archive]; writes a tar of `trees` [{"prefix", "layers": [paths], "volume": source}] and `files`
 * [{"name", "text"}], `compression`: "gzip", "zstd", "xz", "none". Answers {"size", "digest"}.
 */
int task_pack(struct task *task, json_t **ret, struct error *e) must_use;

/*
 * "unpack": fds [archive]; unpacks what stands below `prefix` into the `volume` (a source of a mount), at `below`;
 * `clean`: what is there goes first. Of a volume of bytes the entry PREFIX.img.
 */
int task_unpack(struct task *task, json_t **ret, struct error *e) must_use;

/*
 * "backup-index": fds [archive, stage, out]; writes {"index", "metadata", "is_old"} of an instance's backup to `out`:
 * its index.yaml, and if it has one its metadata.yaml with the templates' texts.
 */
int task_backup_index(struct task *task, json_t **ret, struct error *e) must_use;

/*
 * "join": fds [out, file, ...]; writes `pieces` one after the other: a text as it stands, a number the whole
 * descriptor of that place.
 */
int task_join(struct task *task, json_t **ret, struct error *e) must_use;

/* "digest": fds [file]; answers {"digest"}, the SHA-256 of the whole. */
int task_digest(struct task *task, json_t **ret, struct error *e) must_use;

/* "remove": fds [dir]; removes the trees `names` below it. */
int task_remove(struct task *task, json_t **ret, struct error *e) must_use;

/*
 * "volume": `operation` of a pool driver (create, remove, copy, resize, transfer; make-pool) on `pool` {"driver", "home"}.
 */
int task_volume(struct task *task, json_t **ret, struct error *e) must_use;

/*
 * "unikernel": makes the erofs image `to` of `layers` (paths, top first) with `program` rewritten in it, unless it
 * is there; a program without a slash is looked for in `path`. -ENOEXEC says why it cannot run. With `digest` it
 * answers {"fingerprint", "size"} of the file.
 */
int task_unikernel(struct task *task, json_t **ret, struct error *e) must_use;

/*
 * "ext2": fds [volume]; makes the file system that the library OS knows on a volume of zeroes, repairs one that was not
 * closed, and makes it as large as the volume. A volume with other bytes stays as it is.
 */
int task_ext2(struct task *task, json_t **ret, struct error *e) must_use;

/*
 * "initial": fds [out]; writes the initial file system that servers boot, of the `kernel` in a directory (lib/modules)
 * with the `agent` as its init; answers {"bytes"}.
 */
int task_initial(struct task *task, json_t **ret, struct error *e) must_use;

/*
 * "media": fds [out, kernel, initial file system]; writes the disc that a server boots with `arguments` for the kernel;
 * answers {"bytes"}.
 */
int task_media(struct task *task, json_t **ret, struct error *e) must_use;
