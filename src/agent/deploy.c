/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deploy.c - the conversation with the daemon, which outlives its restarts.
 */
#include "agent/deploy.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "agent/call.h"
#include "agent/clock.h"
#include "agent/disks.h"
#include "agent/init.h"
#include "agent/inventory.h"
#include "agent/modules.h"
#include "agent/neighbours.h"
#include "agent/network.h"
#include "agent/partition.h"
#include "agent/power.h"
#include "agent/rescue.h"
#include "agent/task.h"
#include "agent/tenant.h"
#include "base/file.h"

#define AGAIN_SECONDS 1
#define IMAGE_TRIES   10
#define SETTLE_MS     3000

struct deploy {
	struct call_server server;
	char nic[32], address[64];
	uint64_t serial; /* of the task in hand */
	char disk[32];   /* that the image was put on */
	char disk_serial[64];
};

static void pause_ms(unsigned int ms)
{
	const struct timespec time = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };
	nanosleep(&time, NULL);
}

static void take_word(const char *word, const char *key, char *to, size_t size)
{
	if (text_starts(word, key))
		snprintf(to, size, "%s", word + strlen(key));
}

static bool read_line(struct deploy *deploy)
{
	char line[4096], url[512] = "";
	char *rest = NULL;
	if (file_read_line(AT_FDCWD, "/proc/cmdline", line, sizeof(line)) <= 0)
		return false;
	for (char *word = strtok_r(line, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
		take_word(word, "berth.call=", url, sizeof(url));
		take_word(word, "berth.nic=", deploy->nic, sizeof(deploy->nic));
		take_word(word, "berth.address=", deploy->address, sizeof(deploy->address));
	}
	return url[0] && call_read_url(url, &deploy->server, NULL) == 0;
}

bool deploy_is_wanted(void)
{
	struct deploy deploy = {};
	return read_line(&deploy);
}

/* Cards appear when their driver has found them. */
static void bring_up(const struct deploy *deploy)
{
	uint64_t end = now_ms() + 60000;
	struct error e = {};
	modules_for_devices();
	while (deploy->nic[0]) {
		cleanup(free) char *lines =
			alloc_printf("address %s %s\n", deploy->nic, deploy->address);
		int r = network_configure(lines, &e);
		if (r == 0)
			return;
		if (now_ms() > end) {
			init_say("berth-agent: %s", e.text);
			return;
		}
		pause_ms(50);
		/* What hangs behind another device appears later. */
		modules_for_devices();
	}
}

/* Until it is heard: the daemon may be restarting. */
static void say(const struct deploy *deploy, const char *path, const struct text *body)
{
	for (;;) {
		cleanup(text_done) struct text answer = {};
		struct error e = {};
		int r = call_send(
			&deploy->server, "POST", path, text_str(body), body->length, &answer, &e);
		if (r == 0)
			return;
		init_say("berth-agent: %s", e.text);
		/* It knows us no more: nothing that we say changes that. */
		if (r == -ENOENT || r == -EBUSY)
			return;
		pause_ms(AGAIN_SECONDS * 1000);
	}
}

static void say_progress(
	const struct deploy *deploy, const char *stage, uint64_t done, uint64_t total)
{
	cleanup(text_done) struct text body = {}, answer = {};
	struct error e = {};
	text_printf(&body, "serial %llu\nstage %s\ndone %llu\ntotal %llu\n",
		(unsigned long long)deploy->serial, stage, (unsigned long long)done,
		(unsigned long long)total);
	/* Nobody needs it as badly as to wait for it. */
	(void)!call_send(&deploy->server, "POST", "/progress", body.data, body.length, &answer, &e);
}

static void say_done(
	const struct deploy *deploy, int code, const struct error *e, const char *lines)
{
	cleanup(text_done) struct text body = {};
	text_printf(&body, "serial %llu\n", (unsigned long long)deploy->serial);
	if (code < 0)
		text_printf(&body, "failed %s\n", e->text);
	else
		text_printf(&body, "ok\n%s", lines);
	say(deploy, "/done", &body);
}

static int erase(struct deploy *deploy, struct text *lines, struct error *e)
{
	static struct disk_fact disks[DISKS_MAX];
	size_t count = disks_find(disks);
	for (size_t i = 0; i < count; i++) {
		const char *method;
		uint64_t begin = now_ms();
		say_progress(deploy, "erase", i, count);
		int r = disks_erase(&disks[i], &method, e);
		if (r < 0)
			return r;
		text_printf(lines, "erased %s %s %llu %llu\n", disks[i].name, method,
			(unsigned long long)(now_ms() - begin), (unsigned long long)disks[i].bytes);
	}
	return 0;
}

static void image_progress(void *data, uint64_t done, uint64_t total)
{
	say_progress(data, "image", done, total);
}

static int write_image(struct deploy *deploy, const struct task *task, struct error *e)
{
	static struct disk_fact disks[DISKS_MAX];
	size_t count = disks_find(disks);
	const struct disk_fact *disk;
	struct call_stream stream;
	char path[64];
	int r = call_open(&deploy->server, task_value(task, "image"), &stream, e);
	if (r < 0)
		return r;
	r = disks_choose(disks, count, task_value(task, "disk"), stream.length, &disk, e);
	if (r == 0) {
		snprintf(deploy->disk, sizeof(deploy->disk), "%s", disk->name);
		snprintf(deploy->disk_serial, sizeof(deploy->disk_serial), "%s", disk->serial);
		snprintf(path, sizeof(path), "/dev/%s", disk->name);
		cleanup(close) int fd = open(path, O_RDWR | O_DIRECT | O_EXCL | O_CLOEXEC);
		r = fd < 0 ? error_errno(e, "open %s", path)
			   : disks_write(fd, &stream, task_value(task, "digest"), image_progress,
				     deploy, e);
	}
	call_close(&stream);
	return r;
}

/* The partitions' nodes appear a moment after the table was read. */
static int settle(const struct deploy *deploy, struct error *e)
{
	char path[64];
	int r = -EBUSY;
	snprintf(path, sizeof(path), "/dev/%s", deploy->disk);
	for (uint64_t end = now_ms() + SETTLE_MS; r < 0 && now_ms() < end; pause_ms(20)) {
		cleanup(close) int fd = open(path, O_RDWR | O_CLOEXEC);
		r = fd < 0 ? error_errno(e, "open %s", path) : partition_grow(fd, e);
		if (r == -EINVAL)
			break;
	}
	return r < 0 ? r : 0;
}

/* The partitions as they came, nothing changed. */
static void refresh(const char *disk)
{
	char path[64];
	int r = -EBUSY;
	snprintf(path, sizeof(path), "/dev/%s", disk);
	for (uint64_t end = now_ms() + SETTLE_MS; r == -EBUSY && now_ms() < end; pause_ms(20)) {
		cleanup(close) int fd = open(path, O_RDONLY | O_CLOEXEC);
		r = fd < 0 || ioctl(fd, BLKRRPART) < 0 ? -errno : 0;
	}
}

static int deploy_image(struct deploy *deploy, const struct task *task, struct error *e)
{
	int r = -EIO;
	uint64_t begin = now_ms();
	for (int i = 0; i < IMAGE_TRIES && r < 0; i++) {
		if (i)
			pause_ms(AGAIN_SECONDS * 1000);
		r = write_image(deploy, task, e);
		/* Only a broken connection is worth another try: the daemon may be restarting. */
		if (r != -EPIPE && r != -ECONNREFUSED && r != -ETIMEDOUT && r != -ECONNRESET)
			break;
	}
	init_say("berth-agent: image %s after %llu ms", r < 0 ? e->text : "written",
		(unsigned long long)(now_ms() - begin));
	if (r < 0)
		return r;
	/* What was saved of this disk is put back as it was, but for the key of an agent. */
	bool is_plain = text_equal(task_value(task, "plain"), "yes");
	if (is_plain && !task->file_count)
		return 0;
	say_progress(deploy, "settings", 0, 1);
	if (is_plain) {
		refresh(deploy->disk);
		if (!tenant_has_agent(deploy->disk))
			return 0;
		return tenant_write(deploy->disk, task->files, task->file_count, e);
	}
	r = settle(deploy, e);
	if (r < 0)
		return r;
	return tenant_write(deploy->disk, task->files, task->file_count, e);
}

static void save_progress(void *data, uint64_t done, uint64_t total)
{
	say_progress(data, "save", done, total);
}

static int save(struct deploy *deploy, const struct task *task, struct text *lines, struct error *e)
{
	static struct disk_fact disks[DISKS_MAX];
	size_t count = disks_find(disks);
	const struct disk_fact *disk;
	char path[64], digest[HASH_HEX_SIZE];
	int r = disks_choose(disks, count, task_value(task, "disk"), 0, &disk, e);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/dev/%s", disk->name);
	cleanup(close) int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		return error_errno(e, "open %s", path);
	r = disks_read(fd, disk->bytes, &deploy->server, "/disk", save_progress, deploy, digest, e);
	if (r == 0)
		text_printf(
			lines, "bytes %llu\ndigest %s\n", (unsigned long long)disk->bytes, digest);
	return r;
}

static void boot(struct deploy *deploy, const struct task *task)
{
	static struct disk_fact disks[DISKS_MAX];
	struct error e = {};
	const struct disk_fact *disk = NULL;
	cleanup(text_done) struct text lines = {};
	uint64_t load_ms = 0;
	bool is_quick = text_equal(task_value(task, "how"), "kexec");
	int r = is_quick ? disks_choose(disks, disks_find(disks),
				   task_value(task, "disk") ?: deploy->disk, 0, &disk, &e)
			 : -EOPNOTSUPP;
	if (r == 0)
		r = tenant_load(disk->name, &load_ms, &e);
	if (is_quick && r < 0)
		init_say("berth-agent: %s: the server restarts instead", e.text);
	text_printf(&lines, "how %s\nload_ms %llu\n", r == 0 ? "kexec" : "reboot",
		(unsigned long long)load_ms);
	say_done(deploy, 0, NULL, text_str(&lines));
	if (r == 0)
		tenant_jump();
	power_off_now(true);
}

static void carry_out(struct deploy *deploy, const struct task *task)
{
	cleanup(text_done) struct text lines = {};
	struct error e = {};
	int r = 0;
	deploy->serial = task->serial;
	if (text_equal(task->name, "wait"))
		return;
	init_say("berth-agent: %s", task->name);
	if (text_equal(task->name, "boot"))
		boot(deploy, task);
	if (text_equal(task->name, "off")) {
		say_done(deploy, 0, NULL, "");
		power_off_now(false);
	}
	if (text_equal(task->name, "erase"))
		r = erase(deploy, &lines, &e);
	else if (text_equal(task->name, "deploy"))
		r = deploy_image(deploy, task, &e);
	else if (text_equal(task->name, "save"))
		r = save(deploy, task, &lines, &e);
	else if (text_equal(task->name, "rescue"))
		r = rescue_start(task, &e);
	else
		r = error_set(&e, -EOPNOTSUPP, "the agent knows no task %.40s", task->name);
	if (r == 0 && deploy->disk[0])
		text_printf(&lines, "disk %s\n",
			deploy->disk_serial[0] ? deploy->disk_serial : deploy->disk);
	if (r < 0)
		init_say("berth-agent: %s", e.text);
	say_done(deploy, r, &e, text_str(&lines));
	if (r == 0 && text_equal(task->name, "rescue") && task_value(task, "network")) {
		neighbours_unwatch();
		rescue_move(deploy->nic);
	}
}

static void next_task(struct deploy *deploy)
{
	cleanup(text_done) struct text answer = {};
	cleanup(task_free) struct task *task = NULL;
	struct error e = {};
	int r = call_send(&deploy->server, "GET", "/task", NULL, 0, &answer, &e);
	if (r == 0)
		r = task_read(text_str(&answer), &task, &e);
	if (r == 0) {
		carry_out(deploy, task);
		return;
	}
	init_say("berth-agent: %s", e.text);
	pause_ms(AGAIN_SECONDS * 1000);
}

/* What a file system's driver asks the kernel's helper for, who is not here. */
static void load_file_system(const char *name)
{
	static const char *const needed[] = { "crc32c_generic", "nls_cp437", "nls_ascii" };
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
		modules_load(needed[i]);
	modules_load(name);
}

/* Beside the drivers of the hardware: the kernel tests each of its ways to count before it offers them. */
static pid_t load_hash(void)
{
	pid_t pid = fork();
	if (pid != 0)
		return pid;
	modules_load("algif_hash");
	modules_load("sha256_ssse3");
	_exit(0);
}

void deploy_run(void)
{
	struct deploy deploy = {};
	uint64_t begin_ms = now_ms();
	char hello[32];
	cleanup(text_done) struct text inventory = {};
	signal(SIGCHLD, SIG_DFL);
	tenant_set_loader(load_file_system);
	if (!read_line(&deploy))
		power_off_now(true);
	mkdir("/root", 0700);
	pid_t loader = load_hash();
	bring_up(&deploy);
	uint64_t up_ms = now_ms();
	inventory_add(&inventory);
	uint64_t known_ms = now_ms();
	if (loader > 0)
		waitpid(loader, NULL, 0);
	/* The kernel itself takes the one with the widest vectors, for kexec too: where they are slow, it shall not. */
	if (text_equal(hash_quickest(), "sha256-generic"))
		modules_unload("sha256_ssse3");
	init_say("berth-agent: calls %s after %llu ms: drivers and card %llu, inventory %llu",
		deploy.server.address, (unsigned long long)(now_ms() - begin_ms),
		(unsigned long long)(up_ms - begin_ms), (unsigned long long)(known_ms - up_ms));
	/* So that the daemon can tell its time from the kernel's. */
	snprintf(hello, sizeof(hello), "/hello?ms=%llu", (unsigned long long)(now_ms() - begin_ms));
	say(&deploy, hello, &inventory);
	neighbours_watch(&deploy.server);
	for (;;)
		next_task(&deploy);
}
