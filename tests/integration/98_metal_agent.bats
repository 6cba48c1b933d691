#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The agent in a server's system: berth-line calls the daemon's TLS port from where the tenant's system is, with the key
# of its instance; exec and files go through it. The BMC is our Redfish service, the node is curl, the system is this one.

load common
load image

setup_file() {
	KERNEL=$("$TOP/tests/images/kernel")
	export KERNEL
	berthd_start || return 1
	in_net ip link add prov0 type bridge
	in_net ip link set prov0 up
	for n in 1 10; do in_net ip addr add "10.77.0.$n/24" dev prov0; done
	api PATCH /1.0 "$(jq -n --arg kernel "$KERNEL" '{config: {"berth.metal.kernel": $kernel,
		"berth.metal.interface": "prov0"}}')" >/dev/null
	eventually 60 grep -q 'network boot is on' "$BERTHD_LOG"
	busybox_disk "$BERTH_BASE/disk.raw" 8M
	qemu-img convert -O qcow2 "$BERTH_BASE/disk.raw" "$BERTH_BASE/disk.qcow2"
	disk_metadata "$BERTH_BASE/metadata.tar.xz"
	lxc image import "$BERTH_BASE/metadata.tar.xz" "$BERTH_BASE/disk.qcow2" --alias small
	nsenter --net="/run/netns/$BERTH_NETNS" "$BERTH_BUILD/tests/integration/redfish-responder" 9680 - \
		>"$BERTH_BASE/responder.log" 2>&1 3>&- &
	echo $! >"$BERTH_BASE/responder.pid"
	eventually 60 in_net curl -s --noproxy '*' -o /dev/null -m 1 http://127.0.0.1:9680/redfish/v1/
	api POST /1.0/berth/servers '{"name":"m1","driver":"redfish","address":"http://127.0.0.1","port":9680,"user":"admin",
		"password":"secret","mac":"52:54:00:77:00:01","config":{"bmc.deadline":"20s"}}' >/dev/null
}

teardown_file() {
	line_end
	liar_end
	kill -KILL "$(cat "$BERTH_BASE/responder.pid")" || true
	in_net ip link del prov0
	berthd_stop
}

# A test is a process of its own.
setup() { TOKEN=$(cat "$BERTH_BASE/token" 2>/dev/null || true); }

node() { in_net curl -s --noproxy '*' --retry 10 --retry-delay 1 --retry-connrefused -m 30 --interface 10.77.0.10 "$@"; }
boot() {
	TOKEN=$(node http://10.77.0.1:8470/boot/52-54-00-77-00-01 | sed -n 's|.*agent/\([0-9a-f]*\) .*|\1|p')
	[ -n "$TOKEN" ] && echo "$TOKEN" >"$BERTH_BASE/token"
}
say() { node -X POST --data-binary "$2" "http://10.77.0.1:8470/agent/$TOKEN/$1"; }
hello() {
	say hello '{"system":{"vendor":"curl"},"cpus":{"count":4,"sockets":1},"memory_bytes":8589934592,
		"disks":[{"name":"sda","bytes":100000256}],"nics":[{"name":"eth0","mac":"52:54:00:77:00:01"}]}' >/dev/null
}
# task_is NAME: asks until it is given that task; its lines are in LINES_OF_TASK.
task_is() {
	for _ in 1 2 3; do
		LINES_OF_TASK=$(node "http://10.77.0.1:8470/agent/$TOKEN/task")
		[[ $LINES_OF_TASK != "task $1"* ]] || return 0
	done
	echo "$LINES_OF_TASK"
	return 1
}
is_done() { say done "$(sed -n 's/^serial/serial/p' <<<"$LINES_OF_TASK")"$'\nok\n'"$1" >/dev/null; }
booted() {
	eventually 60 boot
	hello
}
# deployed: what the deploy agent would do; the key is then in the file that it would write.
deployed() {
	task_is deploy
	sed -n 's|^agentfile 0600 /var/lib/berth/line ||p' <<<"$LINES_OF_TASK" | tr a-f A-F | basenc -d --base16 >"$BERTH_BASE/line"
	is_done "disk sda"
}
is_running() { [ "$(lxc list -f csv -c s db)" = RUNNING ]; }
ended() { api GET "$1/wait?timeout=120" | json '.metadata.err'; }
rebuild() {
	local operation
	lxc stop db --force
	operation=$(api POST /1.0/instances/db/rebuild '{"source":{"type":"image","alias":"small"}}' | json .operation)
	booted
	deployed
	[ "$(ended "$operation")" = "" ]
	operation=$(api PUT /1.0/instances/db/state '{"action":"start"}' | json .operation)
	task_is boot
	is_done "how kexec"
	[ "$(ended "$operation")" = "" ]
}

