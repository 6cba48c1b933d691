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

# vm_sees NAME SECONDS TEXT: waits until TEXT stands on the console.
vm_sees() {
	timeout "$2" tail -n +1 -f --pid="$(cat "$BASE/$1.pid")" "$BASE/$1.out" 2>/dev/null 3>&- |
		grep -a -m 1 -q -- "$3" || {
		cat "$BASE/$1.out" "$BASE/$1.log"
		return 1
	}
}

vm_says() { printf '%s\n' "$1" >&7; }

vm_ends() {
	timeout "$2" tail --pid="$(cat "$BASE/$1.pid")" -f /dev/null
	exec 7>&-
}

vm_kill() {
	exec 7>&-
	kill -KILL "$(cat "$BASE/$1.pid")" 2>/dev/null || true
}

@test "a Debian disk boots by SeaBIOS and GRUB to a login, and turns itself off" {
	cp --sparse=always "$DISK" "$BASE/disk"
	vm_start bios --firmware "$SEABIOS" --firmware-log "$BASE/bios.debug" --disk "$BASE/disk"
	vm_sees bios 200 'login:'
	grep -a -q 'SeaBIOS (version' "$BASE/bios.out"
	grep -a -q 'GRUB' "$BASE/bios.out"
	grep -q 'Running on QEMU (q35)' "$BASE/bios.debug"
	vm_says root
	vm_sees bios 60 'root@debian:'
	vm_says 'echo BOOT=$(test -d /sys/firmware/efi && echo uefi || echo bios) CPUS=$(nproc) ACPI=$(ls /sys/firmware/acpi/tables | tr "\n" " ")'
	vm_sees bios 60 'BOOT=bios CPUS=1 ACPI=APIC DSDT FACP FACS MCFG'
	vm_says 'systemctl poweroff'
	vm_ends bios 90
	grep 'reason=off status=0' "$BASE/bios.log"
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
