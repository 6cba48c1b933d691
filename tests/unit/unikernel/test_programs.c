/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs alone with the library OS say what they say on Linux.
 */
#include <elf.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/base.h"
#include "test.h"

/* A bound of what ends by itself, in seconds: long, for a host that has other things to do. */
#define BOUND "timeout -k 30 120"

static char directory[64];

/* Standard output of a shell command; its status is that of pclose(). */
static int run(char *output, size_t size, const char *command)
{
	FILE *pipe = popen(command, "r");
	expect(pipe != NULL);
	size_t length = fread(output, 1, size - 1, pipe);
	output[length] = '\0';
	return pclose(pipe);
}

static int build(const char *program, const char *words, char *output, size_t size)
{
	cleanup(free) char *command = alloc_printf("%s --build %s/root %s %s/image %s 2>&1",
		getenv("BERTH_TENDER"), directory, program, directory, words);
	return run(output, size, command);
}

static void make_root(void)
{
	char output[4096];
	strcpy(directory, "/tmp/berth-test-unikernel-XXXXXX");
	expect(mkdtemp(directory) != NULL);
	test_removes_at_end(directory);
	cleanup(free) char *command = alloc_printf(
		"cd %s && mkdir -p root/etc root/tmp root/bin root/deep/er && "
		"seq 1 5000 > root/etc/numbers && ln root/etc/numbers root/etc/same && "
		"ln -s ../etc/numbers root/deep/link && touch root/deep/er/empty && "
		"for i in $(seq 1 600); do echo $i > root/deep/file-with-a-long-name-$i; done && "
		"cp /bin/busybox root/bin/busybox && for a in sh sort head wc cat env; do ln -s busybox root/bin/$a; done && "
		"printf '#!/bin/sh -e\necho script $1 $0; false; echo never\n' > root/bin/script && chmod +x root/bin/script && touch -d @1700000000 root/etc/numbers",
		directory);
	expect_equal(run(output, sizeof(output), command), 0);
}

static void remove_root(void)
{
	char output[64];
	cleanup(free) char *command = alloc_printf("rm -rf %s", directory);
	expect_equal(run(output, sizeof(output), command), 0);
}

/* The loader and the libraries of the host's own programs, where those look for them. */
static void add_libraries(const char *programs)
{
	char output[4096];
	cleanup(free) char *command =
		alloc_printf("ldd %s | grep -o '/[^ :]*' | sort -u | while read -r l; do "
			     "mkdir -p %s/root${l%%/*} && cp -L $l %s/root$l; done",
			programs, directory, directory);
	expect_equal(run(output, sizeof(output), command), 0);
}

/* A processor that this may run on: packets on loopback come in their order on one only. */
static int one_processor(void)
{
	cpu_set_t set;
	int cpu = 0;
	expect_equal(sched_getaffinity(0, sizeof(set), &set), 0);
	while (cpu < CPU_SETSIZE - 1 && !CPU_ISSET(cpu, &set))
		cpu++;
	return cpu;
}

static void every_area_of(const char *program, bool with_edges)
{
	static const char *const areas[] = { "names", "files", "waiting", "threads", "signals",
		"memory", "sockets", "processes", "spells", "edges" };
	static char wanted[1 << 20], got[1 << 20];
	expect_equal(build(program, "areas", got, sizeof(got)), 0);
	for (size_t i = 0; i < ARRAY_SIZE(areas) - !with_edges; i++) {
		/* With a /tmp and a network of its own: what others leave or use there is no difference. */
		cleanup(free) char *native = alloc_printf(
			"unshare -mn sh -c 'ip link set lo up && mount -t tmpfs none /mnt && "
			"cp %s /mnt/areas && mount -t tmpfs none /tmp && exec taskset -c %d " BOUND
			" /mnt/areas %s'",
			program, one_processor(), areas[i]);
		cleanup(free) char *alone = alloc_printf(BOUND " %s --root=%s/image -- areas %s",
			getenv("BERTH_TENDER"), directory, areas[i]);
		printf("# %s\n", areas[i]);
		expect_equal(run(wanted, sizeof(wanted), native), 0);
		expect_equal(run(got, sizeof(got), alone), 0);
		expect_text(got, wanted);
	}
}

static void musl_is_as_on_linux(void)
{
	static char wanted[4096], got[4096];
	const char *program = getenv("MUSL");
	if (!program || !*program)
		test_skip("no musl to build it with");
	make_root();
	expect_equal(build(program, "musl", got, sizeof(got)), 0);
	cleanup(free) char *native = alloc_printf(BOUND " %s", program);
	cleanup(free) char *alone =
		alloc_printf(BOUND " %s --root=%s/image", getenv("BERTH_TENDER"), directory);
	expect_equal(run(wanted, sizeof(wanted), native), 0);
	expect_equal(run(got, sizeof(got), alone), 0);
	expect_text(got, wanted);
	remove_root();
}

