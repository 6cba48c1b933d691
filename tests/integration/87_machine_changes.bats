#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A running machine is changed: CPUs, memory, disks, cards, their limits; what cannot be is refused in a sentence.

bats_require_minimum_version 1.5.0
load common
load image

setup_file() {
	berthd_start || return 1
	busybox_image "$BERTH_BASE/image.tar"
	lxc image import "$BERTH_BASE/image.tar" --alias box
	api PATCH /1.0 "$(jq -n --arg dir "$("$TOP/tests/images/kernel")" \
		'{config: {"berth.kernel": $dir, "berth.engine": "soft"}}')"
	api_wait POST /1.0/networks '{"name":"mnet","config":{"ipv4.address":"10.79.6.1/24","ipv6.address":"none"}}'
	api_wait POST /1.0/networks '{"name":"other","config":{"ipv4.address":"10.79.7.1/24","ipv6.address":"none"}}'
	berth launch box m --type microvm --cpus 1 --memory 256MiB --storage 64MiB --network mnet
	lxc exec m -- true
}
teardown_file() { berthd_stop; }

memory() { lxc exec m -- cat /proc/meminfo | awk '/^MemTotal/ { print int($2 / 1024) }'; }

@test "it reads from the metadata service who it is" {
	[ "$(lxc exec m -- busybox timeout 60 busybox wget -qO- http://169.254.169.254/latest/meta-data/hostname)" = m ]
}

@test "CPUs are given and taken while it runs, and no more than are there" {
	[ "$(nproc)" -ge 2 ] || skip "this host has one CPU"
	lxc config set m limits.cpu 2
	[ "$(lxc exec m -- nproc)" = 2 ]
	lxc config set m limits.cpu 1
	[ "$(lxc exec m -- nproc)" = 1 ]
	run lxc config set m limits.cpu 64
	[ "$status" -ne 0 ]
	[ "$(lxc config get m limits.cpu)" = 1 ]
}

@test "memory is given back and returned" {
	before=$(memory)
	lxc config set m limits.memory 192MiB
	[ "$(memory)" -le $((before - 60)) ]
	group=$(find /sys/fs/cgroup -type d -path "*berth-$BERTH_ID*default_m" | grep memory || true)
	[ -z "$group" ] || [ "$(cat "$group/memory.limit_in_bytes")" = $(((192 + 96 + 4 * 232) * 1048576)) ]
	lxc config set m limits.memory 256MiB
	eventually 60 sh -c "[ \$(lxc exec m -- cat /proc/meminfo | awk '/^MemTotal/ { print int(\$2 / 1024) }') = $before ]"
}

@test "memory beyond what it started with comes, is used, outlives its state, and goes" {
	before=$(memory)
	lxc config set m limits.memory 512MiB
	[ "$(memory)" -ge $((before + 248)) ]
	group=$(find /sys/fs/cgroup -type d -path "*berth-$BERTH_ID*default_m" | grep memory || true)
	[ -z "$group" ] || [ "$(cat "$group/memory.limit_in_bytes")" = $(((512 + 96 + 4 * 232) * 1048576)) ]
	lxc exec m -- sh -c 'mkdir /more; mount -t tmpfs -o size=100% none /more; head -c 280000000 /dev/zero >/more/file && echo word >>/more/file'
	lxc stop m --stateful
	lxc start m
	[ "$(memory)" -ge $((before + 248)) ]
	[ "$(lxc exec m -- busybox tail -c 5 /more/file)" = word ]
	lxc exec m -- sh -c 'rm /more/file; umount /more; echo 3 >/proc/sys/vm/drop_caches'
	lxc config set m limits.memory 256MiB
	[ "$(memory)" -le $((before + 1)) ]
	run lxc config set m limits.memory 5GiB
	[ "$status" -ne 0 ]
	[[ $output == *"can have"* ]]
	[ "$(lxc config get m limits.memory)" = 256MiB ]
}

