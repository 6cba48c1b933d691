#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The library OS as a kernel: one image in a locked process and in machines of its own, with the same answers.

bats_require_minimum_version 1.5.0
TOP=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
BUILD=${BERTH_BUILD:-$TOP/build}
case $BUILD in /*) ;; *) BUILD=$TOP/$BUILD ;; esac
KERNEL=$BUILD/src/unikernel/berth-unikernel
TENDER=$BUILD/src/tender/berth-tender
PORT=8080

setup_file() {
	export WORK=$(mktemp -d /tmp/berth-machine-XXXXXX)
	# What QEMU listens to on the host is this file's alone.
	export NS=${WORK##*/}
	ip netns add "$NS"
	ip -n "$NS" link set lo up
	mkdir -p "$WORK/root/bin"
	cp /bin/busybox "$WORK/root/bin/busybox"
	"$TENDER" --build "$WORK/root" /bin/busybox "$WORK/image" busybox
}

teardown_file() {
	ip netns del "$NS"
	rm -rf "$WORK"
}

in_ns() { nsenter --net="/run/netns/$NS" "$@"; }

# sees FILE WORD: waits until it stands there.
sees() {
	local end=$((SECONDS + 120))
	until grep -q -- "$2" "$1" 2>/dev/null; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.1
	done
}

# boot ENGINE [WORD...]: what the program wrote, without the carriage returns of a serial line; $status is the program's.
boot() {
	local engine=$1 line="berth.plain berth.exit=0xf4 --" word code=0
	shift
	for word; do line+=" \"$word\""; done
	timeout -s KILL 300 "$BUILD/src/vmm/berth-vmm" --engine "$engine" --memory 64MiB --kernel "$KERNEL" --initrd "$WORK/image" \
		--exit-port 0xf4 --exit-on-reset --append "$line" </dev/null >"$WORK/out" 2>"$WORK/log" || code=$?
	tr -d '\r' <"$WORK/out"
	return $(((code - 1) / 2))
}

alone() { timeout 200 "$TENDER" --root="$WORK/image" -- "$@" </dev/null; }

SCRIPT='for i in 1 2 3; do echo $i; done | sed s/2/two/; (echo child; exit 5); echo $?; dd if=/dev/zero of=/tmp/x bs=1k count=300
	2>/dev/null; md5sum /tmp/x; ls /bin /dev; head -c 50000 /bin/busybox | gzip | gunzip | md5sum; sleep 0.05; kill -9 $$'

check_engine() {
	run alone busybox sh -c "$SCRIPT"
	local wanted=$output
	[[ $wanted == *two*child*5* ]]
	run boot "$1" busybox sh -c "$SCRIPT"
	[ "$output" = "$wanted" ] || { cat "$WORK/log" && diff <(echo "$output") <(echo "$wanted"); }
	run boot "$1" busybox sh -c "exit 7"
	[ "$status" -eq 7 ]
}

@test "the software CPU runs the image as a process does" {
	check_engine soft
}

@test "KVM runs the image as a process does" {
	[ -c /dev/kvm ] || skip "needs /dev/kvm"
	check_engine kvm
}

@test "the tender runs the image in a machine as in a process" {
	[ -c /dev/kvm ] || skip "needs /dev/kvm"
	local wanted pid
	run alone busybox sh -c "$SCRIPT"
	wanted=$output
	run timeout -s KILL 300 "$TENDER" --engine=kvm --root="$WORK/image" -- busybox sh -c "$SCRIPT" </dev/null
	[ "$output" = "$wanted" ] || diff <(echo "$output") <(echo "$wanted")
	run timeout -s KILL 300 "$TENDER" --engine=kvm --root="$WORK/image" -- busybox sh -c "exit 77" </dev/null
	[ "$status" -eq 77 ]
	[ "$(echo to be read | timeout -s KILL 300 "$TENDER" --engine=kvm --root="$WORK/image" -- busybox head -n 1)" = "to be read" ]
	# A signal from outside is the program's.
	"$TENDER" --engine=kvm --root="$WORK/image" -- busybox sh -c 'echo up; while :; do :; done' </dev/null >"$WORK/up" 3>&- &
	pid=$!
	sees "$WORK/up" up
	kill -TERM "$pid"
	local code=0
	wait "$pid" || code=$?
	[ "$code" -eq 143 ]
}