line_start() {
	nsenter --net="/run/netns/$BERTH_NETNS" "$BERTH_BUILD/src/agent/berth-line" --settings "$BERTH_BASE/line" "$@" \
		>>"$BERTH_BASE/line.log" 2>&1 </dev/null 3>&- &
	echo $! >"$BERTH_BASE/line.pid"
}
# gone NAME: the process of $BERTH_BASE/NAME.pid is killed, and its connections are closed.
gone() {
	[ -f "$BERTH_BASE/$1.pid" ] || return 0
	kill -KILL "$(cat "$BERTH_BASE/$1.pid")" 2>/dev/null || true
	timeout 60 tail --pid="$(cat "$BERTH_BASE/$1.pid")" -s 0.02 -f /dev/null
	rm "$BERTH_BASE/$1.pid"
}
line_end() { gone line; }
# answers: the agent has called, and does what it is asked.
answers() { eventually 60 lxc exec db -- true; }
key() { sed -n 's/^key //p' "$BERTH_BASE/line"; }
# tls KEY PATH [CURL OPTION...]: the status that somebody with that key gets.
tls() {
	local key=$1 path=$2
	shift 2
	in_net curl -sk --noproxy '*' -m 10 -o "$BERTH_BASE/answer" -w '%{http_code}' -H "Authorization: Bearer $key" "$@" \
		"https://10.77.0.1:8443$path" || true
}
UPGRADE=(-H 'Connection: Upgrade' -H 'Upgrade: berth-agent')