static void every_area_is_as_on_linux(void)
{
	make_root();
	every_area_of(getenv("AREAS"), true);
	every_area_of(getenv("AREAS_PIE"), false);
	add_libraries(getenv("AREAS_DYNAMIC"));
	every_area_of(getenv("AREAS_DYNAMIC"), false);
	remove_root();
}

static void dynamic_programs_run_each_other(void)
{
	static const char script[] =
		"PATH=/usr/bin:/bin; for i in 1 2 3; do echo $i; done | sort -r | cat; "
		"x=$(busybox echo static); echo $x; busybox sh -c \"ls /deep | busybox wc -l; script one\"; "
		"script two; echo $?; (cd /etc; ../usr/bin/ls -l same); busybox readlink /proc/self/exe; "
		"busybox sh -c \"(busybox sleep 0.05; echo later) | /usr/bin/cat\"; "
		"sha256sum /usr/bin/ls /bin/busybox; /bin/nothere; echo $?; exec busybox expr 6 \"*\" 7";
	static char wanted[65536], got[65536];
	make_root();
	cleanup(free) char *fill = alloc_printf(
		"cd %s/root && rm bin/cat bin/sort && mkdir -p usr/bin && "
		"cp /bin/bash /bin/ls /bin/cat /usr/bin/sort /usr/bin/sha256sum usr/bin/",
		directory);
	expect_equal(run(got, sizeof(got), fill), 0);
	add_libraries("/bin/bash /bin/ls /bin/cat /usr/bin/sort /usr/bin/sha256sum");
	cleanup(free) char *program = alloc_printf("%s/root/usr/bin/bash", directory);
	expect_equal(build(program, "/usr/bin/bash", got, sizeof(got)), 0);
	cleanup(free) char *native = alloc_printf(
		"cd %s && mkdir root/proc && "
		"unshare -m sh -c 'mount -t proc none root/proc && exec chroot root \"$@\"' - "
		"/usr/bin/bash -c '%s' 2>/dev/null",
		directory, script);
	cleanup(free) char *alone =
		alloc_printf(BOUND " %s --root=%s/image -- /usr/bin/bash -c '%s' 2>/dev/null",
			getenv("BERTH_TENDER"), directory, script);
	expect_equal(run(wanted, sizeof(wanted), native), 0);
	expect_equal(run(got, sizeof(got), alone), 0);
	expect_text(got, wanted);
	/* Not with what the program itself wrote. */
	cleanup(free) char *own = alloc_printf(BOUND
		" %s --root=%s/image -- /usr/bin/bash -c '/usr/bin/cat /usr/bin/ls > /tmp/ls; "
		"/bin/busybox chmod +x /tmp/ls; /tmp/ls; echo $?' 2>/dev/null",
		getenv("BERTH_TENDER"), directory);
	expect_equal(run(got, sizeof(got), own), 0);
	expect_text(got, "126\n");
	remove_root();
}

/* What a program missed is said by name, and nothing else is. */
static void what_is_missed_is_said(void)
{
	char got[4096];
	make_root();
	expect_equal(build(getenv("AREAS"), "areas", got, sizeof(got)), 0);
	cleanup(free) char *alone =
		alloc_printf("timeout 20 %s --root=%s/image --verbose -- areas missing 2>&1",
			getenv("BERTH_TENDER"), directory);
	expect_equal(run(got, sizeof(got), alone), 0);
	expect_contains(got, "syscall(999): -1 ENOSYS\n");
	expect_contains(got, "PROT_READ | PROT_EXEC): -1 EACCES\n");
	expect_contains(got, "berth: it wanted to execute memory that it had written");
	expect_contains(got, "berth: it asked for calls that no Linux has\n");
	expect(strstr(got, "no such call") == NULL);
	remove_root();
}

