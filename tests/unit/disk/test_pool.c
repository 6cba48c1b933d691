/* SPDX-License-Identifier: Apache-2.0 */
/* The same sentences for every driver; each pool stands in a mount namespace of this process's own. */
#include "disk/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/text.h"
#include "disk/pools.h"
#include "disk/program.h"
#include "host/loopdev.h"
#include "test.h"

#define MIB_OF_DATA 24

static char home[64];

static void enter(void)
{
	if (geteuid() != 0)
		test_skip("only root can make pools");
	static bool is_apart;
	if (is_apart)
		return;
	expect_equal(unshare(CLONE_NEWNS), 0);
	expect_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	is_apart = true;
}

static struct pool *make_pool(const char *driver_name, uint64_t size_bytes)
{
	enter();
	strcpy(home, "/tmp/berth-test-pool-XXXXXX");
	expect(mkdtemp(home) != NULL);
	test_removes_at_end(home);
	const struct pool_driver *driver = pools_find_driver(driver_name);
	expect(driver != NULL);
	struct error e = {};
	struct pool *pool = NULL;
	if (!text_equal(driver_name, "dir") && driver->probe(home, &e) < 0) {
		rmdir(home);
		test_skip("%.200s", e.text);
	}
	struct pool_options options = { .size_bytes = size_bytes };
	if (pools_make(driver, home, &options, &pool, &e) < 0)
		test_fail("%s", e.text);
	return pool;
}

static void destroy_pool(struct pool *pool)
{
	struct error e = {};
	if (pool->driver->destroy(pool, &e) < 0)
		test_fail("%s", e.text);
	pool_free(pool);
	expect_equal(rmdir(home), 0);
}

/* The volume's root as an instance sees it; an image is mounted at HOME/seen. */
static char *mount_volume(struct pool *pool, const char *name)
{
	char *path = pool_volume_path(pool, name);
	if (pool->driver->stands_as(pool, name) == VOLUME_DIRECTORY)
		return path;
	cleanup(close) int file = open(path, O_RDWR | O_CLOEXEC);
	expect(file >= 0);
	free(path);
	struct loopdev device;
	struct error e = {};
	if (loopdev_attach(file, name, false, false, &device, &e) < 0)
		test_fail("%s", e.text);
	char *seen = alloc_printf("%s/seen", home);
	expect(mkdir(seen, 0700) == 0 || errno == EEXIST);
	expect_equal(mount(device.path, seen, "ext4", 0, ""), 0);
	close(device.fd);
	return seen;
}

static void unmount_volume(char *path)
{
	if (text_ends(path, "/seen")) {
		expect_equal(umount2(path, 0), 0);
		expect_equal(rmdir(path), 0);
	}
	free(path);
}