@test "without a TLS port there is no key, and the sentence says what to set" {
	eventually 60 boot
	hello
	task_is erase
	is_done "erased sda discard 5 1000000000"
	api POST /1.0/instances '{"name":"db","type":"bare-metal","start":true,"source":{"type":"image","alias":"small"}}' >/dev/null
	task_is deploy
	[[ $LINES_OF_TASK != *agentfile* ]]
	deployed
	task_is boot
	is_done "how kexec"
	eventually 60 is_running
	run lxc exec db -- true
	[ "$status" -ne 0 ]
	[[ $output == *"core.https_address is not set"* ]]
	run lxc file pull db/etc/hostname -
	[[ $output == *"core.https_address is not set"* ]]
	api PATCH /1.0 '{"config":{"core.https_address":"10.77.0.1:8443"}}' >/dev/null
	run lxc exec db -- true
	[[ $output == *"without a key for its agent"*"rebuild it"* ]]
	for bad in nonsense :8443 10.77.0.1 0.0.0.0:1 ::1; do
		[ "$(api_status PATCH /1.0 "{\"config\":{\"berth.metal.agent\":\"$bad\"}}")" = 400 ]
	done
}

@test "an agent that has not called is said to have not" {
	rebuild
	grep -q '^to 10.77.0.1:8443$' "$BERTH_BASE/line"
	[[ $(key) =~ ^[0-9a-f]{16}\.[0-9a-f]{64}$ ]]
	! grep -q --binary-files=text "$(key | cut -d. -f2)" "$BERTH_DIR"/berth.db*
	! api GET '/1.0/berth/servers/m1' | grep -q "$(key | cut -d. -f1)"
	run lxc exec db -- true
	[ "$status" -ne 0 ]
	[[ $output == *"The agent of db has not called yet"* ]]
	run lxc file pull db/etc/hostname -
	[[ $output == *"The agent of db has not called yet"* ]]
}

@test "commands run where the agent is, with their streams, their status and a terminal" {
	line_start
	answers
	[ "$(lxc exec db -- sh -c 'echo $((6 * 7))')" = 42 ]
	run lxc exec db -- sh -c 'exit 3'
	[ "$status" -eq 3 ]
	status=0
	lxc exec db -- /does/not/exist || status=$?
	[ "$status" -eq 127 ]
	head -c 3000000 /dev/urandom >"$BERTH_BASE/bytes"
	[ "$(lxc exec db -- sha256sum <"$BERTH_BASE/bytes")" = "$(sha256sum <"$BERTH_BASE/bytes")" ]
	lxc exec db -- head -c 3000000 /dev/zero | cmp -n 3000000 - /dev/zero
	[[ $(lxc exec db -t -- tty) == /dev/pts/* ]]
	# Several at once, each on a connection of its own.
	for n in 1 2 3 4; do lxc exec db -- sh -c "sleep 0.3; echo $n" >"$BERTH_BASE/out$n" & pids[n]=$!; done
	for n in 1 2 3 4; do wait "${pids[n]}" && [ "$(cat "$BERTH_BASE/out$n")" = "$n" ]; done
}

@test "its state is what the system says that it uses" {
	api GET /1.0/instances/db/state | jq -e --argjson total "$(($(awk '/^MemTotal/ {print $2}' /proc/meminfo) * 1024))" \
		--argjson disk "$(df -B1 --output=size / | tail -n 1)" '.metadata | .memory.total == $total and
		.memory.usage > 0 and .memory.usage < $total and .cpu.usage > 0 and .processes > 5 and
		.disk.root.total == $disk and .disk.root.usage > 0'
	[[ $(berth info db) == *"Memory used"*"Disk root"* ]]
	api GET '/1.0/instances?recursion=2' | jq -e '.metadata[0].state.memory.usage > 0'
}

@test "files go in and out, and whole directories" {
	mkdir "$BERTH_BASE/there"
	lxc file push "$BERTH_BASE/bytes" "db$BERTH_BASE/there/bytes" --mode 0640
	cmp "$BERTH_BASE/bytes" "$BERTH_BASE/there/bytes"
	[ "$(stat -c %a "$BERTH_BASE/there/bytes")" = 640 ]
	lxc file pull "db$BERTH_BASE/there/bytes" - | cmp - "$BERTH_BASE/bytes"
	run lxc file pull "db$BERTH_BASE/there/nothing" -
	[ "$status" -ne 0 ]
	lxc file pull -r "db$BERTH_BASE/there" "$BERTH_BASE/back"
	cmp "$BERTH_BASE/back/there/bytes" "$BERTH_BASE/bytes"
	lxc file delete "db$BERTH_BASE/there/bytes"
	[ ! -e "$BERTH_BASE/there/bytes" ]
}

@test "a daemon that was killed is called again; so is one whose agent was" {
	berthd_restart KILL
	eventually 60 eval '[ "$(lxc exec db -- echo back)" = back ]'
	line_end
	run lxc exec db -- true
	[[ $output == *"is not there now: it called last at"* ]]
	line_start
	answers
	[ "$(lxc exec db -- echo again)" = again ]
}

@test "the key opens nothing else, and nobody gets in without it" {
	[ "$(tls "$(key)" /1.0/instances)" = 403 ]
	[ "$(tls "$(key)" /1.0/berth/servers/m1)" = 403 ]
	[ "$(tls "$(key)" /1.0/instances/db/exec -X POST -d '{"command":["true"]}')" = 403 ]
	[ "$(tls "$(key)" /1.0/berth/agent)" = 400 ]
	[ "$(tls "$(key)" /1.0/berth/agent "${UPGRADE[@]}" -X POST)" != 101 ]
	for wrong in "$(key | tr 0-9 1-90)" "$(key | cut -c1-80)" "$(key)0" "$(key | cut -d. -f1)." "" "$(head -c 4000 /dev/zero | tr '\0' a)"; do
		[ "$(tls "$wrong" /1.0/berth/agent "${UPGRADE[@]}")" = 403 ]
	done
	[ "$(in_net curl -sk --noproxy '*' -m 10 -o /dev/null -w '%{http_code}' "${UPGRADE[@]}" https://10.77.0.1:8443/1.0/berth/agent)" = 403 ]
	# Who answers with another certificate is told nothing.
	line_end
	sed 's/^pin ../pin 00/' "$BERTH_BASE/line" >"$BERTH_BASE/other"
	nsenter --net="/run/netns/$BERTH_NETNS" "$BERTH_BUILD/src/agent/berth-line" --settings "$BERTH_BASE/other" \
		>"$BERTH_BASE/other.log" 2>&1 </dev/null 3>&- &
	echo $! >"$BERTH_BASE/other.pid"
	eventually 60 grep -q 'another certificate' "$BERTH_BASE/other.log"
	gone other
}

# liar HOW: an agent that is none has called.
liar() {
	: >"$BERTH_BASE/liar.log"
	nsenter --net="/run/netns/$BERTH_NETNS" "$TOP/tests/integration/metal/liar.py" 10.77.0.1 8443 "$(key)" "$1" \
		>"$BERTH_BASE/liar.log" 2>&1 </dev/null 3>&- &
	echo $! >"$BERTH_BASE/liar.pid"
	eventually 60 grep -q there "$BERTH_BASE/liar.log"
}
liar_end() { gone liar; }

@test "an agent that lies fails the one who asked it" {
	# Out of turn: it is let go.
	liar early
	timeout 60 tail --pid="$(cat "$BERTH_BASE/liar.pid")" -s 0.02 -f /dev/null
	run lxc exec db -- true
	[[ $output == *"is not there now"* ]]
	# Instead of a program's end, frames that are none.
	liar garbage
	run lxc exec db -- true
	echo "$output"
	[ "$status" -ne 0 ] && [[ $output != *"is not there"* ]]
	# Who asks for the state is not kept waiting.
	liar silent
	api GET /1.0/instances/db/state | jq -e '.metadata.status == "Running"'
	liar_end
	line_start
	answers
	[ "$(lxc exec db -- echo well)" = well ]
}

@test "who stops it asks the agent, too" {
	line_end
	# Not the real one: the system is this one.
	printf '%s\n' '#!/bin/sh' "od -An -tx1 -N16 >>'$BERTH_BASE/asked'" 'printf "\0\0\0\0\001\0\100\0" >&0' >"$BERTH_BASE/agent"
	chmod 755 "$BERTH_BASE/agent"
	line_start --agent "$BERTH_BASE/agent"
	# Whatever it makes of this: the daemon knows of the line then.
	eventually 60 eval 'lxc exec db -- true; [ -s "$BERTH_BASE/asked" ]'
	lxc stop db --timeout 20
	eventually 60 grep -q '08 00 00 00 01 00 0a 00 00 00 00 00' "$BERTH_BASE/asked"
	line_end
	lxc start db
}

@test "another system has another key, one that has none if it shall have none; the old one is worth nothing" {
	old=$(key)
	line_end
	rebuild
	[ "$(key)" != "$old" ]
	[ "$(tls "$old" /1.0/berth/agent "${UPGRADE[@]}")" = 403 ]
	line_start
	answers
	[ "$(lxc exec db -- echo new)" = new ]
	[ "$(api_status PATCH /1.0/instances/db '{"config":{"berth.agent":"perhaps"}}')" = 400 ]
	old=$(key)
	lxc stop db --force
	[ "$(tls "$old" /1.0/berth/agent "${UPGRADE[@]}")" != 200 ]
	run lxc exec db -- true
	[[ $output == *"not running"* ]]
	lxc config set db berth.agent=false
	lxc start db
	line_end
	rebuild
	[ ! -s "$BERTH_BASE/line" ]
	lxc stop db --force
	api_wait DELETE /1.0/instances/db
	[ "$(tls "$old" /1.0/berth/agent "${UPGRADE[@]}")" = 403 ]
}
