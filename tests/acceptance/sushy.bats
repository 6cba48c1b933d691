#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A server behind sushy-emulator: enrolled, inspected, given to an instance, given back. See sushy.

load ../integration/common
load ../integration/image
load ../integration/metal/node

PASSWORD=emulated

setup_file() {
	KERNEL=$("$TOP/tests/images/kernel")
	export KERNEL
	berthd_start || return 1
	provision_network
	node_make 1
	node_make 2 FIRMWARE=uefi
	kill -KILL "$(cat "$BERTH_BASE/node1/sim.pid")" "$(cat "$BERTH_BASE/node2/sim.pid")" # their BMC is another one
	hardware
	emulator 1
	emulator 2
	"$TOP/tests/images/tenant" "$KERNEL" "$BERTH_BASE/tenant.raw"
	qemu-img convert -O qcow2 "$BERTH_BASE/tenant.raw" "$BERTH_BASE/tenant.qcow2"
	disk_metadata "$BERTH_BASE/metadata.tar.xz"
	lxc image import "$BERTH_BASE/metadata.tar.xz" "$BERTH_BASE/tenant.qcow2" --alias small
	api PATCH /1.0 "$(jq -n --arg kernel "$KERNEL" \
		'{config: {"berth.metal.kernel": $kernel, "berth.metal.interface": "prov0"}}')"
	eventually 20 grep -q 'network boot is on' "$BERTHD_LOG"
}

teardown_file() {
	local pid
	while read -r pid; do kill -KILL "$pid" 2>/dev/null; done <"$BERTH_BASE/sushy.pids"
	node_end 1
	node_end 2
	in_net ip link del prov0
	berthd_stop
}

# hardware: is told by the emulators what their servers were told.
hardware() {
	nsenter --net="/run/netns/$BERTH_NETNS" "$TOP/tests/acceptance/sushy-hardware.py" 9709 "$BERTH_BASE" \
		>"$BERTH_BASE/hardware.log" 2>&1 </dev/null 3>&- &
	echo $! >"$BERTH_BASE/sushy.pids"
}

# emulator NUMBER: the BMC of node NUMBER, at port 9700 + NUMBER.
emulator() {
	local dir=$BERTH_BASE/sushy$1
	mkdir "$dir"
	/usr/bin/python3 -c 'import bcrypt, sys
print("admin:" + bcrypt.hashpw(sys.argv[1].encode(), bcrypt.gensalt(4)).decode())' "$PASSWORD" >"$dir/users"
	cat >"$dir/conf" <<-CONF
		SUSHY_EMULATOR_FAKE_DRIVER = True
		SUSHY_EMULATOR_FAKE_SYSTEMS = [{"uuid": "27946b59-9e44-4fa7-8e91-f3527a1ef09$1", "name": "m$1", "power_state": "Off",
		    "external_notifier": True, "nics": [{"mac": "52:54:00:77:00:0$1", "ip": "10.77.0.1$1"}]}]
		SUSHY_EMULATOR_STATE_DIR = "$dir"
		SUSHY_EMULATOR_AUTH_FILE = "$dir/users"
		EXTERNAL_NOTIFICATION_URL = "http://127.0.0.1:9709"
	CONF
	# What it keeps beside its state directory has a name of its own.
	mkdir "$dir/tmp"
	(cd "$dir" && export TMPDIR="$dir/tmp" && exec nsenter --net="/run/netns/$BERTH_NETNS" /usr/bin/python3 -m sushy_tools.emulator.main \
		--config "$dir/conf" --fake --interface 127.0.0.1 --port "970$1" >log 2>&1 </dev/null 3>&-) &
	echo $! >>"$BERTH_BASE/sushy.pids"
	eventually 20 in_net curl -sf --noproxy '*' -o /dev/null "http://127.0.0.1:970$1/redfish/v1/"
}

add() {
	echo "$1" | berth server add m1 --driver redfish --address http://127.0.0.1 --port 9701 --user admin \
		--password-file - --mac 52:54:00:77:00:01
}
served() { in_net curl -sf -m 5 --noproxy '*' "http://10.77.0.10/$1"; }

@test "a wrong password is told as one" {
	run add wrong
	[ "$status" -ne 0 ]
	echo "$output"
	[[ $output == *"wrong user or password"* ]]
	berth server remove m1 --force
}

@test "enrolled over Redfish it is inspected, erased and available" {
	add "$PASSWORD"
	server_is m1 available
	[ "$(api GET /1.0/berth/servers/m1 | json '.metadata.inventory.system.serial')" = SN-1 ]
	[ "$(berth server power m1)" = on ]
}

@test "launched, an instance answers; stopped and started it boots from its disk" {
	berth launch small db1 --type bare-metal
	eventually 180 served name
	[ "$(served name)" = db1 ]
	lxc stop db1 --force
	[ "$(berth server power m1)" = off ]
	lxc start db1
	eventually 180 served boots
	[ "$(served boots | wc -l)" = 2 ]
}

@test "deleted its disk is erased, and it is available again" {
	berth delete db1 --force
	server_wait m1 available 240
	cmp -n 134217728 "$BERTH_BASE/node1/disk" /dev/zero
}

# From here on nobody gives addresses, and nobody is asked for a program to load.
@test "without DHCP a server is inspected and erased from a disc in its virtual drive, by UEFI" {
	api PATCH /1.0 '{"config":{"berth.metal.dhcp":"false"}}'
	eventually 20 sh -c '[ "$(grep -c "network boot is on" "$BERTHD_LOG")" = 2 ]'
	! pgrep -f "dhcp-hostsdir=$BERTH_DIR/metal/hosts"
	echo $PASSWORD | berth server add m2 --driver redfish --address http://127.0.0.1 --port 9702 --user admin \
		--password-file - --mac 52:54:00:77:00:02
	server_is m2 available
	[ "$(api GET /1.0/berth/servers/m2 | json '.metadata.inventory.firmware')" = uefi ]
	! grep -q . "$BERTH_BASE/node2/media"
	[ ! -e "$BERTH_DIR/metal/media/m2.iso" ]
}

@test "launched it answers; its rescue comes from a disc, too, which a BIOS boots" {
	berth server set m2 --class disc
	berth launch small db2 --type bare-metal --class disc
	eventually 180 in_net curl -sf -m 5 --noproxy '*' "http://$(api GET /1.0/berth/servers/m2 | json '.metadata.host | sub("/.*"; "")')/name"
	echo FIRMWARE=bios >>"$BERTH_BASE/node2/settings"
	berth rescue db2
	eventually 30 sh -c 'grep -q "berth rescue" "$BERTH_BASE/node2/serial.log"'
	[ "$(api GET /1.0/berth/servers/m2 | json '[.metadata.timeline[].stage] | index("media") != null')" = true ]
	berth delete db2 --force
	server_wait m2 available 240
	cmp -n 134217728 "$BERTH_BASE/node2/disk" /dev/zero
}
