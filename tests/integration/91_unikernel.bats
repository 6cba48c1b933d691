#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The kind unikernel: a static program alone with a library OS in a locked process, by the same verbs.

load common
load image

setup_file() {
	berthd_start || return 1
	busybox_image "$BERTH_BASE/image.tar"
	lxc image import "$BERTH_BASE/image.tar" --alias box
	api_wait POST /1.0/networks '{"name":"unet","config":{"ipv4.address":"10.79.6.1/24","ipv6.address":"none"}}'
	api POST /1.0/profiles '{"name":"plain","devices":{"root":{"type":"disk","path":"/","pool":"default"}}}'
}
teardown_file() { berthd_stop; }

# create NAME PROGRAM [CONFIG]: started at once.
create() {
	api_wait POST /1.0/instances "$(jq -n --arg name "$1" --arg program "$2" --argjson config "${3:-{\}}" \
		'{name: $name, type: "unikernel", profiles: ["plain"], start: true,
		source: {type: "image", alias: "box"},
		config: ({"oci.entrypoint": $program, "limits.memory": "16MiB"} + $config)}')"
}

state() { api GET "/1.0/instances/$1" | json .metadata.status; }

@test "an image that a container runs runs as a unikernel: its output is on the console, its input is read" {
	create u1 "/bin/echo hello from a unikernel"
	eventually 60 sh -c '[ "$(lxc console u1 --show-log)" != "" ]'
	lxc console u1 --show-log | grep 'hello from a unikernel'
	eventually 60 sh -c '[ "$(lxc list u1 -f csv -c s)" = STOPPED ]'
	create u2 "cat"
	[ "$(state u2)" = Running ]
	lxc stop u2 --timeout 60
	[ "$(state u2)" = Stopped ]
}

@test "what cannot run is refused by name, and says why" {
	create bad "/bin/none" >"$BERTH_BASE/out" || true
	grep 'No such file' "$BERTH_BASE/out" || { cat "$BERTH_BASE/out" && false; }
	create bad2 "/etc/passwd" >"$BERTH_BASE/out" || true
	grep 'it is no ELF file' "$BERTH_BASE/out"
	run create bad3 "/bin/cat" '{"limits.cpu": "2"}'
	[[ $output == *"a unikernel runs on one CPU"* ]]
	run lxc exec u2 -- true
	[[ $status -ne 0 && $output == *"not running"* ]]
}

@test "its process has a user, namespaces and groups of its own, no rights, and a filter" {
	create u3 cat
	pid=$(api GET /1.0/instances/u3/state | json .metadata.pid)
	grep -E '^(CapEff|CapPrm|CapAmb|CapInh):.0+$' "/proc/$pid/status" | wc -l | grep -x 4
	grep -x 'NoNewPrivs:.1' "/proc/$pid/status"
	grep -x 'Seccomp:.2' "/proc/$pid/status"
	[ "$(awk '/^Uid/ {print $2}' "/proc/$pid/status")" -ge 1000000 ]
	for name in mnt net ipc uts; do
		[ "$(readlink "/proc/$pid/ns/$name")" != "$(readlink /proc/self/ns/$name)" ]
	done
	[ -z "$(ls -A "/proc/$pid/root")" ]
	grep "berth-$BERTH_ID/default_u3" "/proc/$pid/cgroup"
	# The console, its storage and its image; it has no card.
	[ "$(ls "/proc/$pid/fd" | wc -l)" = 5 ]
}

@test "what its program missed is told by name, after its end, too, and how it ended" {
	create u4 "busybox mount -t tmpfs none /tmp"
	eventually 60 sh -c '[ "$(lxc list u4 -f csv -c s)" = STOPPED ]'
	berth info u4 | grep -E '^Missed calls .*mount \(1\)'
	berth info u4 | grep -Ex 'Ended +with status [1-9][0-9]*'
	berth config set u4 oci.entrypoint='busybox sh -c "kill -SEGV $$"'
	berth start u4
	eventually 60 sh -c 'berth info u4 | grep -Ex "Ended +with status 139 \(128 and SIGSEGV\)"'
	berth config set u4 oci.entrypoint=cat
	berth start u4
	! berth info u4 | grep Ended
	lxc delete --force u4
}

