#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What only virtual machines have: disks of their own making, the config drive, refusals that name the file.

bats_require_minimum_version 1.5.0
load common
load image

setup_file() {
	berthd_start || return 1
	busybox_disk "$BERTH_BASE/disk.img"
	berth image import "$BERTH_BASE/disk.img" --alias disk
	api PATCH /1.0 "$(jq -n --arg dir "$("$TOP/tests/images/kernel")" \
		'{config: {"berth.kernel": $dir, "berth.engine": "soft"}}')"
}
teardown_file() { berthd_stop; }

@test "an empty one is made, runs its firmware, and stops by force at once" {
	lxc init --empty --vm empty -c limits.memory=128MiB -d root,size=16MiB 2>/dev/null ||
		lxc init --empty --vm empty -c limits.memory=128MiB
	if [ -e /usr/share/seabios/bios-256k.bin ] || [ -e /usr/share/OVMF/OVMF_CODE_4M.fd ]; then
		lxc start empty
		[ "$(lxc list -f csv -c st empty)" = RUNNING,VIRTUAL-MACHINE ]
		lxc stop -f empty
	fi
	lxc delete empty
}

@test "a disk that is larger than what was asked for, or names other files, is refused" {
	run berth launch disk small --type virtual-machine --storage 16MiB --config boot.mode=kernel
	[ "$status" -ne 0 ]
	[[ $output == *"the image's disk has 32.00MiB"* ]]
	qemu-img create -q -f qcow2 -b "$BERTH_BASE/disk.img" -F raw "$BERTH_BASE/over.qcow2"
	run berth image import "$BERTH_BASE/over.qcow2" --alias over
	[ "$status" -ne 0 ]
	[[ $output == *"backing file"* ]]
	run berth launch disk secure --type virtual-machine --config security.secureboot=true
	[[ $output == *"security.secureboot: is not offered"* ]]
	run berth launch disk c --type container
	[[ $output == *"of type virtual-machine"* ]]
	[ "$(api GET /1.0/instances | json '.metadata | length')" = 0 ]
}

@test "a bad kernel or a disk that is gone is one line that names the file" {
	mkdir -p "$BERTH_BASE/bad/boot" "$BERTH_BASE/bad/lib/modules"
	head -c 5000 /dev/urandom >"$BERTH_BASE/bad/boot/vmlinuz-bad"
	berth create disk broken --type virtual-machine --memory 128MiB --config boot.mode=kernel
	good=$(api GET /1.0 | json '.metadata.config["berth.kernel"]')
	api PATCH /1.0 "$(jq -n --arg dir "$BERTH_BASE/bad" '{config: {"berth.kernel": $dir}}')"
	run lxc start broken
	[ "$status" -ne 0 ]
	[[ $output == *"vmlinuz-bad"* ]]
	api PATCH /1.0 "$(jq -n --arg dir "$good" '{config: {"berth.kernel": $dir}}')"
	run lxc config device add broken data disk source="$BERTH_BASE/gone"
	[ "$status" -ne 0 ]
	[[ $output == *"devices.data.source"*"$BERTH_BASE/gone"* ]]
	truncate -s 1M "$BERTH_BASE/gone"
	lxc config device add broken data disk source="$BERTH_BASE/gone"
	rm "$BERTH_BASE/gone"
	run lxc start broken
	[ "$status" -ne 0 ]
	[[ $output == *"$BERTH_BASE/gone"* ]]
	[ "$(lxc list -f csv -c s broken)" = STOPPED ]
	lxc delete broken
}

@test "its config drive has what cloud-init reads, and the agent with what installs it" {
	berth launch disk v --type virtual-machine --cpus 1 --memory 256MiB --storage 64MiB --config boot.mode=kernel \
		--config cloud-init.user-data='#cloud-config
hostname: seeded' --config user.meta-data='colour: green'
	lxc exec v -- sh -c 'mkdir /drive && mount -t vfat -o ro /dev/vdb /drive'
	[[ $(lxc exec v -- cat /drive/user-data) == *"hostname: seeded"* ]]
	[[ $(lxc exec v -- cat /drive/meta-data) == *"local-hostname: v"*"colour: green"* ]]
	[[ $(lxc exec v -- cat /drive/vendor-data) == *"#cloud-boothook"* ]]
	lxc exec v -- cat /drive/network-config | json -e .ethernets
	lxc exec v -- test -s /drive/berth-agent
	lxc exec v -- sh -n /drive/install.sh
	lxc delete -f v
}

@test "a disk on SATA and a card that is an e1000 are there, and stay while it runs" {
	truncate -s 8M "$BERTH_BASE/sata"
	berth create disk old --type virtual-machine --cpus 1 --memory 256MiB --storage 64MiB --config boot.mode=kernel
	run lxc config device set old root io.bus sata
	[ "$status" -ne 0 ]
	[[ $output == *"io.bus: with boot.mode=kernel the root is a virtio disk"* ]]
	run lxc config device add old data disk source="$BERTH_BASE/sata" io.bus=nvme
	[[ $output == *'"nvme" is not offered, only virtio-blk and sata'* ]]
	lxc config device add old data disk source="$BERTH_BASE/sata" io.bus=sata
	lxc config device add old eth1 nic network="$(lxc network list -f csv | awk -F, '$3 == "YES" { print $1; exit }')" io.bus=e1000
	lxc start old
	classes=$(lxc exec old -- sh -c 'cat /sys/bus/pci/devices/*/class')
	[[ $classes == *0x010601* ]]
	[[ $(lxc exec old -- sh -c 'cat /sys/bus/pci/devices/*/device') == *0x100e* ]]
	run lxc config device remove old data
	[ "$status" -ne 0 ]
	[[ $output == *"only while the machine is stopped"* ]]
	run lxc config device remove old eth1
	[ "$status" -ne 0 ]
	[[ $output == *"only while the machine is stopped"* ]]
	lxc delete -f old
}

@test "the doctor says which engine machines run on, and what was measured" {
	berth doctor | grep -E "machine engine +ok +machines run on (soft|kvm), because"
	berth doctor | grep -E "direct execution +(ok +the engine soft runs|degraded +the engine soft translates)"
	# It is measured while the daemon does its work.
	eventually 60 test -s "$BERTH_DIR/engine.json"
	berth doctor | grep -E "unikernel engine +ok +unikernels run on (process|kvm), because"
}