@test "every register and flag is kept around every call on every platform" {
	local program=$BUILD/tests/unit/unikernel/unikernel_registers kept="every register is kept around every call"
	[ -x "$program" ] || skip "needs a build without sanitizers"
	mkdir -p "$WORK/none"
	"$TENDER" --build "$WORK/none" "$program" "$WORK/registers"
	local vmm="timeout -s KILL 400 $BUILD/src/vmm/berth-vmm --memory 64MiB --kernel $KERNEL --initrd $WORK/registers --exit-on-reset"
	[ "$(timeout 300 "$TENDER" --root="$WORK/registers" </dev/null)" = "$kept" ]
	run $vmm --engine soft --append berth.plain </dev/null
	[[ $output == *"$kept"* ]]
	if command -v qemu-system-x86_64 >/dev/null; then
		run timeout -s KILL 400 qemu-system-x86_64 -accel tcg -cpu max -m 64 -display none -nodefaults -no-reboot -serial stdio \
			-kernel "$KERNEL" -initrd "$WORK/registers" -append 'berth.exit=0xf4 berth.plain' \
			-device isa-debug-exit,iobase=0xf4 </dev/null
		[[ $output == *"$kept"* ]]
	fi
	[ -c /dev/kvm ] || return 0
	[ "$(timeout 300 "$TENDER" --engine=kvm --root="$WORK/registers" </dev/null)" = "$kept" ]
	run $vmm --engine kvm --append berth.plain </dev/null
	[[ $output == *"$kept"* ]]
}

@test "what a machine of the tender cannot do is refused" {
	[ -c /dev/kvm ] || skip "needs /dev/kvm"
	run "$TENDER" --engine=vmware --root="$WORK/image"
	[[ $output == *"none of process, kvm"* ]]
	run "$TENDER" --engine=kvm --root="$WORK/image" --snapshot="$WORK/snapshot"
	[[ $output == *"snapshots are of the engine process"* ]]
}

@test "QEMU boots it" {
	command -v qemu-system-x86_64 >/dev/null || skip "needs qemu-system-x86_64"
	run timeout -s KILL 300 qemu-system-x86_64 -accel tcg -cpu max -m 64 -display none -nodefaults -no-reboot -serial stdio \
		-kernel "$KERNEL" -initrd "$WORK/image" -append 'berth.exit=0xf4 -- busybox expr 6 "*" 7' \
		-device isa-debug-exit,iobase=0xf4 </dev/null
	[ "$status" -eq 1 ] # isa-debug-exit's word for 0
	[[ $output == *42* ]]
}

@test "it turns a machine off that has no fixed registers, by the register that ACPI names" {
	command -v qemu-system-x86_64 >/dev/null || skip "needs qemu-system-x86_64"
	run timeout -s KILL 300 qemu-system-x86_64 -M microvm -accel tcg -cpu max -m 64 -display none -nodefaults -no-user-config -no-reboot \
		-serial stdio -kernel "$KERNEL" -initrd "$WORK/image" -append 'berth.plain -- busybox echo and off' </dev/null
	[ "$status" -eq 0 ]
	[[ $output == *"and off"* ]]
}

# qemu MACHINE KIND LINE: boots with a volume and a card of KIND (pci, device).
qemu() {
	in_ns timeout -s KILL 400 qemu-system-x86_64 -M "$1" -accel tcg -cpu max -m 64 -display none -nodefaults -no-user-config -no-reboot \
		-serial stdio -kernel "$KERNEL" -initrd "$WORK/image" -append "berth.plain berth.exit=0xf4 $3" \
		-device isa-debug-exit,iobase=0xf4 -drive "file=$WORK/volume,format=raw,if=none,id=v" -device "virtio-blk-$2,drive=v" \
		-pidfile "$WORK/qemu.pid" -netdev user,id=n,hostfwd=tcp:127.0.0.1:$PORT-:80 -device "virtio-net-$2,netdev=n" -device "virtio-rng-$2" </dev/null
}

KEEP='-- busybox sh -c "echo kept >>/kept; sync; cat /kept | wc -l"'
SERVE='berth.address=10.0.2.15/24 berth.gateway=10.0.2.2 -- busybox nc -ll -p 80 -e busybox echo answered'

