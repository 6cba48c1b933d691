#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What goes wrong: each step of a start, a daemon killed at any moment, a runner killed, an instance that ends while
# nobody looks. Nothing is lost, nothing is left behind.

load common
load image

setup_file() {
	berthd_start --test-hooks || return 1
	busybox_image "$BERTH_BASE/image.tar"
	lxc image import "$BERTH_BASE/image.tar" --alias box
	api POST /1.0/profiles '{"name":"plain","devices":{"root":{"type":"disk","path":"/","pool":"default"}}}'
}
teardown_file() { berthd_stop; }

teardown() {
	local url
	[ -n "$(berthd_pid)" ] || berthd_run --test-hooks
	for url in $(api GET /1.0/instances | json '.metadata[]'); do
		api_wait PUT "$url/state" '{"action":"stop","force":true}' >/dev/null || true
		api_wait DELETE "$url" >/dev/null || true
	done
}

made() {
	api_wait POST /1.0/instances "{\"name\":\"$1\",\"profiles\":[\"plain\"],\"source\":{\"type\":\"image\",\"alias\":\"box\"}${2:+,$2}}"
}

state() { api GET "/1.0/instances/$1/state" | json .metadata.status; }
pid_of() { api GET "/1.0/instances/$1/state" | json .metadata.pid; }
is() { [ "$(state "$1")" = "$2" ]; }
# gone PID...: none of them is there, but for what its parent has not heard of.
gone() {
	local pid
	for pid in "$@"; do
		[ ! -e "/proc/$pid" ] || grep -qs '^State:[[:space:]]*Z' "/proc/$pid/status" || return 1
	done
}
runner_of() { pgrep -f "berth-container run $BERTH_DIR/instances/default/$1/plan.json"; }

# clean NAME: the stopped instance holds nothing on the host.
clean() {
	! runner_of "$1" &&
		[ -z "$(find /sys/fs/cgroup -type d -path "*berth-$BERTH_ID/default_$1")" ] &&
		[ ! -e "$BERTH_DIR/instances/default/$1/plan.json" ] &&
		[ ! -e "$BERTH_DIR/instances/default/$1/control" ]
}

@test "each step of a start fails in turn and is undone" {
	made c1 '"config":{"limits.cpu":"1","limits.memory":"64MiB"}'
	for step in 0 1 2; do
		berthd_end
		BERTH_FAIL_STEP=$step berthd_run --test-hooks
		run api_wait PUT /1.0/instances/c1/state '{"action":"start"}'
		[ "$status" -ne 0 ]
		[[ $output == *"as the test wants"* ]]
		eventually 10 is c1 Stopped
		eventually 10 clean c1
	done
	berthd_restart
	api_wait PUT /1.0/instances/c1/state '{"action":"start"}'
	is c1 Running
}

spare_of() { pgrep -P "$(berthd_pid)" -f 'berth-container run /spare'; }

@test "the next runner waits before it is wanted, and ends with its daemon" {
	made c1 '"start":true'
	eventually 10 spare_of
	spare=$(spare_of)
	made c2 '"start":true'
	[ "$(runner_of c2)" = "$spare" ] # what it is called then, too
	[ "$(lxc exec c2 -- hostname)" = c2 ]
	# One that has ended is not missed.
	eventually 10 spare_of
	spare=$(spare_of)
	kill -KILL "$spare"
	eventually 5 gone "$spare"
	made c3 '"start":true'
	is c3 Running
	for signal in TERM KILL; do
		eventually 10 spare_of
		spare=$(spare_of)
		berthd_restart $signal
		eventually 10 gone "$spare"
		is c1 Running
		lxc stop -f c3
		lxc start c3
	done
}

@test "a runner that its daemon has not greeted yet runs nothing, and ends with it" {
	made c1 '"start":true'
	run python3 - "$BERTH_DIR/instances/default/c1/plan.json" "$BERTH_BUILD/src/container/berth-container" "$BATS_TEST_TMPDIR/plan.json" <<'END'
import json, os, socket, subprocess, sys, time
plan = json.load(open(sys.argv[1]))
del plan["cgroups"]
json.dump(plan, open(sys.argv[3], "w"))
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
with theirs:
    runner = subprocess.Popen([sys.argv[2], "run", sys.argv[3]], pass_fds=[theirs.fileno()],
                              env={"BERTH_FDS": f"channel={theirs.fileno()}"})
time.sleep(0.3)
assert runner.poll() is None
assert not open(f"/proc/{runner.pid}/task/{runner.pid}/children").read()
ours.close()
print("ended with", runner.wait(60))
END
	[ "$status" -eq 0 ]
	[[ $output == *"not started: the daemon has gone"*"ended with 1"* ]]
}