@test "a volume of bytes is a disk of one machine at a time, and a volume of files of none" {
	local pool
	pool=$(api GET /1.0/storage-pools | json '.metadata[0]' | sed 's|.*/||')
	lxc storage volume create "$pool" bytes --type=block size=8MiB
	lxc storage volume create "$pool" files
	lxc config device add m extra disk pool="$pool" source=bytes
	eventually 60 lxc exec m -- test -b /dev/vdc
	[ "$(lxc exec m -- cat /sys/block/vdc/size)" = 16384 ]
	lxc exec m -- sh -c 'echo kept | dd of=/dev/vdc conv=fsync 2>/dev/null'
	api_wait POST /1.0/instances '{"name":"n","type":"microvm","source":{"type":"image","alias":"box"},
		"config":{"limits.memory":"256MiB"},"devices":{"root":{"type":"disk","path":"/","pool":"default","size":"64MiB"}}}'
	run lxc config device add n extra disk pool="$pool" source=bytes
	[ "$status" -ne 0 ]
	[[ $output == *'is a disk of instance "m" already'* ]]
	run lxc config device add n extra disk pool="$pool" source=files
	[ "$status" -ne 0 ]
	[[ $output == *'of content type filesystem'* ]]
	lxc delete n
	run lxc storage volume delete "$pool" bytes
	[ "$status" -ne 0 ]
	lxc config device remove m extra
	lxc storage volume delete "$pool" bytes
	lxc storage volume delete "$pool" files
}

@test "a disk comes, is written, and goes" {
	truncate -s 16M "$BERTH_BASE/disk"
	lxc config device add m data disk source="$BERTH_BASE/disk"
	eventually 60 lxc exec m -- test -b /dev/vdc
	lxc exec m -- sh -c 'echo word | dd of=/dev/vdc conv=fsync 2>/dev/null; sync'
	[ "$(head -c 4 "$BERTH_BASE/disk")" = word ]
	lxc config device remove m data
	run lxc exec m -- test -b /dev/vdc
	[ "$status" -ne 0 ]
	run lxc config device add m none disk source="$BERTH_BASE/no-such"
	[[ $output == *"no-such"* ]]
	run lxc config device add m dir disk source=/tmp path=/mnt
	[ "$status" -ne 0 ]
	[[ $output == *"not directories"* ]]
}

@test "a full volume behind a disk stops the machine with a warning, and it goes on when there is room" {
	mkdir "$BERTH_BASE/small"
	# The daemon has mounts of its own.
	in_mounts() { nsenter --mount -t "$(berthd_pid)" "$@"; }
	in_mounts mount -t tmpfs -o size=4M berth-small "$BERTH_BASE/small"
	in_mounts truncate -s 16M "$BERTH_BASE/small/disk"
	lxc config device add m small disk source="$BERTH_BASE/small/disk"
	eventually 60 lxc exec m -- test -b /dev/vdc
	lxc exec m -- dd if=/dev/zero of=/dev/vdc bs=65536 count=128 conv=fsync 3>&- &
	writer=$!
	eventually 60 sh -c 'lxc query /1.0/warnings?recursion=1 | jq -e "any(.[]; (.last_message | contains(\"until there is room\")) and .status == \"new\")"'
	in_mounts mount -o remount,size=32M "$BERTH_BASE/small"
	wait $writer
	eventually 60 sh -c 'lxc query /1.0/warnings?recursion=1 | jq -e "any(.[]; (.last_message | contains(\"until there is room\")) and .status == \"resolved\")"'
	lxc config device remove m small
	in_mounts umount "$BERTH_BASE/small"
}

@test "a disk's rate is changed and holds" {
	lxc config device override m root limits.max=2MiB 2>/dev/null || lxc config device set m root limits.max 2MiB
	SECONDS=0
	lxc exec m -- dd if=/dev/zero of=/root/zero bs=65536 count=96 conv=fsync
	[ "$SECONDS" -ge 2 ]
	lxc config device unset m root limits.max
	lxc exec m -- rm /root/zero
}

@test "a profile's change reaches the running machine, or a warning says why not" {
	lxc profile create soft
	lxc profile set soft limits.cpu=1 limits.memory=256MiB
	lxc profile add m soft
	lxc config unset m limits.cpu
	lxc config unset m limits.memory
	lxc profile set soft limits.memory 192MiB
	eventually 60 sh -c '[ "$(lxc exec m -- cat /proc/meminfo | awk "/^MemTotal/ { print int(\$2 / 1024) }")" -le 185 ]'
	lxc profile set soft limits.memory 256MiB
	truncate -s 16M "$BERTH_BASE/more"
	lxc profile device add soft data disk source="$BERTH_BASE/more"
	eventually 60 lxc exec m -- test -b /dev/vdc
	lxc profile device remove soft data
	eventually 60 sh -c '! lxc exec m -- test -b /dev/vdc'
	lxc profile set soft limits.cpu 60
	eventually 60 sh -c 'lxc query /1.0/warnings?recursion=1 | jq -e "any(.[]; (.last_message | contains(\"CPUs to give\")) and .status == \"new\")"'
	lxc profile set soft limits.cpu 1
	eventually 60 sh -c 'lxc query /1.0/warnings?recursion=1 | jq -e "any(.[]; (.last_message | contains(\"CPUs to give\")) and .status == \"resolved\")"'
	lxc config set m limits.cpu=1 limits.memory=256MiB
	lxc profile remove m soft
}

