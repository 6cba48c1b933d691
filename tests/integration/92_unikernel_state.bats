#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Unikernels with their memory: snapshots, copies that go on from one, stops that the next start goes on from.

load common
load image
load unikernel_state

setup_file() { state_start; }
teardown_file() { berthd_stop; }

turn_clock() {
	# As if the host had been started anew since: its clock is a day behind.
	python3 - "$BERTH_DIR/instances/default/s1/state" <<-'END'
		import struct, sys
		with open(sys.argv[1], "r+b") as file:
		    file.seek(88)
		    clock, = struct.unpack("<Q", file.read(8))
		    file.seek(88)
		    file.write(struct.pack("<Q", clock + 86400 * 10**9))
	END
}

@test "a snapshot with state is taken while it runs, and restored: memory and files are of one moment" { check_snapshot; }

@test "a copy goes on from a snapshot, as often as wanted, by berth and by lxc; without its state it begins" { check_copies; }

@test "stopped with its state, its next start goes on there, also after the daemon was killed" { check_stop turn_clock; }

@test "one that goes on elsewhere has a card and an address of its own, and its connections end" { check_card; }

@test "what cannot be kept or gone on from is refused with a sentence, and it runs on" {
	create s8 cat '{"migration.stateful": "false"}'
	run lxc snapshot s8 --stateful
	[[ $status -ne 0 && $output == *"migration.stateful was true when it started"* ]]
	run lxc stop s8 --stateful
	[[ $status -ne 0 && $output == *"migration.stateful"* ]]
	[ "$(api GET /1.0/instances/s8 | json .metadata.status)" = Running ]
	[ -z "$(api GET /1.0/instances/s8/snapshots | json '.metadata[]')" ]
	! ls "$BERTH_DIR"/instances/default/s8/*.state* 2>/dev/null
	create s9 "sh -c 'sleep 100; true'"
	run lxc snapshot s9 --stateful
	[[ $status -ne 0 && $output == *"waits for another one"* ]]
	lxc delete -f s9
	create s9 cat
	lxc stop s9 --stateful
	dd if=/dev/zero of="$BERTH_DIR/instances/default/s9/state" bs=16 count=1 conv=notrunc status=none
	run lxc start s9
	[[ $status -ne 0 && $output == *"it is no snapshot of a unikernel"* ]]
	lxc start s9 --stateless
	lxc delete -f s8 s9
}