settled() { is "$1" Running || { is "$1" Stopped && clean "$1"; }; }

@test "a daemon killed at any moment of a start: the instance runs, or holds nothing" {
	made c1
	for delay in 0 0.001 0.002 0.003 0.005 0.008; do
		api PUT /1.0/instances/c1/state '{"action":"start"}' >/dev/null 2>&1 &
		asked=$!
		sleep "$delay"
		berthd_end KILL
		wait "$asked" || true
		berthd_run --test-hooks
		eventually 10 settled c1
		is c1 Stopped || api_wait PUT /1.0/instances/c1/state '{"action":"stop","force":true}'
	done
	api_wait PUT /1.0/instances/c1/state '{"action":"start"}'
	is c1 Running
}

@test "without --test-hooks no step is failed" {
	made c1
	berthd_end
	BERTH_FAIL_STEP=0 berthd_run
	api_wait PUT /1.0/instances/c1/state '{"action":"start"}'
	is c1 Running
	berthd_restart
}

@test "a daemon that ends or is killed leaves its instances running and takes them up again" {
	made c1 '"start":true'
	pid=$(pid_of c1)
	for signal in TERM KILL; do
		berthd_restart $signal
		[ "$(pid_of c1)" = "$pid" ]
		is c1 Running
		[ "$(lxc exec c1 -- hostname)" = c1 ]
	done
	api_wait PUT /1.0/instances/c1/state '{"action":"stop","timeout":10}'
	eventually 5 clean c1
}

@test "a frozen instance is frozen after the daemon was killed" {
	made c1 '"start":true'
	api_wait PUT /1.0/instances/c1/state '{"action":"freeze"}'
	berthd_restart KILL
	is c1 Frozen
	api_wait PUT /1.0/instances/c1/state '{"action":"unfreeze"}'
	is c1 Running
}

@test "limits go on after the daemon was killed, and change" {
	made c1 '"start":true,"config":{"limits.memory":"64MiB"}'
	berthd_restart KILL
	lxc config set c1 limits.memory 128MiB
	[ "$(cat "$(find /sys/fs/cgroup -path "*berth-$BERTH_ID/default_c1/memory.limit_in_bytes" -o -path "*berth-$BERTH_ID/default_c1/memory.max" | head -1)")" = 134217728 ]
	lxc config set c1 limits.cpu 1
	[ "$(lxc exec c1 -- nproc)" = 1 ]
	berthd_restart KILL
	[ "$(lxc exec c1 -- nproc)" = 1 ]
}

# ended NAME: its runner has written down how, and is not there any more.
ended() { [ -e "$BERTH_DIR/instances/default/$1/exit" ] && ! runner_of "$1"; }

@test "an instance that ended while no daemon ran has stopped, and does not start again" {
	made c1 '"start":true'
	made c2 '"start":true,"ephemeral":true'
	pid1=$(pid_of c1) pid2=$(pid_of c2)
	berthd_end KILL
	kill -KILL "$pid1" "$pid2"
	eventually 5 ended c1
	eventually 5 ended c2
	berthd_run --test-hooks
	is c1 Stopped
	eventually 5 clean c1
	eventually 5 eval '[ "$(api_status GET /1.0/instances/c2)" = 404 ]'
}

@test "what was killed together with the daemon starts again as its config says" {
	made c1 '"start":true'
	made c2 '"start":true,"config":{"boot.autostart":"false"}'
	made c3 '"config":{"boot.autostart":"true"}'
	runners=$(runner_of c1; runner_of c2)
	berthd_end KILL
	kill -KILL $runners
	eventually 5 gone $runners
	berthd_run --test-hooks
	eventually 10 is c1 Running
	eventually 10 is c3 Running
	is c2 Stopped
	eventually 5 clean c2
}

