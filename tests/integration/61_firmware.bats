#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Disks that start by their own boot loader: SeaBIOS and OVMF, as Debian packs them, under the software CPU.

bats_require_minimum_version 1.5.0
TOP=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
BUILD=${BERTH_BUILD:-$TOP/build}
case $BUILD in /*) ;; *) BUILD=$TOP/$BUILD ;; esac
VMM=$BUILD/src/vmm/berth-vmm
SEABIOS=/usr/share/seabios/bios-256k.bin
OVMF=/usr/share/OVMF/OVMF_CODE_4M.fd
VARS=/usr/share/OVMF/OVMF_VARS_4M.fd
export LC_ALL=C.UTF-8

setup_file() {
	BASE=$(mktemp -d /tmp/berth-firmware.XXXXXX)
	DISK=$("$TOP/tests/images/disk")
	export BASE DISK
}

teardown_file() {
	for name in bios uefi old; do
		[ ! -f "$BASE/$name.pid" ] || kill -KILL "$(cat "$BASE/$name.pid")" 2>/dev/null || true
	done
	[ ! -f "$BASE/http" ] || kill "$(cat "$BASE/http")" 2>/dev/null || true
	[ ! -f "$BASE/netns" ] || ip netns del "$(cat "$BASE/netns")"
	rm -rf "$BASE"
}

# vm_start NAME OPTION...: starts it with its serial port at $BASE/NAME.in and $BASE/NAME.out.
vm_start() {
	local name=$1
	shift
	mkfifo "$BASE/$name.in"
	"$VMM" --name "$name" --engine "${ENGINE:-soft}" --uid 65534 --memory 512MiB "$@" \
		<"$BASE/$name.in" >"$BASE/$name.out" 2>"$BASE/$name.log" 3>&- &
	echo $! >"$BASE/$name.pid"
	exec 7>"$BASE/$name.in"
}

# vm_sees NAME SECONDS TEXT: waits until TEXT stands on the console; a prompt ends no line.
vm_sees() {
	timeout "$2" bash -c 'until grep -a -q -- "$1" "$2"; do kill -0 "$3" || exit 1; sleep 0.2; done' - \
		"$3" "$BASE/$1.out" "$(cat "$BASE/$1.pid")" || grep -a -q -- "$3" "$BASE/$1.out" || {
		cat "$BASE/$1.out" "$BASE/$1.log"
		return 1
	}
}

# vm_asks NAME WORDS TEXT: types WORDS until TEXT stands on the console: what the kernel says may stand in its midst.
vm_asks() {
	local i
	for i in 1 2 3 4 5 6 7 8 9 10; do
		printf '%s\n' "$2" >&7
		vm_sees "$1" 60 "$3" && return 0
	done
	return 1
}

vm_ends() {
	timeout "$2" tail --pid="$(cat "$BASE/$1.pid")" -s 0.1 -f /dev/null
	rm "$BASE/$1.pid" # soon another process's
	exec 7>&-
}

@test "a Debian disk boots by SeaBIOS and GRUB to a login, and turns itself off" {
	cp --sparse=always "$DISK" "$BASE/disk"
	vm_start bios --firmware "$SEABIOS" --firmware-log "$BASE/bios.debug" --disk "$BASE/disk"
	vm_sees bios 1200 'login:'
	grep -a -q 'SeaBIOS (version' "$BASE/bios.out"
	grep -a -q 'GRUB' "$BASE/bios.out"
	grep -q 'Running on QEMU (q35)' "$BASE/bios.debug"
	vm_asks bios root 'root@debian:'
	vm_asks bios 'echo BOOT=$(test -d /sys/firmware/efi && echo uefi || echo bios) CPUS=$(nproc) ACPI=$(ls /sys/firmware/acpi/tables | tr "\n" " ")' \
		'BOOT=bios CPUS=1 ACPI=APIC DSDT FACP FACS MCFG'
	printf 'systemctl poweroff\n' >&7
	vm_ends bios 400
	grep 'reason=off status=0' "$BASE/bios.log"
}

# Puts FILE at PATH of the disk's root file system.
disk_put() {
	printf 'rm %s\nwrite %s %s\nset_inode_field %s mode 0100755\n' "$3" "$2" "$3" "$3" >"$BASE/debugfs"
	debugfs -w -f "$BASE/debugfs" "$1?offset=18874368" >/dev/null 2>&1
}

@test "the same disk boots by OVMF; the firmware's variables stay; a reset by the guest starts the firmware again" {
	cp --sparse=always "$DISK" "$BASE/disk"
	cp "$VARS" "$BASE/vars"
	# In place of systemd: the first time it leaves a variable and resets, the second time it reads it.
	cat >"$BASE/probe" <<-'PROBE'
		#!/bin/sh
		mount -t proc none /proc
		mount -t sysfs none /sys
		mount -t efivarfs none /sys/firmware/efi/efivars
		v=/sys/firmware/efi/efivars/Berth-11111111-2222-3333-4444-555555555555
		if [ -e $v ]; then
			echo "SECOND $(tail -c 5 $v) UEFI=$(ls -d /sys/firmware/efi) ACPI=$(ls /sys/firmware/acpi/tables | tr '\n' ' ')"
			echo o >/proc/sysrq-trigger
		else
			printf '\007\000\000\000berth' >$v && echo FIRST
			echo b >/proc/sysrq-trigger
		fi
		sleep 60
	PROBE
	printf 'set timeout=0\nmenuentry x {\nlinux /vmlinuz root=PARTUUID=%s rw console=ttyS0 quiet init=/probe\ninitrd /initrd.img\n}\n' \
		6e5b5c5e-3c9f-4f43-9c0f-0b5b6a3c1d01 >"$BASE/grub.cfg"
	disk_put "$BASE/disk" "$BASE/probe" /probe
	disk_put "$BASE/disk" "$BASE/grub.cfg" /boot/grub/grub.cfg
	vm_start uefi --firmware "$OVMF" --firmware-vars "$BASE/vars" --disk "$BASE/disk"
	vm_sees uefi 1200 'FIRST'
	vm_sees uefi 1200 'SECOND berth UEFI=/sys/firmware/efi ACPI=APIC .*FACP FACS MCFG'
	vm_ends uefi 600
	grep 'machine starts again name=uefi reason=reset' "$BASE/uefi.log"
	grep 'reason=off status=0' "$BASE/uefi.log"
	[ "$(grep -a -c 'starting Boot' "$BASE/uefi.out")" -eq 2 ]
	grep -a -q 'B.e.r.t.h' "$BASE/vars"
}

@test "a disc in a CD drive boots by SeaBIOS when the disk has no boot loader" {
	"$TOP/tests/images/disc" "$BASE/disc.iso" 'read by the BIOS from a disc'
	truncate -s 16M "$BASE/blank.disk"
	run -7 timeout 900 "$VMM" --engine "${ENGINE:-soft}" --uid 65534 --memory 64MiB --firmware "$SEABIOS" \
		--disk "$BASE/blank.disk" --disk "$BASE/disc.iso,cdrom" --exit-port 244 </dev/null
	# The end of the BIOS's own line comes by a timer, and may stand in the midst of it.
	[[ ${output//[.$'\r\n']/} == *'read by the BIOS from a disc'* ]]
}

@test "a machine with a SATA disk and an e1000 card, no virtio, works: Debian's kernel reads, writes, sends, receives" {
	local kernel netns
	kernel=$("$TOP/tests/images/kernel" amd64)
	netns=$(basename "$BASE")
	"$TOP/tests/images/initramfs-old" "$kernel" "$BASE/initrd"
	"$TOP/tests/images/disc" "$BASE/disc.iso" 'a disc'
	head -c 16000000 /dev/urandom >"$BASE/old.disk"
	first=$(head -c 4000000 "$BASE/old.disk" | md5sum | cut -d' ' -f1)
	mkdir "$BASE/served"
	head -c 8000000 /dev/urandom >"$BASE/served/served"
	ip netns add "$netns"
	echo "$netns" >"$BASE/netns"
	ip netns exec "$netns" sh -c 'ip link set lo up; ip tuntap add dev vt0 mode tap vnet_hdr; ip addr add 10.9.7.1/24 dev vt0; ip link set vt0 up'
	(cd "$BASE/served" && exec nsenter --net="/run/netns/$netns" python3 -m http.server 8000 >/dev/null 2>&1 3>&-) &
	echo $! >"$BASE/http"
	timeout 60 bash -c 'until nsenter --net="/run/netns/$1" curl -s -o /dev/null http://10.9.7.1:8000/; do sleep 0.1; done' - "$netns"
	nsenter --net="/run/netns/$netns" "$VMM" --name old --engine "${ENGINE:-soft}" --uid 65534 --memory 256MiB \
		--kernel "$kernel"/boot/vmlinuz-* --initrd "$BASE/initrd" --cache "$HOME/.cache/berth/unpacked" \
		--append "console=ttyS0 panic=-1 quiet disc=1 guest=10.9.7.2/24 host=10.9.7.1" --exit-on-reset \
		--disk "$BASE/old.disk,sata,id=one" --disk "$BASE/disc.iso,cdrom" --tap vt0,e1000,mac=02:00:00:00:00:07 </dev/null >"$BASE/old.out" 2>"$BASE/old.log" 3>&- &
	echo $! >"$BASE/old.pid"
	vm_sees old 1200 'RESULT serving'
	grep -a "RESULT disk BERTH DISK *31250 32" "$BASE/old.out"
	grep -a "RESULT first $first" "$BASE/old.out"
	grep -a "RESULT disc CD DRIVE *128 $(md5sum <"$BASE/disc.iso" | cut -d' ' -f1)" "$BASE/old.out"
	wrote=$(sed -n 's/.*RESULT wrote \([0-9a-f]*\).*/\1/p' "$BASE/old.out")
	grep -a "RESULT again $wrote" "$BASE/old.out"
	grep -a 'RESULT card 02:00:00:00:00:07 1000' "$BASE/old.out"
	grep -a 'RESULT ping ok' "$BASE/old.out"
	grep -a "RESULT got $(md5sum <"$BASE/served/served" | cut -d' ' -f1)" "$BASE/old.out"
	[ "$(nsenter --net="/run/netns/$netns" curl -s -m 120 http://10.9.7.2/random | md5sum | cut -d' ' -f1)" = "$wrote" ]
	: >"$BASE/served/done"
	vm_ends old 600
	grep -a 'RESULT errors 0' "$BASE/old.out"
	grep 'reason=off status=0' "$BASE/old.log"
	[ "$(tail -c +4194305 "$BASE/old.disk" | head -c 4194304 | md5sum | cut -d' ' -f1)" = "$wrote" ]
}

