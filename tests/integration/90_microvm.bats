#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The kind microvm: a container's image under Debian's stock cloud kernel, by the same verbs.

load common
load image

setup_file() {
	KERNEL=$("$TOP/tests/images/kernel")
	export KERNEL
	berthd_start || return 1
	busybox_image "$BERTH_BASE/image.tar"
	lxc image import "$BERTH_BASE/image.tar" --alias box
	api_wait POST /1.0/networks '{"name":"mnet","config":{"ipv4.address":"10.79.5.1/24","ipv6.address":"none"}}'
	api POST /1.0/profiles '{"name":"plain","devices":{"root":{"type":"disk","path":"/","pool":"default","size":"256MiB"},"eth0":{"type":"nic","network":"mnet"}}}'
}
teardown_file() { berthd_stop; }

create() {
	jq -n --arg name "$1" '{name: $name, type: "microvm", profiles: ["plain"], start: true,
		source: {type: "image", alias: "box"},
		config: {"limits.cpu": "1", "limits.memory": "256MiB"}}'
}

@test "without a kernel a microvm is refused before anything is made" {
	run api POST /1.0/instances "$(create m1)"
	[[ $output == *"needs a kernel"* ]]
	[ "$(api GET /1.0/instances | json '.metadata | length')" = 0 ]
}

@test "an image that a container runs starts as a microvm, and its agent answers" {
	api PATCH /1.0 "$(jq -n --arg dir "$KERNEL" \
		'{config: {"berth.kernel": $dir, "berth.engine": "soft"}}')"
	api_wait POST /1.0/instances "$(create m1)"
	SECONDS=0
	[[ $(lxc exec m1 -- cat /proc/version) == "Linux version 6."* ]]
	echo "# seconds to the agent: $SECONDS" >&3
}

@test "its limits are seen from inside: one CPU, the memory, the disk" {
	[ "$(lxc exec m1 -- nproc)" = 1 ]
	kib=$(lxc exec m1 -- cat /proc/meminfo | awk '/^MemTotal/ {print $2}')
	[ "$kib" -le 262144 ] && [ "$kib" -gt 200000 ]
	kib=$(lxc exec m1 -- df -k / | awk 'END {print $2}')
	[ "$kib" -le 262144 ] && [ "$kib" -gt 200000 ]
}

@test "its monitor is a user of its own, in a network with nothing in it, with no right left" {
	pid=$(api GET /1.0/instances/m1/state | json .metadata.pid)
	[ "$(awk '/^Uid:/ {print $2}' "/proc/$pid/status")" -ge 1000 ]
	[ "$(awk '/^CapEff:/ {print $2}' "/proc/$pid/status")" = 0000000000000000 ]
	for namespace in net mnt ipc uts pid; do
		[ "$(readlink "/proc/$pid/ns/$namespace")" != "$(readlink "/proc/$(berthd_pid)/ns/$namespace")" ]
	done
	[ "$(awk '/^NSpid:/ {print $NF}' "/proc/$pid/status")" = 1 ]
	[ -z "$(ls "/proc/$pid/root/")" ]
	[ "$(nsenter --target "$pid" --net cat /proc/net/dev | wc -l)" = 3 ] # two lines of head, and lo
}

@test "its card has the address that the daemon gave it, and reaches the bridge" {
	address=$(api GET /1.0/instances/m1 | json '.metadata.config["volatile.eth0.ipv4.address"]')
	[[ $(lxc exec m1 -- ip -4 addr) == *"${address%/*}/24"* ]]
	eventually 60 lxc exec m1 -- busybox ping -c 1 -W 5 10.79.5.1
	eventually 60 in_net ping -c 1 -W 5 "${address%/*}"
	[[ $(lxc exec m1 -- hostname) == m1 ]]
}

@test "its console's output is kept" {
	lxc console m1 --show-log | grep 'the guest is up'
}

@test "exec passes input, output and status; files go in and out" {
	[ "$(echo hello | lxc exec m1 -- cat)" = hello ]
	status=0
	lxc exec m1 -- sh -c 'exit 7' || status=$?
	[ "$status" = 7 ]
	head -c 300000 /dev/urandom >"$BERTH_BASE/file"
	lxc file push "$BERTH_BASE/file" m1/root/file
	lxc file pull m1/root/file - | cmp - "$BERTH_BASE/file"
}

@test "other config is changed while it runs" {
	lxc config set m1 user.word something
}

@test "stopped through its agent it keeps what was written; deleted, nothing is left" {
	lxc stop m1 --timeout 200
	[ "$(lxc list -f csv -c s)" = STOPPED ]
	lxc start m1
	lxc exec m1 -- cat /root/file | cmp - "$BERTH_BASE/file"
	lxc delete -f m1
	[ -z "$(ls "$BERTH_DIR/instances/default" 2>/dev/null)" ]
}
