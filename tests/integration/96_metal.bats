#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Whole servers: two fake ones are enrolled, inspected, erased, given to instances, restarted, rescued, given back,
# with real firmware (SeaBIOS in one, OVMF in the other), real network boot and IPMI.

load common
load image
load metal/node

setup_file() {
	KERNEL=$("$TOP/tests/images/kernel")
	export KERNEL
	berthd_start || return 1
	provision_network
	node_make 1
	node_make 2 DISK_DEVICE=nvme MEMORY=512 FIRMWARE=uefi # the smaller one is given first
	"$TOP/tests/images/tenant" "$KERNEL" "$BERTH_BASE/tenant.raw" "$BERTH_BUILD/src/agent"
	qemu-img convert -O qcow2 "$BERTH_BASE/tenant.raw" "$BERTH_BASE/tenant.qcow2"
	disk_metadata "$BERTH_BASE/metadata.tar.xz"
	lxc image import "$BERTH_BASE/metadata.tar.xz" "$BERTH_BASE/tenant.qcow2" --alias small
}

teardown_file() {
	node_end 1
	node_end 2
	in_net ip link del prov0
	berthd_stop
}

add() {
	echo secret | berth server add "m$1" --driver ipmi --address 127.0.0.1 --port $((6230 + $1)) \
		--user admin --password-file - --mac "52:54:00:77:00:0$1" "${@:2}"
}

# Whoever boots first has the first address.
address() { api GET "/1.0/berth/servers/$1" | json '.metadata.host | sub("/.*"; "")'; }
# served SERVER FILE: what the tenant's system serves; answers SERVER FILE SECONDS: once it does.
served() { in_net curl -sf -m 60 --noproxy '*' "http://$(address "$1")/$2"; }
answers() { eventually "$3" served "$1" "$2"; }

@test "without a provisioning network nothing is enrolled, and the sentence says what to set" {
	run add 1
	[ "$status" -ne 0 ]
	[[ $output == *berth.metal.interface* ]]
	run api PATCH /1.0 '{"config":{"berth.metal.interface":"nothere"}}'
	[[ $output == *"no interface nothere"* ]]
}

@test "servers that nobody could reach or match are refused with the field" {
	# On a busy host an emulated timer may look broken to the kernel.
	api PATCH /1.0 "$(jq -n --arg kernel "$KERNEL" '{config: {"berth.metal.kernel": $kernel,
		"berth.metal.interface": "prov0", "core.https_address": "10.77.0.1:8443", "berth.metal.arguments": "console=ttyS0 panic=60 quiet no_timer_check"}}')"
	eventually 200 grep -q 'network boot is on' "$BERTHD_LOG"
	for body in '{"name":"x y"}' '{"name":"a","driver":"ipmi","address":"bmc","mac":"52:54:00:77:00:01"}' \
		'{"name":"a","driver":"smoke","address":"1.2.3.4"}' '{"name":"a","driver":"ipmi","address":"1.2.3.4"}' \
		'{"name":"a","driver":"ipmi","address":"1.2.3.4","mac":"1"}' '{"name":"a","color":"red"}' \
		'{"name":"a","driver":"ipmi","address":"1.2.3.4","mac":"52:54:00:77:00:01","config":{"poll":"never"}}' \
		'{"name":"a","driver":"ipmi","address":"1.2.3.4","mac":"52:54:00:77:00:01","config":{"bmc.cipher":"0"}}'; do
		[ "$(api_status POST /1.0/berth/servers "$body")" = 400 ]
	done
	run berth launch small db1 --type bare-metal
	[[ $output == *"None of the 0 servers is available"* ]]
}

@test "two servers at once boot the agent, are inspected, erased and available" {
	SECONDS=0
	add 1 bmc.cipher=3 & # the other one finds out that there is no 17
	first=$!
	add 2
	wait $first
	echo "# both available after $SECONDS s" >&3
	server_is m1 available && server_is m2 available
	[ "$(api GET /1.0/berth/servers/m1 | json '.metadata.inventory.disks[0].bytes')" = 134217728 ]
	[ "$(api GET /1.0/berth/servers/m2 | json '.metadata.inventory.disks[0].kind')" = nvme ]
	[[ $(api GET /1.0/berth/servers/m2 | json '.metadata.erased[0].method') == nvme-* ]]
	[ "$(api GET /1.0/berth/servers/m1 | json '.metadata.inventory.system.serial')" = SN-1 ]
	[ "$(api GET /1.0/berth/servers/m1 | json '.metadata.inventory.firmware')" = bios ]
	[ "$(api GET /1.0/berth/servers/m2 | json '.metadata.inventory.firmware')" = uefi ]
	berth server list | grep m2 | grep -q 'available'
	[ "$(api GET '/1.0/berth/servers?recursion=1' | json -c '[.metadata[].bmc.cipher_suite]')" = '[3,3]' ]
}