@test "a killed runner is noticed at once, and all of its instance with it" {
	made c1 '"start":true'
	pid=$(pid_of c1)
	kill -KILL "$(runner_of c1)"
	eventually 5 is c1 Stopped
	eventually 5 clean c1
	eventually 5 gone "$pid"
	api_wait PUT /1.0/instances/c1/state '{"action":"start"}'
	is c1 Running
}

@test "a killed first process is the end, and its status is kept for autorestart" {
	made c1 '"start":true,"config":{"boot.autorestart":"true"}'
	pid=$(pid_of c1)
	kill -KILL "$pid"
	again() { is c1 Running && [ "$(pid_of c1)" != "$pid" ]; }
	eventually 5 again
}

@test "a daemon killed in the middle of making and starting leaves whole instances or none" {
	for delay in 0 0.002 0.005 0.01 0.02 0.03; do
		for i in 1 2 3 4; do
			api POST /1.0/instances "{\"name\":\"k$i\",\"start\":true,\"profiles\":[\"plain\"],\"source\":{\"type\":\"image\",\"alias\":\"box\"}}" >/dev/null 2>&1 &
		done
		sleep "$delay"
		berthd_end KILL
		wait $(jobs -p) || true
		berthd_run --test-hooks
		for i in 1 2 3 4; do
			[ "$(api_status GET "/1.0/instances/k$i")" != 200 ] || {
				api_wait PUT "/1.0/instances/k$i/state" '{"action":"stop","force":true}' || true
				eventually 10 is "k$i" Stopped
				api_wait DELETE "/1.0/instances/k$i"
			}
		done
		[ "$(api GET /1.0/instances | json '.metadata | length')" = 0 ]
		eventually 10 sh -c "! pgrep -f 'berth-containe[r] run $BERTH_DIR'"
		[ "$(api GET '/1.0/storage-pools/default/volumes' | json '[.metadata[] | select(contains("container"))] | length')" = 0 ]
	done
}

@test "a daemon killed while it gives a new name leaves one of both, with all that belongs to it" {
	made old
	echo kept >"$BERTH_BASE/kept"
	api POST '/1.0/instances/old/files?path=/root/kept' '' --data-binary "@$BERTH_BASE/kept" >/dev/null
	api_wait POST /1.0/instances/old/snapshots '{"name":"s"}'
	api_wait POST /1.0/instances/old/backups '{"name":"b"}'
	name=old
	for delay in 0 0.001 0.002 0.003 0.005 0.008; do
		[ "$name" = old ] && other=new || other=old
		api POST "/1.0/instances/$name" "{\"name\":\"$other\"}" >/dev/null 2>&1 &
		asked=$!
		sleep "$delay"
		berthd_end KILL
		wait "$asked" || true
		berthd_run --test-hooks
		[ "$(api GET /1.0/instances | json '.metadata | map(select(endswith("/old") or endswith("/new"))) | length')" = 1 ]
		[ "$(api_status GET /1.0/instances/new)" = 200 ] && name=new || name=old
		[ "$(api GET "/1.0/instances/$name/files?path=/root/kept")" = kept ]
		[ "$(api GET "/1.0/instances/$name/snapshots" | json '.metadata | length')" = 1 ]
		[ "$(api_status GET "/1.0/instances/$name/backups/b/export")" = 200 ]
	done
	[ "$(api GET "/1.0/instances/$name" | json .metadata.renamed_from)" = null ]
	api_wait DELETE "/1.0/instances/$name"
}

