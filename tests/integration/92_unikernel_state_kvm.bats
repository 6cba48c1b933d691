#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Unikernels in machines of their own (berth.engine kvm) with their memory: as in processes, by the same verbs and files.

load common
load image
load unikernel_state

setup_file() { state_start berth.engine kvm; }
teardown_file() { berthd_stop; }
setup() { [ -c /dev/kvm ] || skip "needs /dev/kvm"; }

@test "a snapshot with state is taken while it runs, and restored" { check_snapshot; }

@test "a copy goes on from a snapshot, as often as wanted" { check_copies; }

@test "stopped with its state, its next start goes on there" { check_stop; }

@test "one that goes on elsewhere has a card and an address of its own" { check_card; }

@test "each that goes on has random bytes of its own, the time of now, and a clock that goes on" {
	create k1 "sh -c 'echo ready; while read x; do
		echo \$x \$(head -c 8 /dev/urandom | md5sum | head -c 8) \$(date +%s) \$(cut -d. -f1 /proc/uptime); done'"
	says k1 ready
	sleep 2
	berth snapshot create k1 warm --stateful
	berth copy k1/warm k2
	lxc stop -f k1
	berth restore k1 warm --stateful
	lxc start k2
	for name in k1 k2; do
		tell "$name" a
		eventually 60 grep -q '^a ' "$BERTH_DIR/instances/default/$name/console.log"
		read -r _ "random_$name" now uptime <<<"$(log "$name" | grep '^a ')"
		[ $(($(date +%s) - now)) -le 30 ] && [ $((now - $(date +%s))) -le 2 ]
		[ "$uptime" -ge 2 ]
	done
	[ "$random_k1" != "$random_k2" ]
	lxc delete -f k1 k2
}

@test "it is kept where it computes, and while it waits for a child; of another engine it is refused" {
	create k3 "sh -c 'i=0; echo up; while :; do i=\$((i+1)); [ \$((i % 200000)) -gt 0 ] || echo at \$i; done'"
	eventually 60 grep -q '^at' "$BERTH_DIR/instances/default/k3/console.log"
	lxc stop k3 --stateful
	[ "$(head -c 8 "$BERTH_DIR/instances/default/k3/state")" = brthsnap ]
	lxc config set k3 berth.engine process
	run lxc start k3
	[[ $status -ne 0 && $output == *"it was made under the engine kvm, this one is process"* ]]
	lxc config set k3 berth.engine soft
	run lxc start k3
	[[ $status -ne 0 && $output == *"it was made under the engine kvm, this one is soft"* ]]
	lxc config set k3 berth.engine kvm
	lxc start k3
	eventually 60 grep -q '^at' "$BERTH_DIR/instances/default/k3/console.log"
	! log k3 | grep -qx up
	lxc delete -f k3
	check_sleeper k4 4
}

@test "a state that is cut or changed ends nothing but its own start" {
	create k5 cat
	lxc stop k5 --stateful
	local state=$BERTH_DIR/instances/default/k5/state
	cp --sparse=always "$state" "$BERTH_BASE/whole"
	truncate -s 1M "$state"
	run lxc start k5
	[[ $status -ne 0 && $output == *"its state ends early"* ]]
	# Registers that cannot be, and memory that is not what it was: the machine ends, or KVM refuses.
	cp --sparse=always "$BERTH_BASE/whole" "$state"
	dd if=/dev/urandom of="$state" bs=256 seek=16 count=2 conv=notrunc status=none
	timeout 200 lxc start k5 >"$BERTH_BASE/out" 2>&1 || true
	lxc stop -f k5 >/dev/null 2>&1 || true
	eventually 60 sh -c '[ "$(lxc list k5 -f csv -c s)" = STOPPED ]'
	lxc start k5 --stateless || lxc start k5
	lxc delete -f k5
}
