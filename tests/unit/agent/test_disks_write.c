/* SPDX-License-Identifier: Apache-2.0 */
/* An image that comes over a socket, to a file that stands for the disk. The digest is nettle's: not every kernel counts. */
#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "agent/disks.h"
#include "agent/hash.h"
#include "base/file.h"
#include "test.h"

#define BYTES (37 * MIB + 512)

static uint8_t *image;
static char digest[HASH_HEX_SIZE];
static uint64_t told;

static void hear(void *data, uint64_t done, uint64_t total)
{
	(void)data;
	expect(done <= total && total == BYTES);
	told++;
}

static struct sha256_ctx context;

int hash_open(int *ret, struct error *e)
{
	(void)e;
	sha256_init(&context);
	*ret = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return 0;
}

int hash_add(int hash, const uint8_t *bytes, size_t length, struct error *e)
{
	(void)hash;
	(void)e;
	sha256_update(&context, length, bytes);
	return 0;
}

int hash_end(int hash, char hex[HASH_HEX_SIZE], struct error *e)
{
	uint8_t bytes[SHA256_DIGEST_SIZE];
	(void)hash;
	(void)e;
	sha256_digest(&context, sizeof(bytes), bytes);
	text_hex(bytes, sizeof(bytes), hex);
	return 0;
}

static void make_image(void)
{
	int hash;
	if (image)
		return;
	image = alloc_array(BYTES, uint8_t);
	for (size_t i = 0; i < BYTES; i++)
		image[i] = (uint8_t)(i * 2654435761u >> 13);
	expect_equal(hash_open(&hash, NULL), 0);
	expect(hash_add(hash, image, BYTES, NULL) == 0 && hash_end(hash, digest, NULL) == 0);
	close(hash);
}

/* Sends so many of the bytes and is gone. */
static int write_image(int disk, size_t sent, const char *wanted, struct error *e)
{
	int ends[2], status;
	expect(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		close(ends[0]);
		_exit(file_write_all(ends[1], image, sent) < 0);
	}
	close(ends[1]);
	struct call_stream stream = { .fd = ends[0], .length = BYTES };
	int r = disks_write(disk, &stream, wanted, hear, NULL, e);
	call_close(&stream);
	expect(waitpid(pid, &status, 0) == pid);
	return r;
}

static void writes_and_counts(void)
{
	struct error e = {};
	cleanup(close) int disk = memfd_create("disk", MFD_CLOEXEC);
	make_image();
	expect(write_image(disk, BYTES, digest, &e) == 0);
	uint8_t *there = mmap(NULL, BYTES, PROT_READ, MAP_SHARED, disk, 0);
	expect(there != MAP_FAILED && memcmp(there, image, BYTES) == 0);
	munmap(there, BYTES);
	expect(told > 0);
}

static void refuses_another_digest(void)
{
	struct error e = {};
	cleanup(close) int disk = memfd_create("disk", MFD_CLOEXEC);
	make_image();
	char other[HASH_HEX_SIZE];
	memcpy(other, digest, sizeof(other));
	other[0] = other[0] == '0' ? '1' : '0';
	expect(write_image(disk, BYTES, other, &e) == -EBADMSG);
	expect(strstr(e.text, "came with SHA-256"));
}

static void tells_a_torn_stream(void)
{
	struct error e = {};
	cleanup(close) int disk = memfd_create("disk", MFD_CLOEXEC);
	make_image();
	expect(write_image(disk, 20 * MIB + 7, digest, &e) == -EPIPE);
	expect(strstr(e.text, "the image ends after 20971527 of"));
}

static void tells_a_disk_that_fails(void)
{
	struct error e = {};
	cleanup(close) int disk = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	make_image();
	expect(write_image(disk, BYTES, digest, &e) < 0);
	expect(e.text[0]);
}

static const struct test tests[] = {
	{ "an image is on the disk as it came, and its digest is the image's", writes_and_counts },
	{ "an image of another digest is refused", refuses_another_digest },
	{ "a stream that is cut short is told with how far it came", tells_a_torn_stream },
	{ "a disk that can't be written ends it", tells_a_disk_that_fails },
};
TEST_MAIN(tests)