# What the volume has after a boot of soft and one of QEMU; what an answer of its card says.
check_qemu() {
	command -v qemu-system-x86_64 >/dev/null || skip "needs qemu-system-x86_64"
	truncate -s 8M "$WORK/volume"
	mke2fs -q -F -t ext2 -b 4096 "$WORK/volume"
	run timeout -s KILL 400 "$BUILD/src/vmm/berth-vmm" --engine soft --memory 64MiB --kernel "$KERNEL" --initrd "$WORK/image" \
		--disk "$WORK/volume" --exit-port 0xf4 --exit-on-reset --append "berth.plain berth.exit=0xf4 $KEEP" </dev/null
	[[ $output == *1* ]] && [ "$status" -eq 1 ]
	e2fsck -fn "$WORK/volume"
	run qemu "$1" "$2" "$KEEP"
	[[ $output == *2* ]] && [ "$status" -eq 1 ]
	e2fsck -fn "$WORK/volume"
	qemu "$1" "$2" "$SERVE" >"$WORK/out" 2>&1 3>&- &
	local pid=$! answer=""
	local end=$((SECONDS + 120))
	while [ $SECONDS -lt $end ] && [ -z "$answer" ]; do
		answer=$(in_ns timeout 10 busybox nc 127.0.0.1 "$PORT" </dev/null 2>/dev/null) || sleep 0.2
	done
	# It has the volume locked, which the next boot would not get.
	kill "$(cat "$WORK/qemu.pid")" || true
	wait "$pid" 2>/dev/null || true
	[[ $answer == *answered* ]] || { cat "$WORK/out" && false; }
}

@test "a q35 has a volume that is kept and a card that answers, on PCI" {
	check_qemu q35 pci
}

@test "a microvm has them in windows of memory, by ACPI and by the command line" {
	check_qemu microvm device
	run qemu microvm,acpi=off device "$KEEP"
	[[ $output == *3* ]] && [ "$status" -eq 1 ]
}

# What answers at the host's end of QEMU's network, over both versions.
answer() {
	in_ns python3 - "$PORT" >/dev/null 2>&1 3>&- <<-'PY' &
		import socket, sys, threading
		def serve(family, address):
		    with socket.create_server((address, int(sys.argv[1])), family=family) as server:
		        while True:
		            peer, _ = server.accept()
		            peer.recv(1000)
		            peer.sendall(b"HTTP/1.0 200 OK\r\n\r\nover " + address.encode() + b"\n")
		            peer.close()
		threading.Thread(target=serve, args=(socket.AF_INET6, "::1")).start()
		serve(socket.AF_INET, "127.0.0.1")
	PY
	in_ns timeout 60 bash -c 'until (exec 3<>"/dev/tcp/127.0.0.1/$1") && (exec 3<>"/dev/tcp/::1/$1"); do sleep 0.1; done' - "$PORT" 2>/dev/null
}

# ask LINE: what programs of a microvm hear over its card, and how it is set
ask() {
	in_ns timeout -s KILL 400 qemu-system-x86_64 -M microvm -accel tcg -cpu max -m 64 -display none -nodefaults -no-user-config -no-reboot \
		-serial stdio -kernel "$KERNEL" -initrd "$WORK/image" -append "berth.plain berth.exit=0xf4 $1 -- busybox sh -c \"
			busybox wget -q -O - http://10.0.2.2:$PORT/
			for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do busybox wget -q -O - http://[fec0::2]:$PORT/ && break; sleep 1; done
			busybox cat /etc/resolv.conf; busybox ifconfig eth0; busybox route -n\"" \
		-device isa-debug-exit,iobase=0xf4 -netdev user,id=n -device virtio-net-device,netdev=n </dev/null | tr -d '\r'
}

@test "DHCP and router advertisements set the card's addresses, or they are given" {
	command -v qemu-system-x86_64 >/dev/null || skip "needs qemu-system-x86_64"
	grep -q "^0*1 " /proc/net/if_inet6 || skip "this host has no IPv6"
	answer
	local pid=$!
	run ask ""
	local leased=$output
	run ask "berth.address=10.0.2.77/24 berth.gateway=10.0.2.2 berth.address=fec0::77/64 berth.gateway=fec0::2 berth.dns=10.0.2.3"
	kill "$pid"
	echo "$leased" "$output"
	for said in "$leased" "$output"; do
		[[ $said == *"over 127.0.0.1"* ]] && [[ $said == *"over ::1"* ]] && [[ $said == *"nameserver 10.0.2.3"* ]]
		[[ $said == *"0.0.0.0         10.0.2.2        0.0.0.0         UG"* ]]
	done
	[[ $leased == *"inet addr:10.0.2.15 "* ]] && [[ $leased == *"inet6 addr: fec0::5054:ff:fe12:3456/64 Scope:"* ]]
	[[ $output == *"inet addr:10.0.2.77 "* ]] && [[ $output == *"inet6 addr: fec0::77/64 Scope:"* ]]
}