static void busybox_is_as_on_linux(void)
{
	static const char *const applets[] = {
		"echo one two",
		"cat /etc/numbers",
		"sha256sum /etc/numbers /bin/busybox",
		"md5sum /deep/link",
		"awk '{ s += $1 } END { print s, s / 7 }' /etc/numbers",
		"sed -n 's/9$/nine/p' /etc/numbers",
		"sort -rn /etc/numbers",
		"grep -c 7 /etc/numbers",
		"grep -rl 599 /deep/file-with-a-long-name-599",
		"ls /deep /etc",
		"ls -ln /etc/numbers /deep/link",
		"stat -c '%a %s %h %F %Y' /etc/numbers /deep/link",
		"wc /etc/numbers",
		"gzip -c /etc/numbers",
		"bzip2 -c /etc/numbers",
		"tar cf - /etc/numbers /deep/link",
		"head -n 3 /etc/same",
		"tail -n 3 /etc/same",
		"cut -c 2 /etc/numbers",
		"tr 1 x",
		"dd if=/etc/numbers bs=7 count=99",
		"hexdump /etc/numbers",
		"base64 /etc/numbers",
		"cksum /etc/numbers",
		"diff /etc/numbers /deep/er/empty",
		"cmp /etc/numbers /etc/same",
		"od -c /etc/same",
		"uniq /etc/numbers",
		"expr 6 '*' 7",
		"factor 1234567890123",
		"dirname /a/b/c",
		"realpath /deep/link",
		"readlink /deep/link",
		"test -f /etc/numbers",
		"sleep 0.01",
		"false",
		"cat /no/such/file",
		"sh -c '(exit 3); echo $?; x=$(echo sub; exit 5); echo $x $?; echo a b | cat'",
		"sh -c 'x=1; (x=2; cd /deep; echo $x $PWD); echo $x $PWD; (exit 9) && echo no'",
		"sh -c 'PATH=/bin; /bin/sort -rn /etc/numbers | /bin/head -n 3; /bin/wc -l < /etc/numbers'",
		"sh -c '/bin/script one; echo $?; /bin/nothere; echo $?; /etc/numbers; echo $?'",
		"sh -c '/bin/env -i A=b /bin/sh -c \"echo \\$A \\$0 \\$#\" x y z; echo $?'",
		"sh -c 'trap \"echo bye\" EXIT; cat /etc/numbers | /bin/wc'",
		("sh -c 'i=0; while [ $i -lt 30 ]; do /bin/cat /etc/same > /tmp/x$i; i=$((i+1)); done; "
		 "cat /tmp/x* | wc'"),
		"sh -c 'yes | head -n 3; sleep 9 & kill $!; wait $!; echo $?; (sleep 0.05; echo late) & echo early; wait'",
		"sh -c 'busybox timeout 0.05 /bin/busybox sleep 9; echo $?; seq 30000 | busybox tac | busybox tail -n 1; sleep 9 & echo; kill -9 $!; wait; echo end'",
		"xargs -n 7 echo",
		"find /etc -type f -name 'n*' -exec /bin/wc {} ;", /* one: a directory has an order of its own */
		"sh -c 'cd /deep; for i in 1 2 3; do echo $i; done; pwd; exit 3'",
	};
	static char wanted[1 << 22], got[1 << 22];
	make_root();
	expect_equal(build("/bin/busybox", "busybox", got, sizeof(got)), 0);
	/* Linux's shell opens it for what runs beside it; the library OS has its own. */
	cleanup(free) char *device = alloc_printf(
		"mkdir %s/root/dev && mknod %s/root/dev/null c 1 3", directory, directory);
	expect_equal(run(got, sizeof(got), device), 0);
	for (size_t i = 0; i < ARRAY_SIZE(applets); i++) {
		cleanup(free) char *native =
			alloc_printf("seq 1 100 | chroot %s/root /bin/busybox %s 2>/dev/null",
				directory, applets[i]);
		cleanup(free) char *alone = alloc_printf(
			"seq 1 100 | " BOUND " %s --root=%s/image -- busybox %s 2>/dev/null",
			getenv("BERTH_TENDER"), directory, applets[i]);
		printf("# %s\n", applets[i]);
		int status = run(wanted, sizeof(wanted), native);
		expect_equal(run(got, sizeof(got), alone), status);
		expect_text(got, wanted);
	}
	remove_root();
}

static void every_register_is_kept(void)
{
	char output[4096];
	make_root();
	expect_equal(build(getenv("REGISTERS"), "registers", output, sizeof(output)), 0);
	cleanup(free) char *alone = alloc_printf(
		BOUND " %s --root=%s/image </dev/null", getenv("BERTH_TENDER"), directory);
	expect_equal(run(output, sizeof(output), alone), 0);
	expect_text(output, "every register is kept around every call\n");
	remove_root();
}