# neighbour: what m1's switch said, as the daemon has it.
neighbour() {
	in_net "$METAL/lldp.py" node1 top7 swp12 tor-1 100
	api GET /1.0/berth/servers/m1 | json '.metadata.inventory.nics[0].neighbour | "\(.chassis) \(.port) \(.system) \(.vlan)"'
}

@test "the switch at its cable is known as soon as it says who it is" {
	eventually 200 eval '[ "$(neighbour)" = "top7 swp12 tor-1 100" ]'
}

@test "its password is nowhere to be read" {
	! api GET /1.0/berth/servers/m1 | grep -q secret
	! grep -r --binary-files=text secret "$BERTH_DIR/berth.db"
}

@test "what no server has is refused with what they lack" {
	run berth launch small big --type bare-metal --memory 64GiB --cpus 32
	[ "$status" -ne 0 ]
	[[ $output == *"1 CPUs, not 32"* && $output == *"of memory, not 64.00GiB"* ]]
	run berth launch small big --type bare-metal --class fast
	[[ $output == *"m1 has of class c1-m0, not fast"* ]]
	[ "$(api GET /1.0/instances | json '.metadata | length')" = 0 ]
}

@test "launched, instances have servers of their own and answer at their addresses" {
	SECONDS=0
	berth server set m2 --class fast
	berth launch small db2 --type bare-metal --class fast &
	second=$!
	dropbearkey -t ed25519 -f "$BERTH_BASE/id" | grep '^ssh-' >"$BERTH_BASE/id.pub"
	# Its owner's network is the same one here, for want of a switch; its rescue asks for an address nevertheless.
	berth launch small db1 --type bare-metal -c user.ssh-keys="$(cat "$BERTH_BASE/id.pub")" -c user.vlan=100 \
		-c cloud-init.network-config="{\"version\":2,\"ethernets\":{\"eth0\":{\"addresses\":[\"$(address m1)/24\"]}}}"
	wait $second
	echo "# started after $SECONDS s" >&3
	for n in 1 2; do
		[ "$(api GET /1.0/instances/db$n | json '.metadata.config["volatile.berth.server"]')" = m$n ]
		server_stages m$n >&3
		server_is m$n active
		answers m$n name 400
		[ "$(served m$n name)" = db$n ]
		[ "$(served m$n kib)" -gt 80000 ]
		lxc list -f csv | grep -F "db$n,RUNNING,$(address m$n) (eth0)"
		echo "# m$n answers after $SECONDS s" >&3
	done
	[ "$(served m1 keys)" = "$(cat "$BERTH_BASE/id.pub")" ]
}

@test "commands run in them and files go in and out, by the agent that calls" {
	SECONDS=0
	for n in 1 2; do eventually 200 eval '[ "$(lxc exec db'$n' -- /bin/busybox hostname)" = db'$n' ]'; done
	run lxc exec db1 -- /bin/busybox sh -c 'exit 7'
	[ "$status" -eq 7 ]
	head -c 300000 /dev/urandom >"$BERTH_BASE/bytes"
	lxc file push "$BERTH_BASE/bytes" db1/tmp/www/bytes
	served m1 bytes | cmp - "$BERTH_BASE/bytes"
	lxc file pull db1/tmp/www/bytes - | cmp - "$BERTH_BASE/bytes"
	lxc exec db1 -- /bin/busybox rm /tmp/www/bytes
	echo "# commands and files took $SECONDS s" >&3
}

@test "its console has a login, and a log" {
	eventually 200 sh -c 'lxc console db1 --show-log | grep -q "db1 login:"'
}

@test "nobody else gets it, and nobody takes it from its owner" {
	run berth server remove m1
	[[ $output == *"delete its instance first"* ]]
	run berth server power m1 off
	[[ $output == *"switch its instance"* ]]
	run berth server inspect m1
	[ "$status" -ne 0 ]
	run in_net curl -s --noproxy '*' http://10.77.0.1:8470/boot/52-54-00-77-00-01
	[[ $output == *"another node"* ]]
	run in_net curl -s --noproxy '*' http://10.77.0.1:8470/agent/0123456789abcdef0123456789abcdef/task
	[[ $output == *"nobody is expected"* ]]
	run in_net curl -s --noproxy '*' http://10.77.0.1:8470/1.0
	[[ $output == *"nothing here"* ]]
}

@test "stopped by force they are off; started they boot from their disks; the daemon may be killed meanwhile" {
	lxc stop db1 db2 --force
	[ "$(lxc list -f csv -c s | sort -u)" = STOPPED ]
	[ "$(berth server power m1)" = off ]
	lxc start db1 db2
	berthd_restart KILL
	[ "$(lxc list -f csv -c s | sort -u)" = RUNNING ]
	for n in 1 2; do
		answers m$n boots 400
		[ "$(served m$n boots | wc -l)" = 2 ]
	done
}

