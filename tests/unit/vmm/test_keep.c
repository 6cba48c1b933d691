/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that is asked to stand still, its word, and the head of the file that has its state.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "abi/keep.h"
#include "abi/runner.h"
#include "base/channel.h"
#include "test.h"
#include "vmm/attend.h"
#include "vmm/keep.h"

#define PORT 0xf8

static int nmis, calls, last;

static void count_nmi(struct cpus *cpus, uint32_t cpu)
{
	(void)cpus;
	(void)cpu;
	nmis++;
}

static const struct engine engine = { .nmi = count_nmi };

static void is_done(void *data, int code)
{
	(void)data;
	calls++;
	last = code;
}

struct board {
	struct bus bus;
	struct loop *loop;
	struct cpus cpus;
	struct keep *keep;
};

static void make(struct board *board)
{
	struct error e = {};
	*board = (struct board){ .cpus.engine = &engine };
	nmis = calls = last = 0;
	bus_init(&board->bus);
	expect_equal(loop_new(&board->loop, &e), 0);
	expect_equal(keep_new(&board->bus, &board->cpus, board->loop, PORT, &board->keep, &e), 0);
}

static void take_apart(struct board *board)
{
	board->keep->part.driver->free(&board->keep->part);
	bus_done(&board->bus);
	loop_free(board->loop);
}

static uint64_t read_port(struct board *board, uint64_t port)
{
	return bus_read(&board->bus, BUS_PORTS, port, 1);
}

static void say(struct board *board, uint8_t word)
{
	bus_write(&board->bus, BUS_PORTS, PORT, 1, word);
}

static void stands_until_it_goes_on(void)
{
	struct board board;
	make(&board);
	expect_equal(read_port(&board, PORT), 0);
	expect_equal(keep_ask(board.keep, is_done, NULL), 0);
	expect_equal(keep_ask(board.keep, is_done, NULL), -EBUSY);
	expect_equal(nmis, 1);
	expect_equal(read_port(&board, PORT), KEEP_WANTED);
	say(&board, 0);
	expect_equal(read_port(&board, PORT), 0);
	expect_equal(read_port(&board, PORT + 1), KEEP_STANDS);
	expect_equal(loop_step(board.loop, 0), 0);
	expect(calls == 1 && last == 0);
	keep_here(board.keep);
	expect_equal(read_port(&board, PORT + 1), KEEP_HERE);
	/* The same once more, with a reason why not. */
	expect_equal(keep_ask(board.keep, is_done, NULL), 0);
	say(&board, E2BIG);
	expect_equal(loop_step(board.loop, 0), 0);
	expect(calls == 2 && last == -E2BIG);
	take_apart(&board);
}

static void is_not_held_by_its_own_word(void)
{
	struct board board;
	make(&board);
	say(&board, 0);
	expect_equal(read_port(&board, PORT + 1), KEEP_HERE);
	bus_write(&board.bus, BUS_PORTS, PORT + 1, 1, KEEP_STANDS);
	expect_equal(read_port(&board, PORT + 1), KEEP_HERE);
	expect_equal(loop_step(board.loop, 0), 0);
	expect_equal(calls, 0);
	/* Two words to one question: one answer. */
	expect_equal(keep_ask(board.keep, is_done, NULL), 0);
	say(&board, 0);
	say(&board, 0);
	expect_equal(read_port(&board, PORT + 1), KEEP_HERE);
	expect_equal(loop_step(board.loop, 0), 0);
	expect_equal(calls, 1);
	take_apart(&board);
}

static void goes_on_elsewhere(void)
{
	struct board board;
	struct error e = {};
	cleanup(state_done) struct state state = {}, other = {};
	make(&board);
	struct part *part = &board.keep->part;
	part->driver->save(part, &state);
	expect_equal(part->driver->load(part, &state, &e), 0);
	expect_equal(read_port(&board, PORT + 1), KEEP_ELSEWHERE);
	expect_equal(part->driver->load(part, &other, &e), -ENOENT);
	take_apart(&board);
}

/* berthd is started anew while the guest comes to where it can stand still. */
static void who_asked_has_gone(void)
{
	struct board board;
	struct attendant attendant;
	struct error e = {};
	char text[32];
	int ends[2], file = memfd_create("state", MFD_CLOEXEC);
	make(&board);
	static struct machine machine;
	static struct assembly assembly;
	assembly.machine = &machine;
	assembly.keep = board.keep;
	assembly.plan.is_initrd_mapped = true;
	expect_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	snprintf(text, sizeof(text), "channel=%d", ends[0]);
	setenv("BERTH_FDS", text, 1);
	expect_equal(attendant_init(&attendant, board.loop, 0, &e), 0);
	expect_equal(attendant_serve(&attendant, &assembly, NULL, &e), 0);
	const struct runner_header suspend = { sizeof(suspend), RUNNER_VERSION, RUNNER_SUSPEND, 1,
		0 };
	expect_equal(channel_send(ends[1], &suspend, sizeof(suspend), &file, 1), 0);
	expect_equal(loop_step(board.loop, 0), 0);
	expect_equal(nmis, 1);
	close(ends[1]);
	expect_equal(loop_step(board.loop, 0), 0);
	say(&board, 0);
	expect_equal(read_port(&board, PORT + 1), KEEP_STANDS);
	expect_equal(loop_step(board.loop, 0), 0);
	expect_equal(read_port(&board, PORT + 1), KEEP_HERE);
	expect_equal(lseek(file, 0, SEEK_END), 0);
	attendant_done(&attendant);
	close(file);
	take_apart(&board);
}

static struct image image_of(uint64_t bytes)
{
	int fd = memfd_create("image", MFD_CLOEXEC);
	expect(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0);
	return (struct image){ fd, "image", bytes };
}

static void knows_its_image(void)
{
	struct image image = image_of(8192), larger = image_of(12288), later = image_of(8192);
	struct image state = image_of(0);
	struct error e = {};
	const struct timespec times[] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	expect_equal(futimens(later.fd, times), 0);
	expect_equal(keep_read_head(state.fd, &image, &e), -EINVAL);
	expect_contains(e.text, "none of a unikernel under soft");
	expect_equal(keep_write_head(state.fd, &image, 1 * MIB, &e), 0);
	expect_equal(keep_read_head(state.fd, &image, &e), 0);
	expect_equal(lseek(state.fd, 0, SEEK_CUR), KEEP_DATA_AT);
	expect_equal(keep_read_head(state.fd, &larger, &e), -EINVAL);
	expect_contains(e.text, "another image");
	expect_equal(keep_read_head(state.fd, &later, &e), -EINVAL);
	close(image.fd);
	close(larger.fd);
	close(later.fd);
	close(state.fd);
}

static const struct test tests[] = {
	{ "a guest that is asked stands still until it may go on", stands_until_it_goes_on },
	{ "a word that nobody waits for holds nobody", is_not_held_by_its_own_word },
	{ "from its state it knows that it is elsewhere", goes_on_elsewhere },
	{ "nobody's question is not answered, and it goes on", who_asked_has_gone },
	{ "a state is of one image", knows_its_image },
};
TEST_MAIN(tests)
