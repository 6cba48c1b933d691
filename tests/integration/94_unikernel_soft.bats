#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The kind unikernel with berth.engine soft: the library OS as the kernel of a machine under berth-vmm, by the same verbs.

load common
load image
load unikernel_state # for says and tell

setup_file() {
	berthd_start || return 1
	busybox_image "$BERTH_BASE/image.tar"
	lxc image import "$BERTH_BASE/image.tar" --alias box
	api_wait POST /1.0/networks '{"name":"snet","config":{"ipv4.address":"10.79.8.1/24","ipv6.address":"none"}}'
	api POST /1.0/profiles '{"name":"plain","devices":{"root":{"type":"disk","path":"/","pool":"default","size":"64MiB"}}}'
	berth image build "$BERTH_BUILD/tests/bench/static_serve" --type unikernel --entrypoint "/bin/static_serve s4" --alias serve
}
teardown_file() { berthd_stop; }

# create NAME PROGRAM [CONFIG]: started at once, in place of the one that was loaded.
create() {
	api_wait POST /1.0/instances "$(jq -n --arg name "$1" --arg program "$2" --argjson config "${3:-{\}}" \
		'{name: $name, type: "unikernel", profiles: ["plain"], start: true,
		source: {type: "image", alias: "box"},
		config: ({"oci.entrypoint": $program, "limits.memory": "32MiB", "berth.engine": "soft"} + $config)}')"
}

state() { api GET "/1.0/instances/$1" | json .metadata.status; }
pid_of() { api GET "/1.0/instances/$1/state" | json .metadata.pid; }

@test "the words, the environment and the directory of its program are those that were asked for" {
	create s1 "sh -c 'echo \"<\$A> <\$0> <\$1>\"; pwd; echo kept >/kept; free | grep Mem' 'a \"b\\ c' 'd  e'" \
		'{"environment.A": "1 \"2\" \\ 3", "oci.cwd": "/bin"}'
	eventually 60 sh -c '[ "$(lxc list s1 -f csv -c s)" = STOPPED ]'
	lxc console s1 --show-log >"$BERTH_BASE/out"
	grep -F '<1 "2" \ 3> <a "b\ c> <d  e>' "$BERTH_BASE/out" || { cat "$BERTH_BASE/out" && false; }
	grep -F /bin "$BERTH_BASE/out"
	[ "$(awk '/Mem/ {print $2}' "$BERTH_BASE/out")" -le 32768 ]
	# Stopped, its storage is read and changed from outside; started again, it finds that.
	[ "$(lxc file pull s1/kept -)" = kept ]
	echo more | lxc file push - s1/more
	lxc config set s1 oci.entrypoint "cat /kept /more"
	lxc start s1
	eventually 60 sh -c '[ "$(lxc list s1 -f csv -c s)" = STOPPED ]'
	lxc console s1 --show-log | grep more
	# What it misses is told, of its last run alone.
	lxc config set s1 oci.entrypoint "busybox mount -t tmpfs none /tmp"
	lxc start s1
	eventually 60 sh -c '[ "$(lxc list s1 -f csv -c s)" = STOPPED ]'
	berth info s1 | grep -E '^Missed calls .*mount \(1\)'
	lxc config set s1 oci.entrypoint "busybox true"
	lxc start s1
	eventually 60 sh -c '[ "$(lxc list s1 -f csv -c s)" = STOPPED ]'
	! berth info s1 | grep 'Missed calls'
	lxc delete s1
}

# runs_directly PID: the monitor's processes have computed for a fifth of a second.
runs_directly() {
	local child ticks=0
	for child in $(cat "/proc/$1/task/"*/children); do
		ticks=$((ticks + $(sed 's/.*) //' "/proc/$child/stat" | cut -d ' ' -f 12)))
	done
	[ "$ticks" -ge 20 ]
}

@test "a program that computes runs as it is" {
	"$BERTH_BUILD/src/vmm/berth-vmm" --explain-direct >"$BERTH_BASE/out" 2>&1 || skip "$(head -n 1 "$BERTH_BASE/out")"
	create s8 "sh -c 'i=0; while [ \$i -ge 0 ]; do i=\$((i+1)); done'"
	eventually 60 runs_directly "$(pid_of s8)"
	lxc delete -f s8
}