@test "rescued, the server runs another system with a shell on its console; its disk is untouched" {
	run berth rebuild db1 small
	[[ $output == *"stop it first"* ]]
	SECONDS=0
	berth rescue db1
	echo "# in rescue after $SECONDS s" >&3
	server_is m1 rescue
	# Not by its BMC: that opens the serial port anew seconds after a restart, and has not heard the first words.
	eventually 200 grep -q "berth rescue: the server's own disks" "$BERTH_BASE/node1/serial.log"
	eventually 200 grep -q "berth rescue: $(address m1)" "$BERTH_BASE/node1/serial.log"
	eventually 200 eval '[ "$(in_net dbclient -y -i "$BERTH_BASE/id" "root@$(address m1)" "cat /proc/1/comm" </dev/null)" = init ]'
	! in_net timeout 60 dbclient -y "root@$(address m1)" true </dev/null
	run lxc start db1
	[ "$status" -ne 0 ]
	berth rescue db1 --end
	server_is m1 active
	[ "$(lxc list -f csv -c s db1)" = STOPPED ]
	berth rescue db1 --end && false
	berth metrics | grep -q 'berth_server_power{server="m1"} 0'
}

# key_on DISK: the agent's, of the tenant's root.
key_on() {
	tail -c +$((18432 * 512 + 1)) "$1" >"$BERTH_BASE/partition"
	debugfs -R 'cat /var/lib/berth/line' "$BERTH_BASE/partition" 2>/dev/null | grep '^key '
}

@test "a snapshot is the disk; another image takes its place, and the snapshot comes back" {
	# Meanwhile the other one is erased; its firmware loads over HTTP what it loaded over TFTP.
	echo NETBOOT=http >>"$BERTH_BASE/node2/settings"
	berth delete db2 --force
	# Without a new key, for what is put back to be what was there.
	lxc config set db1 berth.agent=false
	SECONDS=0
	cp --sparse=always "$BERTH_BASE/node1/disk" "$BERTH_BASE/disk.before"
	lxc snapshot db1 s1
	echo "# snapshot after $SECONDS s" >&3
	[ "$(berth server power m1)" = off ]
	berth rebuild db1 small
	lxc start db1
	answers m1 boots 400
	[ "$(served m1 boots | wc -l)" = 1 ]
	[ "$(served m1 name)" = db1 ]
	echo "# rebuilt, answers after $SECONDS s" >&3
	lxc stop db1 --force
	! cmp -s "$BERTH_BASE/node1/disk" "$BERTH_BASE/disk.before"
	lxc restore db1 s1
	cmp "$BERTH_BASE/node1/disk" "$BERTH_BASE/disk.before"
	echo "# restored after $SECONDS s" >&3
	# With a key it is a new one.
	lxc config set db1 berth.agent=true
	lxc restore db1 s1
	[[ $(key_on "$BERTH_BASE/node1/disk") =~ ^key\ [0-9a-f]{16}\. ]]
	[ "$(key_on "$BERTH_BASE/node1/disk")" != "$(key_on "$BERTH_BASE/disk.before")" ]
	echo "# restored with a new key after $SECONDS s" >&3
}

@test "deleted their disks are erased, and read as zeros, before they are anybody's again" {
	berth delete db1 --force
	for n in 1 2; do
		server_wait m$n available 600
		cmp -n 134217728 "$BERTH_BASE/node$n/disk" /dev/zero
		[ "$(api GET /1.0/berth/servers/m$n | json '.metadata.used_by | length')" = 0 ]
	done
	[ "$(api GET /1.0/instances | json '.metadata | length')" = 0 ]
	grep -q 'firmware boots over HTTP' "$BERTHD_LOG"
}

@test "killed in the midst of a deployment the daemon carries on, and the instance runs" {
	api POST /1.0/instances '{"name":"db3","type":"bare-metal","start":true,"source":{"type":"image","alias":"small"},
		"config":{}}' >/dev/null
	eventually 200 sh -c 'grep -q "state=deploying" "$BERTHD_LOG" && ls '"$BERTH_DIR"'/instances >/dev/null'
	eventually 200 eval 'api GET "/1.0/berth/servers?recursion=1" | json ".metadata[].progress.stage // empty" | grep -q image ||
		[ "$(lxc list -f csv -c s)" = RUNNING ]' # who looks late sees none
	berthd_restart KILL
	eventually 400 eval '[ "$(lxc list -f csv -c s)" = RUNNING ]'
	berth delete db3 --force
}
