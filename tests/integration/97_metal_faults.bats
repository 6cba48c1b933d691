#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What goes wrong with servers: BMCs that lie, forget, die; nodes that never call, call twice, restart half-way; images
# that come torn; a daemon that is killed in every state. The BMC is our Redfish service, the node is curl.

load common
load image

setup_file() {
	KERNEL=$("$TOP/tests/images/kernel")
	export KERNEL
	# A switch of its own, if the test of it comes.
	OVS_RUNDIR=$(mktemp -d /tmp/berth-ovs.XXXXXX)
	export OVS_RUNDIR
	berthd_start || return 1
	in_net ip link add prov0 type bridge
	in_net ip link set prov0 up
	in_net ip addr add 10.77.0.1/24 dev prov0
	for n in 10 11 200; do in_net ip addr add "10.77.0.$n/24" dev prov0; done
	api PATCH /1.0 "$(jq -n --arg kernel "$KERNEL" '{config: {"berth.metal.kernel": $kernel,
		"berth.metal.interface": "prov0", "berth.metal.discovery": "true"}}')" >/dev/null
	eventually 60 grep -q 'network boot is on' "$BERTHD_LOG"
	busybox_disk "$BERTH_BASE/disk.raw" 8M
	qemu-img convert -O qcow2 "$BERTH_BASE/disk.raw" "$BERTH_BASE/disk.qcow2"
	disk_metadata "$BERTH_BASE/metadata.tar.xz"
	lxc image import "$BERTH_BASE/metadata.tar.xz" "$BERTH_BASE/disk.qcow2" --alias small
}

teardown_file() {
	responder_end
	switch_end
	in_net ip link del prov0
	berthd_stop
	rm -rf "$OVS_RUNDIR"
}

switch_start() {
	ovsdb-tool create "$OVS_RUNDIR/conf.db" /usr/share/openvswitch/vswitch.ovsschema
	nsenter --net="/run/netns/$BERTH_NETNS" ovsdb-server "$OVS_RUNDIR/conf.db" "--remote=punix:$OVS_RUNDIR/db.sock" \
		"--unixctl=$OVS_RUNDIR/db.ctl" >/dev/null 2>&1 </dev/null 3>&- &
	echo $! >"$OVS_RUNDIR/pids"
	eventually 60 test -S "$OVS_RUNDIR/db.sock"
	ovs-vsctl --no-wait init
	nsenter --net="/run/netns/$BERTH_NETNS" ovs-vswitchd "unix:$OVS_RUNDIR/db.sock" "--unixctl=$OVS_RUNDIR/sw.ctl" \
		>"$OVS_RUNDIR/log" 2>&1 </dev/null 3>&- &
	echo $! >>"$OVS_RUNDIR/pids"
	ovs-vsctl --timeout=100 add-br sw0 -- set bridge sw0 datapath_type=netdev -- \
		add-port sw0 p1 -- set interface p1 type=internal
}
switch_end() {
	local pid
	[ -f "$OVS_RUNDIR/pids" ] || return 0
	ovs-vsctl --timeout=5 del-br sw0 || true
	while read -r pid; do kill -KILL "$pid" 2>/dev/null || true; done <"$OVS_RUNDIR/pids"
	rm "$OVS_RUNDIR/pids"
}

responder() {
	responder_end
	nsenter --net="/run/netns/$BERTH_NETNS" "$BERTH_BUILD/tests/integration/redfish-responder" 9680 - "$@" >>"$BERTH_BASE/responder.log" 2>&1 3>&- &
	echo $! >"$BERTH_BASE/responder.pid"
	eventually 60 in_net bash -c 'exec 3<>/dev/tcp/127.0.0.1/9680' 2>/dev/null
}
responder_end() {
	[ ! -f "$BERTH_BASE/responder.pid" ] || kill -KILL "$(cat "$BERTH_BASE/responder.pid")" 2>/dev/null || true
	rm -f "$BERTH_BASE/responder.pid"
}