/* Writes up to `mib` MiB and returns 0 or the errno that stopped it. */
static int fill(const char *volume, const char *name, unsigned mib)
{
	static char block[MIB];
	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (char)(i * 2654435761u >> 13);
	cleanup(free) char *path = alloc_printf("%s/%s", volume, name);
	cleanup(close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	for (unsigned i = 0; i < mib; i++) {
		int r = file_write_all(fd, block, sizeof(block));
		if (r < 0)
			return r;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

static void holds_its_size(const char *driver)
{
	struct pool *pool = make_pool(driver, text_equal(driver, "btrfs") ? GIB : 0);
	struct error e = {};
	int r = pool->driver->create(pool, "custom/default_v", VOLUME_CONTENT, 16 * MIB, &e);
	if (r < 0)
		test_fail("%s", e.text);
	char *seen = mount_volume(pool, "custom/default_v");
	r = fill(seen, "big", MIB_OF_DATA);
	expect(r == -ENOSPC || r == -EDQUOT);
	cleanup(free) char *big = alloc_printf("%s/big", seen);
	struct stat status;
	expect_equal(stat(big, &status), 0);
	expect(status.st_size <= 16 * (off_t)MIB && status.st_size > 10 * (off_t)MIB);
	expect_equal(unlink(big), 0);
	unmount_volume(seen);
	expect_equal(pool->driver->remove(pool, "custom/default_v", &e), 0);
	expect(!pool_has_volume(pool, "custom/default_v"));
	destroy_pool(pool);
}

static void grows_while_in_use(const char *driver)
{
	struct pool *pool = make_pool(driver, text_equal(driver, "btrfs") ? GIB : 0);
	struct error e = {};
	expect_equal(
		pool->driver->create(pool, "containers/default_c", VOLUME_ROOT, 16 * MIB, &e), 0);
	char *seen = mount_volume(pool, "containers/default_c");
	expect(fill(seen, "upper/big", MIB_OF_DATA) < 0);
	/* A job does this in a process of its own: the driver may leave this mount namespace. */
	pid_t child = fork();
	if (child == 0) {
		int r = pool->driver->resize(
			pool, "containers/default_c", VOLUME_ROOT, 64 * MIB, &e);
		if (r < 0)
			printf("# %s\n", e.text);
		fflush(stdout);
		_exit(r < 0 ? 1 : 0);
	}
	int status;
	expect_equal(waitpid(child, &status, 0), child);
	expect_equal(status, 0);
	expect_equal(fill(seen, "upper/big", MIB_OF_DATA), 0);
	unmount_volume(seen);
	expect_equal(syncfs(pool->dir), 0);
	uint64_t used = 0;
	expect_equal(pool->driver->used(pool, "containers/default_c", &used, &e), 0);
	expect(used >= MIB_OF_DATA * MIB);
	expect_equal(pool->driver->remove(pool, "containers/default_c", &e), 0);
	destroy_pool(pool);
}

static void copies_have_a_life_of_their_own(const char *driver)
{
	struct pool *pool = make_pool(driver, text_equal(driver, "btrfs") ? GIB : 0);
	uint64_t size = text_equal(driver, "dir") ? 0 : 32 * MIB;
	struct error e = {};
	expect_equal(pool->driver->create(pool, "containers/default_c", VOLUME_ROOT, size, &e), 0);
	char *seen = mount_volume(pool, "containers/default_c");
	expect_equal(fill(seen, "upper/a", 1), 0);
	unmount_volume(seen);
	const char *snapshot = "containers-snapshots/default_c/s0";
	if (pool->driver->copy(pool, "containers/default_c", snapshot, VOLUME_ROOT, size, &e) < 0)
		test_fail("%s", e.text);
	expect_equal(
		pool->driver->copy(pool, "containers/default_c", snapshot, VOLUME_ROOT, size, &e),
		-EEXIST);
	seen = mount_volume(pool, "containers/default_c");
	cleanup(free) char *file = alloc_printf("%s/upper/a", seen);
	expect_equal(unlink(file), 0);
	unmount_volume(seen);
	seen = mount_volume(pool, snapshot);
	cleanup(free) char *kept = alloc_printf("%s/upper/a", seen);
	expect_equal(access(kept, F_OK), 0);
	unmount_volume(seen);
	expect_equal(pool->driver->rename(pool, snapshot, "containers/default_d", &e), 0);
	expect(pool_has_volume(pool, "containers/default_d"));
	expect_equal(pool->driver->remove(pool, "containers/default_c", &e), 0);
	expect_equal(pool->driver->remove(pool, "containers/default_d", &e), 0);
	destroy_pool(pool);
}

static void is_found_again(const char *driver)
{
	struct pool *pool = make_pool(driver, text_equal(driver, "btrfs") ? GIB : 0);
	uint64_t size = text_equal(driver, "dir") ? 0 : 32 * MIB;
	struct error e = {};
	expect_equal(pool->driver->create(pool, "custom/default_v", VOLUME_CONTENT, size, &e), 0);
	const struct pool_driver *how = pool->driver;
	cleanup(free) char *mount_point = alloc_printf("%s/mnt", home);
	pool_free(pool);
	umount2(mount_point, MNT_DETACH);
	struct pool *again = NULL;
	if (pools_open(how, home, &again, &e) < 0)
		test_fail("%s", e.text);
	expect(pool_has_volume(again, "custom/default_v"));
	/* And while it is still mounted. */
	pool_free(again);
	expect_equal(pools_open(how, home, &again, &e), 0);
	expect_equal(how->remove(again, "custom/default_v", &e), 0);
	destroy_pool(again);
}

static void btrfs_holds_its_size(void)
{
	holds_its_size("btrfs");
}

static void loop_holds_its_size(void)
{
	holds_its_size("loop");
}

static void btrfs_grows(void)
{
	grows_while_in_use("btrfs");
}

static void loop_grows(void)
{
	/* Bit 24 of the bounding set: ext4 asks for it. */
	if (prctl(PR_CAPBSET_READ, 24) != 1)
		test_skip("this machine has no CAP_SYS_RESOURCE");
	grows_while_in_use("loop");
}

static void loop_grows_unused(void)
{
	struct pool *pool = make_pool("loop", 0);
	struct error e = {};
	const char *name = "custom/default_v";
	expect_equal(pool->driver->create(pool, name, VOLUME_CONTENT, 16 * MIB, &e), 0);
	expect_equal(pool->driver->resize(pool, name, VOLUME_CONTENT, 8 * MIB, &e), -EINVAL);
	expect_contains(e.text, "only grow");
	if (pool->driver->resize(pool, name, VOLUME_CONTENT, 64 * MIB, &e) < 0)
		test_fail("%s", e.text);
	char *seen = mount_volume(pool, name);
	expect_equal(fill(seen, "big", MIB_OF_DATA), 0);
	unmount_volume(seen);
	expect_equal(pool->driver->remove(pool, name, &e), 0);
	destroy_pool(pool);
}

static void btrfs_copies(void)
{
	copies_have_a_life_of_their_own("btrfs");
}

static void loop_copies(void)
{
	copies_have_a_life_of_their_own("loop");
}

static void dir_copies(void)
{
	copies_have_a_life_of_their_own("dir");
}

static void btrfs_found(void)
{
	is_found_again("btrfs");
}

static void loop_found(void)
{
	is_found_again("loop");
}

static void dir_found(void)
{
	is_found_again("dir");
}

static void dir_refuses_a_size_it_cannot_hold(void)
{
	struct pool *pool = make_pool("dir", 0);
	struct error e = {};
	if (pool->can & POOL_CAN_LIMIT) {
		destroy_pool(pool);
		test_skip("/tmp has project quotas");
	}
	expect_equal(pool->driver->create(pool, "custom/v", VOLUME_CONTENT, MIB, &e), -EINVAL);
	expect_contains(e.text, "project quotas");
	expect(!pool_has_volume(pool, "custom/v"));
	destroy_pool(pool);
}

static off_t block_size(const struct pool *pool, const char *name)
{
	cleanup(free) char *path = pool_block_path(pool, name);
	struct stat status;
	return stat(path, &status) == 0 ? status.st_size : -1;
}

static void blocks_are_bytes(const char *driver)
{
	struct pool *pool = make_pool(driver, text_equal(driver, "btrfs") ? GIB : 0);
	struct error e = {};
	const char *name = "virtual-machines/default_v", *copy = "virtual-machines/default_w";
	if (pool->driver->create(pool, name, VOLUME_BLOCK, 16 * MIB, &e) < 0)
		test_fail("%s", e.text);
	expect_equal(block_size(pool, name), 16 * MIB);
	expect_equal(pool->driver->resize(pool, name, VOLUME_BLOCK, 8 * MIB, &e), -EINVAL);
	expect_contains(e.text, "only grows");
	expect_equal(pool->driver->resize(pool, name, VOLUME_BLOCK, 24 * MIB, &e), 0);
	expect_equal(block_size(pool, name), 24 * MIB);
	/* To its last byte, although the file system keeps notes of its own. */
	cleanup(free) char *path = pool_block_path(pool, name);
	cleanup(free) char *slash = alloc_text(path);
	*strrchr(slash, '/') = '\0';
	expect_equal(fill(slash, strrchr(path, '/') + 1, 24), 0);
	expect_equal(pool->driver->copy(pool, name, copy, VOLUME_BLOCK, 32 * MIB, &e), 0);
	expect_equal(block_size(pool, copy), 32 * MIB);
	expect_equal(block_size(pool, name), 24 * MIB);
	expect_equal(pool->driver->remove(pool, name, &e), 0);
	expect_equal(pool->driver->remove(pool, copy, &e), 0);
	destroy_pool(pool);
}

static void btrfs_blocks(void)
{
	blocks_are_bytes("btrfs");
}

static void loop_blocks(void)
{
	blocks_are_bytes("loop");
}

static void dir_blocks(void)
{
	blocks_are_bytes("dir");
}

static void nested_subvolumes_count_and_go(void)
{
	struct pool *pool = make_pool("btrfs", GIB);
	struct error e = {};
	expect_equal(
		pool->driver->create(pool, "custom/default_v", VOLUME_CONTENT, 16 * MIB, &e), 0);
	char *seen = mount_volume(pool, "custom/default_v");
	cleanup(free) char *inner = alloc_printf("%s/inner", seen);
	char *const make[] = { (char[]){ "btrfs" }, (char[]){ "subvolume" }, (char[]){ "create" },
		inner, NULL };
	expect_equal(program_run(make, -1, &e), 0);
	int r = fill(inner, "big", MIB_OF_DATA);
	unmount_volume(seen);
	expect_equal(pool->driver->remove(pool, "custom/default_v", &e), 0);
	expect(!pool_has_volume(pool, "custom/default_v"));
	destroy_pool(pool);
	expect(r == -EDQUOT || r == -ENOSPC);
}

static const struct test tests[] = {
	{ "btrfs: a volume holds its size and no byte more", btrfs_holds_its_size },
	{ "loop: a volume holds its size and no byte more", loop_holds_its_size },
	{ "btrfs: a volume grows while it is in use", btrfs_grows },
	{ "loop: a volume grows while it is in use", loop_grows },
	{ "loop: a volume that nobody uses grows and does not shrink", loop_grows_unused },
	{ "btrfs: a copy has a life of its own", btrfs_copies },
	{ "loop: a copy has a life of its own", loop_copies },
	{ "dir: a copy has a life of its own", dir_copies },
	{ "btrfs: a block volume is bytes, all of them", btrfs_blocks },
	{ "loop: a block volume is bytes, all of them", loop_blocks },
	{ "dir: a block volume is bytes, all of them", dir_blocks },
	{ "btrfs: a pool is found again, mounted or not", btrfs_found },
	{ "loop: a pool is found again", loop_found },
	{ "dir: a pool is found again", dir_found },
	{ "dir: a size that nobody could hold is refused", dir_refuses_a_size_it_cannot_hold },
	{ "btrfs: subvolumes made inside a volume count and go with it",
		nested_subvolumes_count_and_go },
};

TEST_MAIN(tests)