@test "an image on a disk, and a file on the volume that is many requests long" {
	truncate -s 32M "$WORK/large"
	mke2fs -q -F -t ext2 -b 4096 "$WORK/large"
	local vmm="timeout -s KILL 300 $BUILD/src/vmm/berth-vmm --engine soft --memory 64MiB --kernel $KERNEL --exit-on-reset"
	run $vmm --disk "$WORK/image" --disk "$WORK/large" --append 'berth.plain -- busybox sh -c "
		dd if=/dev/urandom of=/large bs=1M count=9 2>/dev/null; md5sum </large; sync"' </dev/null
	local sum=$(grep -oE '[0-9a-f]{32}' <<<"$output")
	[ -n "$sum" ]
	run $vmm --disk "$WORK/large" --disk "$WORK/image" --append 'berth.plain -- busybox md5sum /large' </dev/null
	[[ $output == *"$sum"* ]]
	[ "$(debugfs -R 'cat /large' "$WORK/large" 2>/dev/null | md5sum | cut -c 1-32)" = "$sum" ]
	e2fsck -fn "$WORK/large"
}

@test "the power button is the program's signal; words, environment and directory are those of the command line" {
	command -v qemu-system-x86_64 >/dev/null || skip "needs qemu-system-x86_64"
	rm -f "$WORK/serial"
	# The monitor's line stays open until the machine has said something, and ended.
	(for word in up told; do
		sees "$WORK/serial" $word || true
		[ $word = told ] || { echo nmi; sleep 0.5; cp "$WORK/serial" "$WORK/serial.nmi"; echo system_powerdown; }
	done; sleep 0.5; echo quit) | timeout -s KILL 300 qemu-system-x86_64 -M q35 -accel tcg -cpu max -m 64 -display none -nodefaults \
		-no-reboot -monitor stdio -serial "file:$WORK/serial" -kernel "$KERNEL" -initrd "$WORK/image" \
		-append 'berth.plain berth.stop-signal=10 berth.environment=1 berth.directory=/bin -- busybox sh -c "
			trap \"echo told \$A; pwd; exit\" USR1; echo up; while :; do :; done" "A=b  c"' >/dev/null
	! grep told "$WORK/serial.nmi" # an NMI that is not the button's
	tr -d '\r' <"$WORK/serial" | grep -x 'told b c' || { cat "$WORK/serial" && false; }
	grep /bin "$WORK/serial"
}

@test "input of the serial line is the program's" {
	: >"$WORK/out"
	(sees "$WORK/out" 'say something' && echo to be read) | timeout -s KILL 300 "$BUILD/src/vmm/berth-vmm" --engine soft --memory 32MiB \
		--kernel "$KERNEL" --initrd "$WORK/image" --exit-on-reset --append '-- busybox sh -c "echo say something; busybox head -n 1"' \
		>>"$WORK/out" 2>"$WORK/log"
	grep 'to be read' "$WORK/out"
}

@test "what it cannot run on it says" {
	local vmm="timeout -s KILL 300 $BUILD/src/vmm/berth-vmm --engine soft --kernel $KERNEL --exit-on-reset"
	run $vmm --memory 64MiB --append "" </dev/null
	[[ $output == *"the machine has no image"* ]]
	run $vmm --memory 64MiB --initrd "$WORK/image" --append "berth.nothing" </dev/null
	[[ $output == *"its command line takes"* ]]
	run $vmm --memory 10MiB --initrd "$WORK/image" --append "" </dev/null
	[[ $output == *"less than 4 MiB"* ]]
	run $vmm --memory 64MiB --initrd "$WORK/image" --append "berth.address=10.0.0.300/24" </dev/null
	[[ $output == *"berth.address is not ADDRESS/PREFIX"* ]]
	head -c 8192 /dev/urandom >"$WORK/broken"
	run $vmm --memory 64MiB --initrd "$WORK/broken" --append "" </dev/null
	[[ $output == *"no uncompressed erofs image"* ]]
}