# The provisioning network is there a moment after the daemon.
is_on() { eventually 60 in_net curl -s --noproxy '*' -o /dev/null http://10.77.0.1:8470/; }
killed() {
	berthd_restart KILL
	is_on
}

# add [CONFIG]: the server m1; does not wait.
add() {
	[ $# -gt 0 ] || set -- '{}'
	api POST /1.0/berth/servers "$(jq -n --argjson config "$1" '{name: "m1", driver: "redfish",
		address: "http://127.0.0.1", port: 9680, user: "admin", password: "secret",
		mac: "52:54:00:77:00:01", config: ({"bmc.deadline": "20s"} + $config)}')" >/dev/null
}
remove() {
	api DELETE '/1.0/berth/servers/m1?force=1' >/dev/null
	eventually 60 sh -c '! curl -s --unix-socket "$BERTH_DIR/unix.socket" http://b/1.0/berth/servers | grep -q m1'
}
server() { api GET /1.0/berth/servers/m1 | json ".metadata$1"; }
state_is() { [ "$(server .state)" = "$1" ]; }
has_failed() {
	local why
	why=$(server '.failed // ""')
	[ -n "$why" ] && [[ $why == *"$1"* ]]
}

# The node's side. boot: asks what to boot and keeps the token of the agent; fails if it shall boot its disk.
# The daemon may just have been restarted: a connection that is refused is tried again.
node() { in_net curl -s --noproxy '*' --retry 10 --retry-delay 1 --retry-connrefused -m 30 --interface 10.77.0.10 "$@"; }
boot() {
	TOKEN=$(node http://10.77.0.1:8470/boot/52-54-00-77-00-01 | sed -n 's|.*agent/\([0-9a-f]*\) .*|\1|p')
	[ -n "$TOKEN" ] && echo "$TOKEN" >"$BERTH_BASE/token"
}
# The token outlives a test, which is a process of its own.
setup() { TOKEN=$(cat "$BERTH_BASE/token" 2>/dev/null || true); }
inventory() {
	printf '{"system":{"vendor":"curl"},"cpus":{"count":4,"sockets":1},"memory_bytes":8589934592,
		"disks":[{"name":"sda","bytes":100000256}],"nics":[{"name":"eth0","mac":"52:54:00:77:00:01"}],"tpm":{"pcrs":["%s"]}}' "${1:-AA}"
}
say() { node -X POST --data-binary "$2" "http://10.77.0.1:8470/agent/$TOKEN/$1"; }
hello() { say hello "$(inventory "$@")"; }
task() { node "http://10.77.0.1:8470/agent/$TOKEN/task"; }
# loader URL: how many bytes of a program the node's firmware is given.
loader() { node "$1" | wc -c; }
# task_is NAME: asks until it is given that task, and keeps its serial number.
task_is() {
	local lines
	for _ in 1 2 3; do
		lines=$(task)
		SERIAL=$(sed -n 's/^serial //p' <<<"$lines")
		[[ $lines != "task $1"* ]] || return 0
	done
	echo "$lines"
	return 1
}
is_done() { say done "serial $SERIAL"$'\n'"ok"$'\n'"$1"; }
available() {
	eventually 60 boot
	hello >/dev/null
	task_is erase
	is_done "erased sda discard 5 1000000000" >/dev/null
	eventually 60 state_is available
}
launch() {
	api POST /1.0/instances '{"name":"db","type":"bare-metal","start":'"${1:-false}"',"source":{"type":"image",
		"alias":"small"}}' | json .operation
}
ended() { api GET "$1/wait?timeout=120" | json '.metadata.err'; }

@test "a BMC that lies about power, forgets the boot device or dies fails the server with the reason" {
	for fault in lies:"power is still off" forgets:"but says" dies:""; do
		responder "${fault%%:*}"
		add '{"boot.deadline":"1s","bmc.deadline":"4s"}'
		eventually 60 has_failed "${fault#*:}"
		[ "${fault%%:*}" = dies ] || [ "$(server .state)" = inspecting ]
		remove
	done
}