/* A program of two segments that only ends, with status 7, made odd by a number at a place of its headers. */
static void write_odd(const char *name, size_t at, uint64_t value, size_t bytes)
{
	static const char code[] = "\xb8\x3c\0\0\0\x6a\x07\x5f\x0f\x05\x90\x90\x90\x90";
	static uint8_t file[8192];
	const Elf64_Ehdr header = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1 },
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_version = 1,
		.e_entry = 0x401000,
		.e_phoff = sizeof(header),
		.e_ehsize = sizeof(header),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 2 };
	const Elf64_Phdr segments[] = {
		{ PT_LOAD, PF_R | PF_X, 4096, 0x401000, 0x401000, sizeof(code), 4096, 4096 },
		{ PT_LOAD, PF_R | PF_W, 0, 0x402000, 0x402000, 64, 4096, 4096 },
	};
	memset(file, 0, sizeof(file));
	memcpy(file, &header, sizeof(header));
	memcpy(file + sizeof(header), segments, sizeof(segments));
	memcpy(file + 4096, code, sizeof(code));
	memcpy(file + at, &value, bytes);
	cleanup(free) char *path = alloc_printf("%s/root/%s", directory, name);
	FILE *out = fopen(path, "w");
	expect(out && fwrite(file, sizeof(file), 1, out) == 1 && fclose(out) == 0);
	expect_equal(chmod(path, 0755), 0);
}

/* Whatever stands in its headers, a program of the image ends itself only. */
static void odd_programs_end_alone(void)
{
	static const char script[] = "for f in plain execute cover low far high; do (exec /$f) "
				     "2>/dev/null; echo $f $?; done; echo alive";
	const size_t first = sizeof(Elf64_Ehdr), second = first + sizeof(Elf64_Phdr);
	char output[4096];
	make_root();
	write_odd("plain", 0, 0x7f, 1);
	write_odd("execute", first + offsetof(Elf64_Phdr, p_flags), PF_X, 4);
	write_odd("cover", first + offsetof(Elf64_Phdr, p_memsz), 8192, 8);
	write_odd("low", second + offsetof(Elf64_Phdr, p_vaddr), 0x20000, 8);
	write_odd("far", offsetof(Elf64_Ehdr, e_entry), UINT64_C(1) << 63, 8);
	write_odd("high", second + offsetof(Elf64_Phdr, p_memsz), UINT64_MAX, 8);
	expect_equal(build("/bin/busybox", "busybox", output, sizeof(output)), 0);
	cleanup(free) char *alone =
		alloc_printf(BOUND " %s --root=%s/image -- busybox sh -c '%s' 2>&1",
			getenv("BERTH_TENDER"), directory, script);
	expect_equal(run(output, sizeof(output), alone), 0);
	/* Linux kills who is broken when there is no way back, as we do. */
	expect_contains(output, "plain 7\nexecute 7\n");
	expect_contains(output, "cover 137\n");
	expect_contains(output, "low 137\n");
	expect_contains(output, "far 139\n");
	expect_contains(output, "alive\n");
	remove_root();
}

/* What cannot go on ends, by the signal that Linux ends it by, and by SIGTERM if it could for ever. */
static void faults_end_as_on_linux(void)
{
	static const char *const cases[] = { "write", "deliver", "aside", "return", "frame",
		"nested", "hidden", "thread", "ever" };
	char wanted[4096], got[4096];
	const char *program = getenv("FAULTS");
	make_root();
	expect_equal(build(program, "faults", got, sizeof(got)), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		/* One of them never ends by itself. */
		const char *bound = strcmp(cases[i], "ever") == 0 ? "timeout -k 60 1" : BOUND;
		cleanup(free) char *native =
			alloc_printf("(%s %s %s) 2>/dev/null; echo $?", bound, program, cases[i]);
		cleanup(free) char *alone = alloc_printf("(%s %s --root=%s/image -- faults %s) "
							 "2>/dev/null </dev/null; echo $?",
			bound, getenv("BERTH_TENDER"), directory, cases[i]);
		printf("# %s\n", cases[i]);
		expect_equal(run(wanted, sizeof(wanted), native), 0);
		expect_equal(run(got, sizeof(got), alone), 0);
		expect_text(got, wanted);
	}
	static const char *const breaks[] = { "own", "all" };
	for (size_t i = 0; i < ARRAY_SIZE(breaks); i++) {
		cleanup(free) char *alone =
			alloc_printf("(" BOUND " %s --root=%s/image -- faults %s) "
				     "2>&1 </dev/null; echo $?",
				getenv("BERTH_TENDER"), directory, breaks[i]);
		expect_equal(run(got, sizeof(got), alone), 0);
		expect_text(got, "unikernel: a fault of the library OS itself\n255\n");
	}
	remove_root();
}