@test "a cgroup that a killed daemon had not written down yet goes at its next start" {
	berthd_end KILL
	mkdir -p "$(find /sys/fs/cgroup -maxdepth 2 -type d -name unified -o -maxdepth 2 -type d -name pids | head -n 1)/berth-$BERTH_ID/default_stray"
	berthd_run --test-hooks
	[ -z "$(find /sys/fs/cgroup -type d -path "*berth-$BERTH_ID/*")" ]
}

@test "a daemon killed while it deletes leaves what can be deleted again" {
	for i in 1 2 3; do
		made "d$i"
		api DELETE "/1.0/instances/d$i" >/dev/null 2>&1 &
	done
	berthd_end KILL
	wait $(jobs -p) || true
	berthd_run --test-hooks
	for i in 1 2 3; do
		[ "$(api_status GET "/1.0/instances/d$i")" = 404 ] || api_wait DELETE "/1.0/instances/d$i"
	done
	[ "$(api GET /1.0/instances | json '.metadata | length')" = 0 ]
}

# replaced STATE: a daemon is killed while the root of r is replaced: its volume's record has `next`, with is_whole STATE.
replaced() {
	berthd_end KILL
	python3 - "$BERTH_DIR/berth.db" "$1" <<-'EDIT'
		import json, sqlite3, sys
		db = sqlite3.connect(sys.argv[1])
		rows = db.execute("SELECT collection, name, object FROM objects WHERE name LIKE '%container/r'").fetchall()
		(collection, name, text), = rows
		record = json.loads(text)
		record["next"] = {"layers": ["new"], "is_whole": sys.argv[2] == "true"}
		db.execute("UPDATE objects SET object = ? WHERE collection = ? AND name = ?",
		           (json.dumps(record), collection, name))
		db.commit()
	EDIT
}
layers() {
	berthd_end
	python3 -c 'import json, sqlite3, sys
rows = sqlite3.connect(sys.argv[1]).execute("SELECT object FROM objects WHERE name LIKE \"%container/r\"").fetchall()
record = json.loads(rows[0][0])
print(record["layers"][0][:3], "next" in record)' "$BERTH_DIR/berth.db"
	berthd_run --test-hooks
}

@test "a daemon killed while a root is replaced has the old one with its layers, or the new one with those" {
	api_wait POST /1.0/storage-pools '{"name":"dirs","driver":"dir","config":{}}'
	api_wait POST /1.0/instances '{"name":"r","profiles":[],"source":{"type":"image","alias":"box"},"devices":{"root":{"type":"disk","path":"/","pool":"dirs"}}}'
	old=$(layers)
	place=$BERTH_DIR/pools/dirs/containers/default
	next=$BERTH_DIR/pools/dirs/restoring/containers/default
	[ -d "$place/r" ]
	mkdir -p "$next"
	# Half made.
	replaced false
	mkdir "$next/r"
	berthd_run --test-hooks
	eventually 5 test ! -e "$next/r"
	[ "$(layers)" = "$old" ]
	# Whole, and the old one still there.
	replaced true
	mkdir "$next/r"
	berthd_run --test-hooks
	eventually 5 test ! -e "$next/r"
	[ "$(layers)" = "$old" ]
	# The old one away.
	replaced true
	mv "$place/r" "$next/r"
	berthd_run --test-hooks
	[ -d "$place/r" ] && [ ! -e "$next/r" ]
	[ "$(layers)" = "new False" ]
	api_wait DELETE /1.0/instances/r
	api_wait DELETE /1.0/storage-pools/dirs
}

@test "an image whose first process is missing says so and is stopped" {
	made c1 '"config":{"oci.entrypoint":"/nowhere"}'
	run api_wait PUT /1.0/instances/c1/state '{"action":"start"}'
	[ "$status" -ne 0 ]
	[[ $output == *nowhere* ]]
	is c1 Stopped
	eventually 5 clean c1
}

@test "a hundred at once, and nothing is left of them" {
	for i in $(seq 100); do
		api POST /1.0/instances "{\"name\":\"h$i\",\"start\":true,\"profiles\":[\"plain\"],\"source\":{\"type\":\"image\",\"alias\":\"box\"}}" >/dev/null
	done
	eventually 60 sh -c "[ \$(curl -s --unix-socket $BERTH_DIR/unix.socket 'http://x/1.0/instances?recursion=1' | jq '[.metadata[] | select(.status == \"Running\")] | length') = 100 ]"
	api_wait PUT /1.0/instances '{"state":{"action":"stop","force":true}}' >/dev/null
	for i in $(seq 100); do
		api DELETE "/1.0/instances/h$i" >/dev/null
	done
	eventually 30 sh -c "[ \$(curl -s --unix-socket $BERTH_DIR/unix.socket http://x/1.0/instances | jq '.metadata | length') = 0 ]"
	[ -z "$(find /sys/fs/cgroup -type d -path "*berth-$BERTH_ID/*")" ]
}