@test "a wrong password fails the verification, and nothing was switched" {
	responder
	api POST /1.0/berth/servers '{"name":"m1","driver":"redfish","address":"http://127.0.0.1","port":9680,
		"user":"admin","password":"wrong","mac":"52:54:00:77:00:01"}' >/dev/null
	eventually 60 has_failed "wrong user or password"
	state_is verifying
	api PATCH /1.0/berth/servers/m1 '{"password":"secret"}' >/dev/null
	api PUT /1.0/berth/servers/m1/state '{"action":"inspect"}' >/dev/null
	eventually 60 state_is inspecting
	remove
}

@test "a node that never calls is started again, and fails with the reason within its deadline" {
	responder
	add '{"boot.deadline":"1s"}'
	eventually 60 has_failed "3 starts"
	remove
	add '{"deadline":"4s"}'
	eventually 60 has_failed "longer than it may"
	remove
}

@test "a node that says hello twice, or is done twice, changes nothing" {
	responder
	add
	eventually 60 boot
	hello
	hello
	task_is erase
	is_done "erased sda discard 5 1000000000"
	eventually 60 state_is available
	is_done "erased sda discard 5 1000000000"
	say neighbour $'nic eth0\nspeed 25000\nchassis top\e7\nport swp1\nsystem tor\nvlan 4'
	say neighbour $'nic eth9\nchassis nowhere'
	[ "$(server '.inventory.nics | map([.name, .speed_mbit, .neighbour.chassis, .neighbour.port]) | tostring')" = \
		'[["eth0",25000,"top?7","swp1"]]' ]
	say done "serial 1"$'\n'"failed nothing"
	state_is available
	[ "$(server '.failed // ""')" = "" ]
}