/* A shell that waits for a line is written down, and goes on as often as somebody has one. */
static void what_waits_goes_on_from_its_snapshot(void)
{
	static const char script[] =
		"x=5; cd /deep; trap \"echo bye\" EXIT; exec 3</etc/numbers; read a <&3; "
		"echo before; read y; read b <&3; echo $x $y $a $b $PWD; "
		"busybox cat /proc/self/cmdline | busybox tr \"\\0\" \" \" | busybox cut -c 1-13; "
		"ls /deep/er; echo $(busybox seq 3)";
	char output[4096];
	const char *tender = getenv("BERTH_TENDER");
	make_root();
	expect_equal(build("/bin/busybox", "busybox", output, sizeof(output)), 0);
	cleanup(free) char *write = alloc_printf(
		"mkfifo %s/line && exec 4<>%s/line && " /* a line that never ends, as nobody closes it */
		BOUND
		" %s --root=%s/image --mem=32 --snapshot=%s/snapshot -- busybox sh -c '%s' <&4 && "
		"[ \"$(head -c 8 %s/snapshot)\" = brthsnap ]",
		directory, directory, tender, directory, directory, script, directory);
	expect_equal(run(output, sizeof(output), write), 0);
	expect_text(output, "before\n");
	for (int i = 0; i < 2; i++) {
		cleanup(free) char *from =
			alloc_printf("echo line%d | " BOUND " %s --root=%s/image "
				     "--from=%s/snapshot",
				i, tender, directory, directory);
		cleanup(free) char *wanted =
			alloc_printf("5 line%d 1 2 /deep\nbusybox cat /\nempty\n1 2 3\nbye\n", i);
		expect_equal(run(output, sizeof(output), from), 0);
		expect_text(output, wanted);
	}
	const struct {
		const char *command, *sentence;
	} refused[] = {
		{ "$T --from=snapshot x", "x: open" },
		{ "$T --root=image --from=image", "it is no snapshot of a unikernel" },
		{ "touch image; $T --root=image --from=snapshot",
			"it was made with another image" },
		{ "$T --root=image --from=none", "open none" },
		{ "$T --root=image --from=snapshot --volume=image", "a snapshot has no volume" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		cleanup(free) char *command = alloc_printf("T=%s; cd %s; { %s; } 2>&1 </dev/null",
			tender, directory, refused[i].command);
		expect(run(output, sizeof(output), command) != 0);
		printf("# %s", output);
		expect_contains(output, refused[i].sentence);
	}
	remove_root();
}

static void what_cannot_run_is_refused_by_name(void)
{
	static const struct {
		const char *make, *sentence;
	} cases[] = {
		{ "cp /bin/true $P",
			"it is dynamic: it wants /lib64/ld-linux-x86-64.so.2, which is not in the image" },
		{ "head -c 3000 /bin/busybox > $P", "program: " },
		{ "{ head -c 18 /bin/busybox; printf '\\267\\000'; tail -c +21 /bin/busybox; } > $P",
			"x86-64" },
		{ "echo '#!/bin/none' > $P",
			"it is a script for /bin/none, which is not in the image" },
		{ "echo '#!/bin/sh' > $P", "it is a script, and not in the image" },
		{ "echo '#!' > $P", "names no interpreter" },
		{ "echo text > $P", "ELF" },
	};
	char output[4096];
	make_root();
	cleanup(free) char *program = alloc_printf("%s/program", directory);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup(free) char *command = alloc_printf("P=%s; %s", program, cases[i].make);
		expect_equal(run(output, sizeof(output), command), 0);
		expect(build(program, "", output, sizeof(output)) != 0);
		printf("# %s", output);
		expect_contains(output, cases[i].sentence);
	}
	remove_root();
}

static const struct test tests[] = {
	{ "threads and children of a program of musl are as on Linux", musl_is_as_on_linux },
	{ "files, waiting, threads, signals, memory, sockets and the edges of sockets are as on Linux",
		every_area_is_as_on_linux },
	{ "dynamic programs of Debian run, and run each other and static ones",
		dynamic_programs_run_each_other },
	{ "what a program missed is said by name", what_is_missed_is_said },
	{ "applets of the stock busybox say what they say on Linux", busybox_is_as_on_linux },
	{ "every register and flag is kept around every call, seen or hidden",
		every_register_is_kept },
	{ "a program with odd headers ends itself only", odd_programs_end_alone },
	{ "what cannot go on after a fault ends as on Linux, and by SIGTERM",
		faults_end_as_on_linux },
	{ "what waits goes on from its snapshot, as often as wanted",
		what_waits_goes_on_from_its_snapshot },
	{ "what cannot run is refused by name", what_cannot_run_is_refused_by_name },
};
TEST_MAIN(tests)
