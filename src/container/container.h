/* SPDX-License-Identifier: Apache-2.0 */
/*
 * container.h - what one container shall be, whoever asked: plan.json (plan.c) or config.json (oci.c).
 *
 * Texts are borrowed from the document that `document` keeps. Nothing here has been done yet.
 */
#pragma once

#include <jansson.h>
#include <sys/types.h>

#include "base/base.h"
#include "base/error.h"

#define CONTAINER_LAYERS_MAX 128
#define CONTAINER_MOUNTS_MAX 256
#define CONTAINER_LIST_MAX   256  /* of nics, devices, limits, paths, hooks, ids */
#define CONTAINER_WORDS_MAX  8192 /* of arguments and environment */

struct id_range {
	uint32_t inside;
	uint32_t outside;
	uint32_t count;
};

enum mount_kind {
	MOUNT_BIND,   /* of a path of the host */
	MOUNT_VOLUME, /* a directory, or an image with a file system */
	MOUNT_NEW,    /* of the file system `fs` */
	MOUNT_DEV,    /* a tmpfs with the device nodes */
	MOUNT_CGROUP,
};

struct container_mount {
	enum mount_kind kind;
	const char *source;
	const char *target;
	const char *fs;
	const char *options; /* for MOUNT_NEW and MOUNT_DEV: "size=1,mode=0755"; NULL: none */
	uint64_t set;        /* MOUNT_ATTR_* */
	uint64_t clear;
	uint64_t propagation; /* MS_SHARED, ...; 0: private */
	bool is_image;
	bool is_recursive;
	bool is_shifted;  /* ids as the root's */
	bool is_optional; /* a missing source is passed over */
	int fd;           /* the detached mount, once made; -1 */
	bool is_file;
};

struct container_device {
	const char *path;   /* in the container */
	const char *source; /* the host's node that tells the numbers; NULL: as given */
	char type;          /* 'c', 'b', 'p' */
	uint32_t major;
	uint32_t minor;
	uint32_t mode;
	uint32_t uid;
	uint32_t gid;
	bool is_optional;
};

/* Written into the root before the first process runs. */
struct container_file {
	const char *path;
	const char *content;
	uint32_t mode;
	bool is_only_new; /* one that is there already stays as it is */
};

struct container_nic {
	const char
		*link; /* the host's name of one that is there; NULL: it is made, as `host` says */
	struct {
		const char *name; /* of the host's end */
		const char *bridge;
		const char *shaper;
		bool is_isolated;
		uint64_t into_bits, out_of_bits; /* limits, a second; 0: none */
	} host;
	const char *name;
	const char *mac;
	uint32_t mtu;
	const json_t *addresses; /* of "10.0.0.2/24" */
	const json_t *gateways;
};

struct container_limit {
	int resource;  /* RLIMIT_* */
	uint64_t soft; /* UINT64_MAX: none */
	uint64_t hard;
};

struct container_user {
	const char *name; /* "uid:gid" or names to look up in the container; NULL: the numbers */
	uint32_t uid;
	uint32_t gid;
	const uint32_t *groups;
	size_t group_count;
	uint32_t umask; /* UINT32_MAX: 022 */
};

/* Five sets of 64 bits. */
struct container_caps {
	uint64_t bounding;
	uint64_t permitted;
	uint64_t effective;
	uint64_t inheritable;
	uint64_t ambient;
};

struct container_process {
	const char **args; /* NULL at the end */
	const char **env;
	const char *cwd;
	struct container_user user;
	struct container_caps caps;
	bool no_new_privileges;
	bool has_terminal;
	uint16_t columns;
	uint16_t rows;
	const struct sock_filter *filter; /* seccomp; NULL: none */
	size_t filter_length;
	uint32_t filter_flags; /* SECCOMP_FILTER_FLAG_* */
	struct container_limit *limits;
	size_t limit_count;
	int32_t oom_score_adj;
	bool has_oom_score;
};

struct container_root {
	const char **layers; /* top first */
	size_t layer_count;
	const char *volume; /* directory or image; NULL: none, the layers are read-only */
	const char *fs;     /* of the image; NULL: a directory */
	const char *plain;  /* in place of both: a directory used as it is */
	bool is_readonly;
	uint64_t propagation; /* MS_SHARED, ...; 0: private */
	bool is_volatile;
	bool is_fresh; /* found when it is made: the container never ran on this volume */
};

/* A namespace to join in place of a new one. */
struct container_join {
	uint64_t type; /* CLONE_NEW* */
	const char *path;
};

struct container {
	json_t *document;
	const char *name;
	const char *hostname;
	const char *domainname;
	uint64_t namespaces; /* CLONE_NEW* that are new */
	struct container_join *joins;
	size_t join_count;
	struct id_range *uids; /* none: no user namespace */
	size_t uid_count;
	struct id_range *gids;
	size_t gid_count;
	struct container_root root;
	struct container_process process;
	struct container_mount *mounts;
	size_t mount_count;
	struct container_device *devices;
	size_t device_count;
	struct container_nic *nics;
	size_t nic_count;
	const char **cgroups; /* NULL at the end */
	const char **masked;
	const char **readonly;
	struct container_file *files;
	size_t file_count;
	json_t *sysctls;   /* borrowed */
	json_t *resolver;  /* borrowed */
	bool is_system;    /* an init that manages the whole container */
	bool has_delegate; /* its v2 group is its own */
	bool shows_v1;     /* its v1 groups stand in /sys/fs/cgroup */
	int stop_signal;
	uint64_t console_bytes;
};

void container_free(struct container *container);
DEFINE_CLEANUP(struct container *, container_free);

/* The host's id for an id of the container; UINT32_MAX if it has none. */
uint32_t container_host_id(const struct id_range *ranges, size_t count, uint32_t inside);

/* Adds room for one more; the new item is zeroed. */
void *container_add(void *items, size_t *count, size_t size);
#define CONTAINER_ADD(items, count) \
	({ \
		(items) = container_add((items), &(count), sizeof(*(items))); \
		&(items)[(count)-1]; \
	})

/* The mounts that every container of a plan has: /proc, /dev, /sys and what stands in them. */
void container_add_usual_mounts(struct container *container);

/* The paths of /proc and /sys that are hidden or cannot be written. Both end with NULL. */
extern const char *const container_masked[];
extern const char *const container_readonly[];

/* RLIMIT_* of "nofile" or "RLIMIT_NOFILE"; -1 if there is none. */
int container_limit_number(const char *name);

/* The number of "TERM", "SIGTERM", "15", "SIGRTMIN+3"; -1 if it is none. */
int container_signal_number(const char *name);