@test "its card is on the bridge, with its address, its limits and the network's name" {
	berth image build "$BERTH_BUILD/tests/bench/static_serve" --type unikernel --entrypoint "/bin/static_serve u8" --alias serve
	berth launch serve u8 --profile plain --network unet --cpus 1 --memory 16MiB --bandwidth 100Mbit --storage 64MiB
	address=$(api GET /1.0/instances/u8 | json '.metadata.config["volatile.eth0.ipv4.address"]')
	[ -n "$address" ]
	[ "$(in_net curl -s -m 10 --retry 60 --retry-all-errors --retry-delay 1 "http://${address%/*}/")" = "served by u8" ]
	eventually 60 in_net ping -c 1 -W 2 "${address%/*}"
	name=$(in_net ip -o link show type tun | awk -F': ' '{print $2; exit}')
	in_net tc -s qdisc show dev "$name" | grep -iE 'rate 100Mbit'
	lxc delete -f u8
	lxc image delete serve
	[ -z "$(in_net ip -o link show type tun)" ]
}

@test "told to stop, its program's handler runs, while it computes and while it waits" {
	berth image build "$BERTH_BUILD/tests/bench/static_signal" --type unikernel --alias told
	for words in "/bin/static_signal" "/bin/static_signal wait"; do
		lxc init told u9 -p plain -c oci.entrypoint="$words"
		lxc start u9
		eventually 60 grep -q 'to be told' "$BERTH_DIR/instances/default/u9/console.log"
		lxc stop u9 --timeout 60
		grep 'told to end' "$BERTH_DIR/instances/default/u9/console.log"
		lxc delete u9
	done
	lxc image delete told
}

@test "with berth.engine kvm its wall is a machine: storage, card, signals, and what it missed" {
	[ -c /dev/kvm ] || skip "needs /dev/kvm"
	lxc config set berth.engine kvm
	create v1 "sh -c 'echo kept > /kept; busybox mount -t tmpfs none /tmp'" \
		'{"limits.memory": "32MiB"}'
	eventually 60 sh -c '[ "$(lxc list v1 -f csv -c s)" = STOPPED ]'
	berth info v1 | grep -E '^Missed calls .*mount \(1\)'
	lxc config set v1 oci.entrypoint "cat /kept"
	lxc start v1
	eventually 60 sh -c '[ "$(lxc list v1 -f csv -c s)" = STOPPED ]'
	lxc console v1 --show-log | grep kept
	lxc delete v1
	berth image build "$BERTH_BUILD/tests/bench/static_signal" --type unikernel --alias told
	for words in "/bin/static_signal" "/bin/static_signal wait"; do
		lxc init told v2 -p plain -c oci.entrypoint="$words"
		lxc start v2
		local pid=$(api GET /1.0/instances/v2/state | json .metadata.pid)
		grep -x 'Seccomp:.2' "/proc/$pid/status"
		eventually 60 grep -q 'to be told' "$BERTH_DIR/instances/default/v2/console.log"
		lxc stop v2 --timeout 60
		grep 'told to end' "$BERTH_DIR/instances/default/v2/console.log"
		lxc delete v2
	done
	lxc image delete told
	berth image build "$BERTH_BUILD/tests/bench/static_serve" --type unikernel --entrypoint "/bin/static_serve v4" --alias serve
	berth launch serve v4 --profile plain --network unet --memory 32MiB
	address=$(api GET /1.0/instances/v4 | json '.metadata.config["volatile.eth0.ipv4.address"]')
	[ "$(in_net curl -s -m 10 --retry 60 --retry-all-errors --retry-delay 1 "http://${address%/*}/")" = "served by v4" ]
	lxc delete -f v4
	lxc image delete serve
	lxc config unset berth.engine
	# The instance's own key goes before the server's, and what cannot be is refused at once.
	create v5 cat '{"berth.engine": "vmware"}' >"$BERTH_BASE/out" || true
	grep 'none of auto, kvm, soft, process' "$BERTH_BASE/out"
	create v5 "sleep 100" '{"berth.engine": "kvm"}'
	ls -l "/proc/$(api GET /1.0/instances/v5/state | json .metadata.pid)/fd" | grep kvm-vcpu
	lxc stop -f v5
	lxc config set v5 berth.engine process
	lxc start v5
	! ls -l "/proc/$(api GET /1.0/instances/v5/state | json .metadata.pid)/fd" | grep kvm
	lxc delete -f v5
	run lxc config set berth.engine vmware
	[[ $output == *"none of auto, kvm, soft, process"* ]]
}

@test "the daemon chooses the engine by what it measured, says so, and asks anew on another host" {
	local kept=$BERTH_DIR/engine.json
	engine_of() { api GET /1.0/instances/e1 | json '.metadata.expanded_config | .["volatile.engine"] + ": " + .["volatile.engine.why"]'; }
	eventually 60 test -s "$kept"
	jq -e '.process_ns > 0 and (.why | length) > 10' "$kept"
	berth doctor | grep -F "$(jq -r '"unikernels run on \(.engine), because \(.why)"' "$kept")"
	create e1 cat
	[ "$(engine_of)" = "$(jq -r '.engine + ": " + .why' "$kept")" ]
	berth info e1 | grep -F "$(jq -r '"Engine        \(.engine) (\(.why))"' "$kept")"
	lxc stop -f e1
	if [ -c /dev/kvm ]; then
		# What is kept is not measured again, and decides; the presence of KVM does not.
		jq -c '.engine = "kvm" | .why = "a test says so"' "$kept" >"$BERTH_BASE/engine" && cp "$BERTH_BASE/engine" "$kept"
		berthd_restart
		lxc start e1
		[ "$(engine_of)" = "kvm: a test says so" ]
		ls -l "/proc/$(api GET /1.0/instances/e1/state | json .metadata.pid)/fd" | grep kvm-vcpu
		lxc stop -f e1
	fi
	lxc config set e1 berth.engine=process
	lxc start e1
	[ "$(engine_of)" = "process: berth.engine of the instance" ]
	lxc delete -f e1
	jq -c '.host.cpu = "another one"' "$kept" >"$BERTH_BASE/engine" && cp "$BERTH_BASE/engine" "$kept"
	berthd_restart
	eventually 60 jq -e '.host.cpu != "another one" and .why != "a test says so"' "$kept"
	echo '{"engine": "vmware"' >"$kept"
	berthd_restart
	eventually 60 jq -e '.engine == "process" or .engine == "kvm"' "$kept"
}

@test "its storage is as large as was asked for and keeps what is written; snapshots and copies have it" {
	create10() { jq -n --arg program "$1" '{name: "u10", type: "unikernel", profiles: ["plain"],
		devices: {root: {type: "disk", path: "/", pool: "default", size: "64MiB"}},
		source: {type: "image", alias: "box"}, config: {"oci.entrypoint": $program, "limits.memory": "16MiB"}}'; }
	# again PROGRAM: runs it to its end.
	again() {
		lxc config set "${2:-u10}" oci.entrypoint "$1"
		lxc start "${2:-u10}"
		eventually 60 sh -c "[ \"\$(lxc list ${2:-u10} -f csv -c s)\" = STOPPED ]"
	}
	local log="$BERTH_DIR/instances/default/u10/console.log"
	api_wait POST /1.0/instances "$(create10 true)"
	again "sh -c 'df -k / | tail -n 1; cp /etc/passwd /kept; echo more >> /etc/group; rm /etc/passwd; mkdir /dir'"
	grep -E '^/dev/vda +65536 ' "$log"
	lxc snapshot u10 written
	again "sh -c 'cat /kept; tail -n 1 /etc/group; ls /etc/passwd; ls -d /dir'"
	grep root:x:0:0 "$log"
	grep -x more <(tr -d '\r' <"$log")
	grep '/etc/passwd: No such file' "$log"
	grep -x /dir <(tr -d '\r' <"$log")
	lxc copy u10 u11
	again "sh -c 'dd if=/dev/zero of=/kept bs=1M; rm -r /dir'"
	grep 'No space left on device' "$log"
	again "head -c 16 /kept" u11
	grep root:x:0:0 "$BERTH_DIR/instances/default/u11/console.log"
	lxc restore u10 written
	# What fallocate has promised is there, and what it cannot promise is refused and takes nothing.
	again "sh -c 'head -c 16 /kept; fallocate -l 100M /more; fallocate -l 40M /room && ls -s /room; ls -s /more; rm /room /more'"
	grep root:x:0:0 "$log"
	grep "fallocate '/more': No space left on device" "$log"
	grep -E '^ *4[0-9]{4} /room' "$log"
	grep -E '^ *0 /more' "$log"
	# Killed while it writes, it goes on with what is whole; larger, it has the room.
	lxc config set u10 oci.entrypoint "sh -c 'while :; do cp /kept /k; mv /k /l; mkdir /d; rmdir /d; done'"
	lxc start u10
	sleep 0.3
	lxc stop -f u10
	lxc config device set u10 root size 96MiB
	again "sh -c 'df -k / | tail -n 1; head -c 16 /kept'"
	grep -E '^/dev/vda +98304 ' "$log"
	grep root:x:0:0 "$log"
	lxc delete -f u10 u11
}

@test "it begins where its config says, and is restarted and frozen" {
	create u12 "cat" '{"oci.cwd": "/etc"}'
	lxc delete -f u12
	create u12 "sh -c 'hostname; cat /proc/sys/kernel/hostname'"
	eventually 60 sh -c '[ "$(grep -c "^u12" "$BERTH_DIR/instances/default/u12/console.log")" = 2 ]'
	lxc delete -f u12
	create u12 "cat passwd" '{"oci.cwd": "/etc"}'
	eventually 60 sh -c 'grep -q root:x:0:0 "$BERTH_DIR/instances/default/u12/console.log"'
	create u13 "cat" '{"oci.cwd": "/none"}' >"$BERTH_BASE/out" || true
	grep 'no directory where the program shall begin' "$BERTH_BASE/out" || { cat "$BERTH_BASE/out" && false; }
	lxc config set u12 oci.entrypoint "sleep 100"
	eventually 60 sh -c '[ "$(lxc list u12 -f csv -c s)" = STOPPED ]'
	lxc start u12
	pid=$(api GET /1.0/instances/u12/state | json .metadata.pid)
	lxc pause u12
	[ "$(state u12)" = Frozen ]
	lxc start u12
	lxc restart u12 --timeout 60
	[ "$(state u12)" = Running ]
	[ "$(api GET /1.0/instances/u12/state | json .metadata.pid)" != "$pid" ]
	lxc delete -f u12 u13
}

@test "a unikernel's image is built of a program, a directory or an image; stock lxc launches it" {
	busybox=$(command -v busybox)
	berth image build "$busybox" --type unikernel --entrypoint "/bin/busybox echo of a program" --alias uk1
	[ "$(lxc image list uk1 -f csv -c t)" = UNIKERNEL ]
	lxc launch uk1 u5 -p plain
	eventually 60 sh -c 'lxc console u5 --show-log | grep "of a program"'
	busybox_root "$BERTH_BASE/root"
	berth image build "$BERTH_BASE/root" --type unikernel --entrypoint "/bin/echo of a directory" --alias uk2
	berth launch uk2 u6 --profile plain --memory 16MiB
	eventually 60 sh -c 'lxc console u6 --show-log | grep "of a directory"'
	berth image build box --type unikernel --entrypoint "echo of an image" --alias uk3
	lxc launch uk3 u7 -p plain
	eventually 60 sh -c 'lxc console u7 --show-log | grep "of an image"'
	lxc image export uk1 "$BERTH_BASE/uk1"
	lxc image delete uk1 uk2 uk3
	lxc image import "$BERTH_BASE/uk1.tar" --alias again
	[ "$(lxc image list again -f csv -c t)" = UNIKERNEL ]
	lxc delete -f u5 u6 u7
}

@test "a script of the image starts, as an image's entry point does, and becomes what it executes" {
	mkdir -p "$BERTH_BASE/scripted/bin"
	cp "$(command -v busybox)" "$BERTH_BASE/scripted/bin/busybox"
	ln -s busybox "$BERTH_BASE/scripted/bin/sh"
	printf '#!/bin/sh -e\necho "begins $0 $*"\nexec "$@"\n' >"$BERTH_BASE/scripted/entry.sh"
	chmod +x "$BERTH_BASE/scripted/entry.sh"
	berth image build "$BERTH_BASE/scripted" --type unikernel --alias scripted --entrypoint "/entry.sh busybox echo and ends"
	lxc launch scripted u15 -p plain
	eventually 60 sh -c 'lxc console u15 --show-log | grep "^and ends"'
	lxc console u15 --show-log | grep 'begins /entry.sh busybox echo and ends'
	lxc delete -f u15
	lxc image delete scripted
}

@test "dynamic programs of an image run by its own loader, and run each other" {
	local library
	mkdir -p "$BERTH_BASE/dynamic/bin" "$BERTH_BASE/dynamic/etc"
	cp /bin/bash /bin/ls /usr/bin/sort "$BERTH_BASE/dynamic/bin/"
	for library in $(ldd /bin/bash /bin/ls /usr/bin/sort | grep -o '/lib[^ :]*' | sort -u); do
		mkdir -p "$BERTH_BASE/dynamic${library%/*}"
		cp -L "$library" "$BERTH_BASE/dynamic$library"
	done
	berth image build "$BERTH_BASE/dynamic" --type unikernel --alias dyn \
		--entrypoint "/bin/bash -c 'PATH=/bin; ls / | sort -r; echo of a dynamic program'"
	lxc launch dyn u14 -p plain
	eventually 60 sh -c 'lxc console u14 --show-log | grep "of a dynamic program"'
	lxc console u14 --show-log | tr -d '\r' | grep -x -A 1 lib64 | grep -x lib
	lxc delete -f u14
	lxc image delete dyn
}

@test "a program that cannot run makes no image" {
	run berth image build /bin/true --type unikernel
	[ "$status" -ne 0 ]
	[[ $output == *"true: it is dynamic: it wants /lib64/ld-linux-x86-64.so.2, which is not in the image"* ]]
	head -c 3000 "$(command -v busybox)" >"$BERTH_BASE/cut"
	run berth image build "$BERTH_BASE/cut" --type unikernel
	[[ $status -ne 0 && $output == *"cut: "* ]]
	{ head -c 18 "$(command -v busybox)"; printf '\267\000'; tail -c +21 "$(command -v busybox)"; } >"$BERTH_BASE/arm"
	run berth image build "$BERTH_BASE/arm" --type unikernel
	[[ $status -ne 0 && $output == *"x86-64"* ]]
	run berth image build "$BERTH_BASE/root" --type unikernel
	[[ $status -ne 0 && $output == *"which program of"* ]]
	run berth image build box --type unikernel
	[[ $status -ne 0 && $output == *"the image names no program"* ]]
	run berth image build none --type unikernel --entrypoint /a
	[[ $status -ne 0 && $output == *"\"none\" does not exist"* ]]
	run berth image build no/such --type unikernel --entrypoint /a
	[[ $status -ne 0 && $output == *"\"no/such\" does not exist"* ]]
	run berth image build ./none --type unikernel
	[[ $status -ne 0 && $output == *"./none: No such file or directory"* ]]
	run berth image build "$BERTH_BASE/root" --type vm
	[[ $status -ne 0 && $output == *"neither container nor unikernel"* ]]
	[ "$(lxc image list -f csv | wc -l)" = 2 ]
}

@test "a daemon that is killed and started again finds it running; its runner killed, it is gone" {
	pid=$(api GET /1.0/instances/u3/state | json .metadata.pid)
	berthd_restart KILL
	[ "$(state u3)" = Running ]
	[ "$(api GET /1.0/instances/u3/state | json .metadata.pid)" = "$pid" ]
	lxc pause u3
	[ "$(state u3)" = Frozen ]
	lxc start u3
	kill -KILL "$(awk '/^PPid/ {print $2}' "/proc/$pid/status")"
	eventually 60 sh -c "! [ -d /proc/$pid ]"
	eventually 60 sh -c '[ "$(lxc list u3 -f csv -c s)" = STOPPED ]'
	lxc delete -f $(lxc list -f csv -c n)
	[ -z "$(lxc list -f csv -c n)" ]
}