@test "a broken inventory, a strange token and a strange node are refused" {
	[[ $(say hello '{"disks":[7]}') == *"objects are wanted"* ]]
	[[ $(say hello '[]') == *"object is wanted"* ]]
	[[ $(TOKEN=00000000000000000000000000000000 task) == *"nobody is expected"* ]]
	[[ $(in_net curl -s --noproxy '*' --interface 10.77.0.11 http://10.77.0.1:8470/boot/52-54-00-77-00-01) == *"another node"* ]]
	[[ $(node http://10.77.0.1:8470/image) == *"nothing here"* ]]
	[[ $(node "http://10.77.0.1:8470/agent/$TOKEN/image") == *"nothing is deployed"* ]]
	[[ $(node http://10.77.0.1:8470/boot/nonsense) == *"no MAC address"* ]]
	state_is available
}

@test "a torn image fails the launch with the reason; the server is erased before it is free" {
	operation=$(launch)
	task_is deploy
	run berth launch small other --type bare-metal
	[[ $output == *"None of the 1 servers is available"* ]]
	node -o "$BERTH_BASE/image" "http://10.77.0.1:8470/agent/$TOKEN/image"
	cmp "$BERTH_BASE/image" "$BERTH_BASE/disk.raw"
	say done "serial $SERIAL"$'\n'"failed the image came with SHA-256 00, not 11" >/dev/null
	[[ $(ended "$operation") == *"SHA-256 00, not 11"* ]]
	eventually 60 state_is cleaning
	[ "$(api GET /1.0/instances | json '.metadata | length')" = 0 ]
	eventually 60 boot || true
	task_is erase
	is_done "erased sda overwrite 5 1000000000"
	eventually 60 state_is available
}

@test "what a server's BMC says is in the metrics" {
	api PATCH /1.0/berth/servers/m1 '{"config":{"bmc.deadline":"20s","poll":"300ms"}}' >/dev/null
	eventually 60 sh -c 'curl -s --unix-socket "$BERTH_DIR/unix.socket" http://b/1.0/metrics | grep -q "^berth_server_events"'
	told() { [[ $(api GET /1.0/metrics) == *"$1"* ]]; }
	for line in 'berth_server_power{server="m1"} 1' 'berth_server_power_watts{server="m1"} 120' \
		'berth_server_sensor{server="m1",sensor="CPU",unit="C"} 41.5' 'berth_server_events{server="m1"} 1' \
		'berth_server_failed{server="m1",state="available"} 0'; do
		eventually 60 told "$line"
	done
	api PATCH /1.0/berth/servers/m1 '{"config":{"bmc.deadline":"20s"}}' >/dev/null
}

@test "a node that restarts half-way is given its task again, but not for ever" {
	operation=$(launch)
	task_is deploy
	for _ in 1 2 3; do
		hello >/dev/null
		task_is deploy
	done
	hello >/dev/null || true
	[[ $(ended "$operation") == *"restarted in the midst"* ]]
	eventually 60 state_is cleaning
	eventually 60 boot
	hello >/dev/null
	task_is erase
	is_done "erased sda overwrite 5 1000000000"
	eventually 60 state_is available
}

@test "measurements that differ from the inspection's stop the deployment" {
	api PUT /1.0/berth/servers/m1/state '{"action":"inspect"}' >/dev/null
	eventually 60 state_is inspecting
	available
	operation=$(launch)
	task_is deploy
	hello BB
	[[ $(ended "$operation") == *"measurement 0"* ]]
	remove
}

@test "the daemon is killed in every state and carries on" {
	responder stuck
	add
	state_is verifying
	berthd_end KILL
	responder
	berthd_run
	is_on
	eventually 60 state_is inspecting
	eventually 60 boot
	killed
	state_is inspecting
	hello >/dev/null
	task_is erase
	killed
	state_is cleaning
	task_is erase
	is_done "erased sda discard 5 1000000000"
	eventually 60 state_is available
	killed
	state_is available
	launch true >/dev/null
	task_is deploy
	[[ $(api GET /1.0/berth/servers/m1 | json '.metadata.owner.instance') == db ]]
	killed
	state_is deploying
	task_is deploy
	is_done "disk sda"
	task_is boot
	killed
	state_is active
	task_is boot || true
	is_done "how kexec" || true
	[ "$(server .owner.instance)" = db ]
	api POST /1.0/instances/db/rescue '{}' >/dev/null
	eventually 60 boot
	killed
	state_is rescue
	hello >/dev/null
	task_is rescue
	is_done "" >/dev/null
	killed
	state_is rescue
	[ "$(server .owner.instance)" = db ]
	api_wait POST /1.0/instances/db/rescue '{"end":true}'
	state_is active
	lxc stop db --force || true
	api_wait DELETE /1.0/instances/db
	eventually 60 state_is cleaning
	killed
	state_is cleaning
	[ "$(api GET /1.0/instances | json '.metadata | length')" = 0 ]
	! [[ $(server .owner) == *db* ]]
}

# snapshot NAME [RESTORE]: asks for it, and prints the operation.
snapshot() { api POST /1.0/instances/db/snapshots "{\"name\":\"$1\"}" | json .operation; }

@test "a snapshot is all that is on the server's disk, and is put back as it was" {
	local operation
	remove || api DELETE '/1.0/berth/servers/m1?force=1' >/dev/null
	responder
	add
	available
	launch false >/dev/null
	task_is deploy
	is_done "disk sda" >/dev/null
	eventually 60 state_is active
	[ "$(in_net curl -s --noproxy '*' --interface 10.77.0.10 --data-binary x "http://10.77.0.1:8470/agent/$TOKEN/disk?at=0")" = \
		"nothing is saved here" ]
	truncate -s 100000256 "$BERTH_BASE/whole"
	head -c 4096 /dev/urandom >"$BERTH_BASE/piece"
	dd if="$BERTH_BASE/piece" of="$BERTH_BASE/whole" bs=512 count=8 conv=notrunc status=none
	dd if="$BERTH_BASE/piece" of="$BERTH_BASE/whole" bs=512 seek=195312 count=1 conv=notrunc status=none
	operation=$(snapshot torn)
	task_is save
	[ "$(server .state)" = saving ]
	[[ $(say 'disk?at=100000000' "0123456789abcdef$(head -c 300 /dev/zero | tr '\0' x)") == *"has 100000256 bytes"* ]]
	[[ $(say disk x) == *"offset is wanted"* ]]
	is_done $'bytes 100000256\ndigest 00' >/dev/null
	[[ $(ended "$operation") == *"came with SHA-256"* ]]
	state_is active
	operation=$(snapshot s1)
	eventually 60 boot
	hello >/dev/null
	task_is save
	killed
	state_is saving
	task_is save
	is_done $'bytes 100000256\ndigest 00' >/dev/null
	state_is active
	[ "$(api GET /1.0/instances/db/snapshots | json '.metadata | length')" = 0 ]
	operation=$(snapshot s1)
	eventually 60 boot
	hello >/dev/null
	task_is save
	node -X POST --data-binary @"$BERTH_BASE/piece" "http://10.77.0.1:8470/agent/$TOKEN/disk?at=0"
	head -c 512 "$BERTH_BASE/piece" | node -X POST --data-binary @- "http://10.77.0.1:8470/agent/$TOKEN/disk?at=99999744"
	is_done "bytes 100000256"$'\n'"digest $(sha256sum <"$BERTH_BASE/whole" | cut -d' ' -f1)" >/dev/null
	[ "$(ended "$operation")" = "" ]
	[ "$(api GET /1.0/instances/db/snapshots | json '.metadata | length')" = 1 ]
	operation=$(api PUT /1.0/instances/db '{"restore":"s1"}' | json .operation)
	eventually 60 boot
	hello >/dev/null
	lines=$(task)
	[[ $lines == *"plain yes"* && $lines == *"disk sda"* && $lines != *$'\nfile'* ]]
	SERIAL=$(sed -n 's/^serial //p' <<<"$lines")
	node -o "$BERTH_BASE/back" "http://10.77.0.1:8470/agent/$TOKEN/image"
	cmp "$BERTH_BASE/back" "$BERTH_BASE/whole"
	is_done "disk sda" >/dev/null
	[ "$(ended "$operation")" = "" ]
	# What is on the disk alone is nobody's to publish or to take away; what was saved of it is an image as any other.
	for verb in "publish db --alias no" "export db $BERTH_BASE/no.tar.gz"; do
		run lxc $verb
		[ "$status" -ne 0 ]
		[[ $output == *"take a snapshot, and publish that"* ]]
	done
	lxc publish db/s1 --alias saved
	[ "$(api GET '/1.0/images?recursion=1' | json '.metadata[] | select(.aliases[0].name == "saved") | .type')" = virtual-machine ]
	operation=$(api POST /1.0/instances/db/rebuild '{"source":{"type":"image","alias":"saved"}}' | json .operation)
	eventually 60 task_is deploy
	node -o "$BERTH_BASE/back" "http://10.77.0.1:8470/agent/$TOKEN/image"
	cmp "$BERTH_BASE/back" "$BERTH_BASE/whole"
	is_done "disk sda" >/dev/null
	[ "$(ended "$operation")" = "" ]
	lxc image delete saved
	# The agent that waits beside the image is dead: its BMC starts the server instead.
	lxc start db
	grep -q 'the agent is late server=m1' "$BERTHD_LOG"
	[ "$(berth server power m1)" = on ]
	run lxc snapshot db s2
	[[ $output == *"stop it first"* ]]
	run lxc restore db s1
	[[ $output == *"stop it first"* ]]
	lxc stop db --force
	# An agent that never calls: there is no snapshot, and the owner has the server.
	api PATCH /1.0/berth/servers/m1 '{"config":{"bmc.deadline":"20s","boot.deadline":"1s"}}' >/dev/null
	[[ $(ended "$(snapshot s3)") == *"3 starts"* ]]
	api PATCH /1.0/berth/servers/m1 '{"config":{"bmc.deadline":"20s"}}' >/dev/null
	[ "$(server .state)" = saving ]
	lxc start db
	state_is active
	lxc stop db --force
	lxc delete db
	! find "$BERTH_DIR"/pools -path '*virtual-machines*' -name db | grep -q .
	eventually 60 boot
	hello >/dev/null
	task_is erase
	is_done "erased sda discard 5 100000256" >/dev/null
	eventually 60 state_is available
}

@test "a server's port is in its owner's VLAN while it is the owner's, and in no other time" {
	remove
	switch_start
	[[ $(api POST /1.0/berth/servers '{"name":"m1","driver":"ipmi","address":"1.2.3.4","mac":"52:54:00:77:00:01",
		"config":{"switch.driver":"tincan","switch.port":"p1"}}') == *"none of openvswitch"* ]]
	[[ $(api POST /1.0/berth/servers '{"name":"m1","driver":"ipmi","address":"1.2.3.4","mac":"52:54:00:77:00:01",
		"config":{"switch.driver":"openvswitch","switch.port":"--help"}}') == *"no port"* ]]
	ovs-vsctl set port p1 tag=7
	add '{"switch.driver":"openvswitch","switch.port":"p1"}'
	available
	[ "$(ovs-vsctl get port p1 tag)" = "[]" ]
	# A project's VLAN goes before what an instance asks for.
	[[ $(api PATCH /1.0/projects/default '{"config":{"berth.vlan":"4095"}}') == *"1 to 4094"* ]]
	api PATCH /1.0/projects/default '{"config":{"berth.vlan":"100"}}' >/dev/null
	api POST /1.0/instances '{"name":"db","type":"bare-metal","start":true,"config":{"user.vlan":"7"},
		"source":{"type":"image","alias":"small"}}' >/dev/null
	task_is deploy
	is_done "disk sda"
	[ "$(ovs-vsctl get port p1 tag)" = "[]" ]
	[ "$(loader tftp://10.77.0.1/ipxe.efi)" -gt 100000 ]
	[ "$(loader http://10.77.0.1:8470/files/ipxe.efi)" -gt 100000 ]
	task_is boot
	is_done "how kexec"
	# Its firmware may look at the network first: it is given a program that ends at once.
	[ "$(loader tftp://10.77.0.1/ipxe.efi)" = 1024 ]
	[ "$(loader http://10.77.0.1:8470/files/ipxe.efi)" = 1024 ]
	eventually 60 sh -c '[ "$(ovs-vsctl get port p1 tag)" = 100 ]'
	lxc stop db --force
	lxc start db
	[ "$(ovs-vsctl get port p1 tag)" = 100 ]
	# A rescue is started from our network, and is its owner's once it runs: nothing of it is ours then.
	api POST /1.0/instances/db/rescue '{}' >/dev/null
	eventually 60 boot
	[ "$(ovs-vsctl get port p1 tag)" = "[]" ]
	hello >/dev/null
	lines=$(task)
	[[ $lines == *"task rescue"* && $lines == *"network dhcp"* ]]
	SERIAL=$(sed -n 's/^serial //p' <<<"$lines")
	is_done "" >/dev/null
	eventually 60 sh -c '[ "$(ovs-vsctl get port p1 tag)" = 100 ]'
	[[ $(task) == *"nobody is expected"* ]]
	ovs-vsctl set port p1 tag=7
	killed
	state_is rescue
	eventually 60 sh -c '[ "$(ovs-vsctl get port p1 tag)" = 100 ]'
	api_wait POST /1.0/instances/db/rescue '{"end":true}'
	lxc delete db --force
	eventually 60 sh -c '[ "$(ovs-vsctl get port p1 tag)" = "[]" ]'
	api PATCH /1.0/projects/default '{"config":{"berth.vlan":""}}' >/dev/null
	ovs-vsctl del-port p1
	eventually 60 boot
	hello >/dev/null
	task_is erase
	is_done "erased sda discard 5 1000000000"
	eventually 60 state_is available
	remove
	add '{"switch.driver":"openvswitch","switch.port":"p1"}'
	eventually 60 has_failed "could not set the VLAN"
	remove
	add
}

# bmc PATH: what the responder, which must be `basic`, says there.
bmc() { in_net curl -s --noproxy '*' -u admin:secret "http://127.0.0.1:9680/redfish/v1/$1"; }
disc() { bmc Managers/1/VirtualMedia/Cd | json .Image; }
has_disc() { [[ $(disc) == http://10.77.0.1:8470/media/*/boot.iso ]]; }

@test "over virtual media a server starts from a disc of its own, which is out as soon as it runs" {
	local url
	remove
	for config in '{"boot.from":"moon"}:network or media' '{"boot.from":"media"}:only over Redfish'; do
		run api POST /1.0/berth/servers '{"name":"m1","driver":"ipmi","address":"1.2.3.4","mac":"52:54:00:77:00:01",
			"config":'"${config%:*}"'}'
		[[ $output == *"${config##*:}"* ]]
	done
	responder basic
	add '{"boot.from":"media"}'
	eventually 60 has_disc
	eventually 60 eval '[ "$(bmc Systems/1 | json .PowerState+.Boot.BootSourceOverrideTarget)" = OnCd ]'
	url=$(disc)
	node -o "$BERTH_BASE/disc" "$url"
	[ "$(dd if="$BERTH_BASE/disc" bs=1 skip=32769 count=5 status=none)" = CD001 ]
	# As BMCs read it: in parts, of which the last is asked for beyond its end.
	node -r 32768-34815 "$url" | cmp - <(dd if="$BERTH_BASE/disc" bs=2048 skip=16 count=1 status=none)
	[ "$(node -o /dev/null -w '%{http_code}' -r -5 "$url")" = 206 ]
	[ "$(node -o /dev/null -w '%{http_code}' -r 9999999999- "$url")" = 416 ]
	[ "$(node -o /dev/null -w '%{http_code}' http://10.77.0.1:8470/media/00000000000000000000000000000000/boot.iso)" = 404 ]
	TOKEN=$(grep -a -o -m 1 'berth.call=[^ ]*/agent/[0-9a-f]* .*' "$BERTH_BASE/disc" | sed 's|.*agent/\([0-9a-f]*\) .*|\1|')
	grep -a -q "berth.nic=52:54:00:77:00:01 berth.address=10.77.0.1[0-9]*/24" "$BERTH_BASE/disc"
	[ "$(find "$BERTH_DIR/metal/media" -type f | wc -l)" = 1 ]
	killed
	hello >/dev/null
	eventually 60 eval '[ "$(disc)" = "" ]'
	[ "$(find "$BERTH_DIR/metal/media" -type f | wc -l)" = 0 ]
	[ "$(node -o /dev/null -w '%{http_code}' "$url")" = 404 ]
	task_is erase
	is_done "erased sda discard 5 1000000000" >/dev/null
	eventually 60 state_is available
	remove
}

@test "where nobody gives addresses a disc is the usual way, and who has no drive is refused" {
	local count
	count=$(grep -c 'network boot is on' "$BERTHD_LOG")
	api PATCH /1.0 '{"config":{"berth.metal.dhcp":"false"}}' >/dev/null
	eventually 60 eval '[ "$(grep -c "network boot is on" "$BERTHD_LOG")" -gt '"$count"' ]'
	! pgrep -f "dhcp-hostsdir=$BERTH_DIR/metal/hosts"
	[[ $(api POST /1.0/berth/servers '{"name":"m1","driver":"ipmi","address":"1.2.3.4","mac":"52:54:00:77:00:01"}') == \
		*"start from nowhere"* ]]
	responder basic
	add
	eventually 60 has_disc
	remove
	api PATCH /1.0 '{"config":{"berth.metal.dhcp":""}}' >/dev/null
	eventually 60 pgrep -f "dhcp-hostsdir=$BERTH_DIR/metal/hosts"
}

@test "a disc that does not stay in the drive, or has none, fails the server with the reason" {
	for fault in "discless:says that no disc is in its drive" "driveless:the BMC has no virtual media"; do
		responder "${fault%%:*}"
		add '{"boot.from":"media","bmc.deadline":"4s"}'
		eventually 60 has_failed "${fault#*:}"
		remove
	done
	responder
	add
}

@test "a server in maintenance is given to nobody" {
	eventually 60 boot
	hello >/dev/null
	task_is erase
	is_done "erased sda discard 5 1000000000"
	eventually 60 state_is available
	berth server maintenance m1 on
	run berth launch small db --type bare-metal
	[[ $output == *"None of the 1 servers"* ]]
	berth server maintenance m1 off
	remove
}

@test "each state has a deadline, and ends in a failure that says so" {
	local operation
	remove
	responder stuck
	add '{"deadline":"1s","bmc.deadline":"60s"}'
	eventually 60 has_failed "longer than it may"
	state_is verifying
	remove
	responder
	add
	available
	# Long enough to get its task in it, whatever the host does besides.
	api PATCH /1.0/berth/servers/m1 '{"config":{"bmc.deadline":"20s","deadline":"6s"}}' >/dev/null
	operation=$(launch)
	task_is deploy
	[[ $(ended "$operation") == *"longer than it may"* ]]
	eventually 60 state_is cleaning
	eventually 60 has_failed "longer than it may"
	[ "$(api GET /1.0/instances | json '.metadata | length')" = 0 ]
	api PATCH /1.0/berth/servers/m1 '{"config":{"bmc.deadline":"20s"}}' >/dev/null
	api PUT /1.0/berth/servers/m1/state '{"action":"clean"}' >/dev/null
	available
	launch >/dev/null
	task_is deploy
	is_done "disk sda" >/dev/null
	eventually 60 state_is active
	api PATCH /1.0/berth/servers/m1 '{"config":{"bmc.deadline":"20s","deadline":"2s"}}' >/dev/null
	operation=$(snapshot s1)
	[[ $(ended "$operation") == *"longer than it may"* ]]
	state_is saving
	api PATCH /1.0/berth/servers/m1 '{"config":{"bmc.deadline":"20s"}}' >/dev/null
	lxc delete db --force
	available
	remove
}

@test "a node that nobody knows is enrolled by discovery, or gets no answer" {
	TOKEN=$(in_net curl -s --noproxy '*' --interface 10.77.0.200 http://10.77.0.1:8470/boot/52-54-00-77-00-99 |
		sed -n 's|.*agent/\([0-9a-f]*\) .*|\1|p')
	[ -n "$TOKEN" ]
	hello
	[ "$(api GET /1.0/berth/servers/node-525400770099 | json .metadata.state)" = enrolled ]
	killed
	[ "$(api GET /1.0/berth/servers/node-525400770099 | json .metadata.state)" = enrolled ]
	[ "$(api GET /1.0/berth/servers/node-525400770099 | json .metadata.inventory.cpus.count)" = 4 ]
	berth server remove node-525400770099
	api PATCH /1.0 '{"config":{"berth.metal.discovery":"false"}}' >/dev/null
	eventually 60 sh -c 'nsenter --net=/run/netns/$BERTH_NETNS curl -s --noproxy "*" http://10.77.0.1:8470/boot/52-54-00-77-00-98 | grep -q "not known"'
}