@test "a state keeps disks and cards that came later, each in its place" {
	truncate -s 8M "$BERTH_BASE/first" "$BERTH_BASE/second"
	lxc config device add m first disk source="$BERTH_BASE/first"
	lxc config device add m second disk source="$BERTH_BASE/second"
	lxc config device add m eth1 nic network=other name=eth1
	eventually 60 lxc exec m -- test -b /dev/vdd
	lxc config device remove m first
	lxc exec m -- sh -c 'mkdir -p /mem; mount -t tmpfs none /mem; echo kept >/mem/devices; echo word | dd of=/dev/vdd conv=fsync 2>/dev/null'
	lxc stop m --stateful
	lxc config device remove m second
	run lxc start m
	[ "$status" -ne 0 ]
	[[ $output == *"its device disk:second is not there any more"* ]]
	lxc config device add m second disk source="$BERTH_BASE/second"
	lxc start m
	[ "$(lxc exec m -- cat /mem/devices)" = kept ]
	[ "$(lxc exec m -- sh -c 'echo 3 >/proc/sys/vm/drop_caches; head -c 4 /dev/vdd')" = word ]
	address=$(api GET /1.0/instances/m | json '.metadata.config["volatile.eth1.ipv4.address"]')
	eventually 60 in_net ping -q -c 1 -W 1 "${address%/*}"
	lxc config device remove m second
	lxc config device remove m eth1
	run lxc exec m -- test -b /dev/vdd
	[ "$status" -ne 0 ]
	lxc exec m -- sh -c "umount /mem"
}

@test "a card comes with its address, and goes" {
	lxc config device add m eth1 nic network=other name=eth1
	address=$(api GET /1.0/instances/m | json '.metadata.config["volatile.eth1.ipv4.address"]')
	eventually 60 in_net ping -q -c 1 -W 1 "${address%/*}"
	lxc config device remove m eth1
	eventually 60 sh -c '! lxc exec m -- ip addr | grep -q "'"${address%/*}"'"'
	[ "$(lxc exec m -- echo fine)" = fine ]
}

@test "a snapshot with its state brings back what was in memory; a clock that stood still is set" {
	lxc restart m --timeout 200
	lxc exec m -- sh -c 'mkdir -p /mem; mount -t tmpfs none /mem; echo kept >/mem/word; (sleep 1000 </dev/null >/dev/null 2>&1 &); sync'
	lxc snapshot m whole --stateful
	lxc exec m -- sh -c 'echo lost >/mem/word; echo later >/root/later; sync'
	lxc restore m whole --stateful
	[ "$(lxc exec m -- cat /mem/word)" = kept ]
	run lxc exec m -- cat /root/later
	[ "$status" -ne 0 ]
	lxc exec m -- sh -c 'busybox ps | grep -q "sleep 100[0]"'
	before=$(date +%s)
	now=$(lxc exec m -- busybox date +%s)
	[ "$now" -ge $((before - 5)) ] && [ "$now" -le $(($(date +%s) + 5)) ]
	# Two that live from the same memory would draw the same random numbers: the event of a new VM generation id
	# says so. Debian's cloud kernel has no driver for it, but counts it.
	[[ $(lxc exec m -- cat /sys/bus/acpi/devices/BRTH0001:00/modalias) == *VM_GEN_COUNTER* ]]
	[ "$(lxc exec m -- cat /sys/firmware/acpi/interrupts/gpe05 | awk '{ print $1 }')" = 1 ]
}

@test "stopped with its state it goes on where it stood; without it, it boots" {
	lxc stop m --stateful
	[ "$(lxc list -f csv -c s m)" = STOPPED ]
	[ "$(lxc query /1.0/instances/m | json .stateful)" = true ]
	lxc start m
	[ "$(lxc exec m -- cat /mem/word)" = kept ]
	[ "$(lxc query /1.0/instances/m | json .stateful)" = false ]
	berth stop m --stateful
	lxc start m --stateless
	run lxc exec m -- cat /mem/word
	[ "$status" -ne 0 ]
	lxc delete -f m
	[ -z "$(ls "$BERTH_DIR/instances/default" 2>/dev/null)" ]
}
