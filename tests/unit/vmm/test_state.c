/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/mman.h>

#include "test.h"
#include "vmm/state.h"

static int written(const struct state *state)
{
	struct error e = {};
	int fd = memfd_create("state", MFD_CLOEXEC);
	expect_equal(state_write(state, fd, &e), 0);
	expect(lseek(fd, 0, SEEK_SET) == 0);
	return fd;
}

static void comes_back(void)
{
	cleanup(state_done) struct state out = {}, in = {};
	struct error e = {};
	uint32_t number = 42, got = 0;
	state_put(&out, "one", 1, &number, sizeof(number));
	state_put(&out, "none", 3, NULL, 0);
	state_put(&out, "text", 2, "abcdefghi", 9);
	cleanup(close) int fd = written(&out);
	expect_equal(state_read(&in, fd, &e), 0);
	expect_equal(state_get(&in, "one", 1, &got, sizeof(got), &e), 0);
	expect_equal(got, 42);
	expect_equal(state_get(&in, "none", 3, NULL, 0, &e), 0);
	const uint8_t *data;
	size_t length;
	expect_equal(state_find(&in, "text", 2, &data, &length, &e), 0);
	expect_equal(length, 9);
	expect(memcmp(data, "abcdefghi", 9) == 0);
}

static void says_what_differs(void)
{
	cleanup(state_done) struct state state = {};
	struct error e = {};
	uint32_t number = 42;
	state_put(&state, "one", 1, &number, sizeof(number));
	expect_equal(state_get(&state, "two", 1, &number, sizeof(number), &e), -ENOENT);
	expect_contains(e.text, "two is missing");
	expect_equal(state_get(&state, "one", 2, &number, sizeof(number), &e), -EINVAL);
	expect_contains(e.text, "version 1, not 2");
	expect_equal(state_get(&state, "one", 1, &number, 2, &e), -EINVAL);
	expect_contains(e.text, "4 bytes, not 2");
}

static void refuses_each_damage(void)
{
	cleanup(state_done) struct state out = {};
	uint32_t number = 42;
	state_put(&out, "one", 1, &number, sizeof(number));
	cleanup(close) int fd = written(&out);
	off_t size = lseek(fd, 0, SEEK_END);
	for (off_t at = 0; at < size; at++) {
		struct error e = {};
		cleanup(state_done) struct state in = {};
		uint8_t byte, other;
		expect(pread(fd, &byte, 1, at) == 1);
		other = byte ^ 0x55;
		expect(pwrite(fd, &other, 1, at) == 1 && lseek(fd, 0, SEEK_SET) == 0);
		/* Only the reserved word of the header may differ. */
		if (at < 12 || at >= 16)
			expect(state_read(&in, fd, &e) < 0 && e.text[0]);
		expect(pwrite(fd, &byte, 1, at) == 1);
	}
	for (off_t length = 0; length < size; length++) {
		struct error e = {};
		cleanup(state_done) struct state in = {};
		cleanup(close) int part = written(&out);
		expect(ftruncate(part, length) == 0);
		expect(state_read(&in, part, &e) == -EINVAL && e.text[0]);
	}
}

static const struct test tests[] = {
	{ "what is put in comes back from a file", comes_back },
	{ "a section that is missing, of another version or length is named", says_what_differs },
	{ "a state that is damaged or cut off anywhere is refused", refuses_each_damage },
};
TEST_MAIN(tests)
