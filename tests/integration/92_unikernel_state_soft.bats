#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Unikernels under the software CPU (berth.engine soft) with their memory: as in processes, by the same verbs.

load common
load image
load unikernel_state

setup_file() {
	state_start || return 1
	lxc profile set plain berth.engine soft
}
teardown_file() { berthd_stop; }

@test "a snapshot with state is taken while it runs, and restored" { check_snapshot; }

@test "a copy goes on from a snapshot, as often as wanted" { check_copies; }

@test "stopped with its state, its next start goes on there" { check_stop; }

@test "one that goes on elsewhere has a card and an address of its own" { check_card; }

@test "each that goes on has random bytes of its own, the time of now, and a clock that goes on; a card may come" {
	create k1 "sh -c 'echo ready; while read x; do
		echo \$x \$(head -c 8 /dev/urandom | md5sum | head -c 8) \$(date +%s) \$(cut -d. -f1 /proc/uptime) \$(grep -c . /proc/net/dev); done'"
	says k1 ready
	[ "$(readlink "/proc/$(api GET /1.0/instances/k1/state | json .metadata.pid)/exe")" = "$BERTH_BUILD/src/vmm/berth-vmm" ]
	sleep 2
	berth snapshot create k1 warm --stateful
	berth copy k1/warm k2
	lxc config device add k2 eth0 nic network=snet
	lxc stop -f k1
	berth restore k1 warm --stateful
	lxc start k2
	for name in k1 k2; do
		tell "$name" a
		eventually 60 grep -q '^a ' "$BERTH_DIR/instances/default/$name/console.log"
		read -r _ "random_$name" now uptime _ <<<"$(log "$name" | grep '^a ')"
		[ $(($(date +%s) - now)) -le 30 ] && [ $((now - $(date +%s))) -le 2 ]
		[ "$uptime" -ge 2 ]
	done
	[ "$random_k1" != "$random_k2" ]
	eventually 60 in_net ping -c 1 -W 10 "$(api GET /1.0/instances/k2 | json '.metadata.config["volatile.eth0.ipv4.address"]' | cut -d/ -f1)"
	lxc delete -f k1 k2
}

@test "it is kept where it computes, and while it waits for a child; of another engine it is refused" {
	create k3 "sh -c 'i=0; echo up; while :; do i=\$((i+1)); [ \$((i % 20000)) -gt 0 ] || echo at \$i; done'"
	eventually 60 grep -q '^at' "$BERTH_DIR/instances/default/k3/console.log"
	lxc stop k3 --stateful
	# A snapshot without state of what is kept so, and storage that grows meanwhile: it goes on.
	lxc config device override k3 root size=48MiB
	lxc start k3
	eventually 60 grep -q '^at' "$BERTH_DIR/instances/default/k3/console.log"
	! log k3 | grep -qx up
	lxc stop k3 --stateful
	lxc config set k3 berth.engine process
	run lxc start k3
	[[ $status -ne 0 && $output == *"it was made under the engine soft, this one is process"* ]]
	lxc start k3 --stateless
	says k3 up
	lxc stop k3 --stateful
	lxc config set k3 berth.engine soft
	run lxc start k3
	[[ $status -ne 0 && $output == *"it was made under the engine process, this one is soft"* ]]
	lxc delete -f k3
	check_sleeper k4 8
}

@test "a state that is cut or changed ends nothing but its own start" {
	create k5 cat
	lxc stop k5 --stateful
	local state=$BERTH_DIR/instances/default/k5/state
	cp --sparse=always "$state" "$BERTH_BASE/whole"
	truncate -s 1M "$state"
	run lxc start k5
	[[ $status -ne 0 && $output == *"its memory is cut off"* ]]
	cp --sparse=always "$BERTH_BASE/whole" "$state"
	printf x | dd of="$state" bs=1 seek=9000 conv=notrunc status=none
	run lxc start k5
	[[ $status -ne 0 && $output == *"its checksum is wrong"* ]]
	: >"$state"
	run lxc start k5
	[[ $status -ne 0 && $output == *"no snapshot of a unikernel, or not a whole one"* ]]
	cp --sparse=always "$BERTH_BASE/whole" "$state"
	lxc start k5
	tell k5 there
	says k5 there
	lxc delete -f k5
}