@test "its monitor is locked in and held by the instance's groups" {
	create s2 cat '{"limits.cpu.allowance": "50%"}'
	local pid=$(pid_of s2)
	[ "$(readlink "/proc/$pid/exe")" = "$BERTH_BUILD/src/vmm/berth-vmm" ]
	grep -x 'Seccomp:.2' "/proc/$pid/status"
	grep -x 'CapEff:.0*' "/proc/$pid/status"
	[ "$(awk '/^Uid/ {print $2}' "/proc/$pid/status")" -ge 1000000 ]
	grep "berth-$BERTH_ID/default_s2" "/proc/$pid/cgroup"
	[ "$(lxc exec s2 -- busybox echo beside it)" = "beside it" ]
	lxc pause s2
	[ "$(state s2)" = Frozen ]
	lxc start s2
	[ "$(state s2)" = Running ]
	[ "$(api GET /1.0/instances/s2/state | json .metadata.memory.usage)" -gt 0 ]
	# What cannot be: a change of engine comes with the next start, a state is kept of who was started for that.
	run lxc stop --stateful s2
	[[ $status -ne 0 && $output == *"its state can be kept if config.migration.stateful was true when it started"* ]]
	[ "$(state s2)" = Running ]
	lxc stop -f s2
	lxc config set s2 berth.engine process
	lxc start s2
	[ "$(readlink "/proc/$(pid_of s2)/exe")" != "$BERTH_BUILD/src/vmm/berth-vmm" ]
	lxc delete -f s2
}

@test "what is typed on its console is its program's, at every start" {
	create s7 "$COUNT"
	says s7 ready
	tell s7 a
	says s7 "a 1"
	lxc restart -f s7
	says s7 ready
	tell s7 b
	says s7 "b 1"
	[ "$(lxc exec s7 -- busybox cat /count)" = 1 ]
	lxc delete -f s7
}

@test "told to stop, its program's handler runs, while it computes and while it waits" {
	for words in "while :; do :; done" "read word"; do
		create s3 "sh -c 'trap \"echo told to end; exit 0\" TERM; echo up; $words'"
		eventually 60 grep -q up "$BERTH_DIR/instances/default/s3/console.log"
		lxc stop s3 --timeout 100
		grep 'told to end' "$BERTH_DIR/instances/default/s3/console.log"
		lxc delete s3
	done
}

@test "its card is on the bridge; a daemon that is killed finds it again, and a monitor that is killed is missed" {
	lxc init serve s4 -p plain -n snet -c limits.memory=32MiB -c berth.engine=soft -c boot.autorestart=true
	lxc config device set s4 eth0 limits.max=100Mbit
	lxc start s4
	local address=$(api GET /1.0/instances/s4 | json '.metadata.config["volatile.eth0.ipv4.address"]')
	get() { in_net curl -s -m 10 --retry 60 --retry-all-errors --retry-delay 1 "http://${address%/*}/"; }
	[ "$(get)" = "served by s4" ]
	in_net tc -s qdisc show dev "$(in_net ip -o link show type tun | awk -F': ' '{print $2; exit}')" | grep -iE 'rate 100Mbit'
	local pid=$(pid_of s4)
	berthd_restart KILL
	[ "$(state s4)" = Running ]
	[ "$(pid_of s4)" = "$pid" ]
	[ "$(get)" = "served by s4" ]
	kill -9 "$pid"
	eventually 60 sh -c "lxc query /1.0/instances/s4/state | jq -e '.pid != $pid and .status == \"Running\"'"
	[ "$(get)" = "served by s4" ]
	lxc delete -f s4
	[ -z "$(in_net ip -o link show type tun)" ]
}

@test "what cannot run under soft is refused before anything changes" {
	create s5 cat '{"limits.memory": "2GiB"}' >"$BERTH_BASE/out" || true
	grep 'under soft a unikernel has 1536MiB at most' "$BERTH_BASE/out"
	create s5 "/bin/none" >"$BERTH_BASE/out" || true
	grep 'No such file' "$BERTH_BASE/out"
	lxc delete -f s5
	# The server's word is for machines: a process does without KVM, too.
	lxc config set berth.engine soft
	create s6 cat '{"berth.engine": "auto"}'
	[ "$(readlink "/proc/$(pid_of s6)/exe")" != "$BERTH_BUILD/src/vmm/berth-vmm" ]
	lxc delete -f s6
}