@test "a file that is no firmware is one line that names it and says what is wrong, status 1" {
	head -c 100000 "$SEABIOS" >"$BASE/short"
	head -c 262144 /dev/zero >"$BASE/zeroes"
	: >"$BASE/empty"
	refused() {
		run --separate-stderr "$VMM" --engine soft "$@" </dev/null
		[ "$status" -eq 1 ]
		[ "$(grep -c '^berth-vmm: ' <<<"$stderr")" -eq 1 ]
	}
	refused --firmware "$BASE/short"
	[[ $stderr == *"$BASE/short: no firmware: 100000 bytes are not whole pages"* ]]
	refused --firmware "$BASE/zeroes"
	[[ $stderr == *"$BASE/zeroes: no firmware: there is no instruction at its reset vector"* ]]
	refused --firmware "$BASE/empty"
	[[ $stderr == *"$BASE/empty: it is empty"* ]]
	refused --firmware /no/such/file
	[[ $stderr == *"open /no/such/file: No such file"* ]]
	refused --firmware "$VARS"
	[[ $stderr == *"$VARS: these are variables of UEFI, not the firmware itself"* ]]
	refused --firmware "$OVMF" --firmware-vars "$BASE/zeroes"
	[[ $stderr == *"$BASE/zeroes: no variables of UEFI: a copy of OVMF_VARS"* ]]
	refused --firmware "$SEABIOS" --kernel "$SEABIOS"
	[[ $stderr == *"a machine boots one of them"* ]]
	refused --firmware-vars "$BASE/zeroes" --kernel "$SEABIOS"
	[[ $stderr == *"need --firmware"* ]]
}
