#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The monitor by hand: Debian's stock cloud kernel under the software CPU, up to the agent and through it.

bats_require_minimum_version 1.5.0
TOP=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
BUILD=${BERTH_BUILD:-$TOP/build}
case $BUILD in /*) ;; *) BUILD=$TOP/$BUILD ;; esac
VMM=$BUILD/src/vmm/berth-vmm
export LC_ALL=C.UTF-8
source "$TOP/tests/integration/wait.bash"

agent() { timeout 300 python3 "$TOP/tests/integration/agent.py" "$BASE/vsock" "$@"; }
in_net() { nsenter --net="/run/netns/$NETNS" "$@"; }

# vm_start OPTION...: starts the machine and waits for the agent's line on its console.
vm_start() {
	nsenter --net="/run/netns/$NETNS" "$VMM" --engine "${ENGINE:-soft}" --kernel "$KERNEL"/boot/vmlinuz-* --initrd "$BASE/initrd" \
		--cache "$HOME/.cache/berth/unpacked" --append "console=ttyS0 panic=-1 quiet" --exit-on-reset \
		--vsock "3,$BASE" --balloon --uid 65534 "$@" </dev/null >"$BASE/console" 2>"$BASE/log" 3>&- &
	echo $! >"$BASE/pid"
	# The reader ends with the machine, or with the line.
	timeout 300 tail -n +1 -f --pid="$(cat "$BASE/pid")" "$BASE/console" 2>/dev/null 3>&- |
		grep -m 1 -q 'the guest is up' || {
		cat "$BASE/console" "$BASE/log"
		return 1
	}
}

vm_wait() { timeout 100 tail --pid="$(cat "$BASE/pid")" -f /dev/null; }

setup_file() {
	BASE=$(mktemp -d /tmp/berth-vmm.XXXXXX)
	NETNS=$(basename "$BASE")
	KERNEL=$("$TOP/tests/images/kernel")
	export BASE NETNS KERNEL
	"$TOP/tests/images/initramfs" "$KERNEL" "$BUILD/src/agent/berth-agent" "$BASE/initrd"
	truncate -s 64M "$BASE/disk" "$BASE/slow-bytes" "$BASE/slow-operations"
	# A volume of 24 MiB with a disk of 64 MiB in it; what is not flushed stays in its own page cache.
	truncate -s 24M "$BASE/volume"
	mkfs.ext4 -q -m 0 -O ^has_journal "$BASE/volume"
	mkdir "$BASE/mounted"
	mount -o loop,noatime "$BASE/volume" "$BASE/mounted"
	truncate -s 64M "$BASE/mounted/disk"
	fallocate -l 8M "$BASE/mounted/filler"
	ip netns add "$NETNS"
	in_net ip link set lo up
	in_net ip tuntap add dev vt0 mode tap vnet_hdr multi_queue
	in_net ip addr add 10.9.8.1/24 dev vt0
	in_net ip link set vt0 up
	vm_start --memory 512MiB --cpus 2 --disk "$BASE/disk,id=one" --disk "$BASE/mounted/disk,id=full" \
		--disk "$BASE/slow-bytes,bps=8MiB" --disk "$BASE/slow-operations,iops=100" --tap vt0,mac=02:00:00:00:00:05,queues=2
}

teardown_file() {
	[ ! -f "$BASE/pid" ] || kill -KILL "$(cat "$BASE/pid")" 2>/dev/null || true
	[ ! -f "$BASE/pid" ] || vm_wait || true
	[ ! -f "$BASE/http" ] || kill "$(cat "$BASE/http")" 2>/dev/null || true
	ip netns del "$NETNS"
	umount "$BASE/mounted"
	rm -rf "$BASE"
}

@test "Debian's cloud kernel boots to the agent under soft with two CPUs, in at most 40 CPU seconds" {
	grep 'engine=soft' "$BASE/log"
	[[ $(agent hello) == "berth-agent 1 on Linux 6."* ]]
	[ "$(agent exec busybox nproc </dev/null)" = 2 ]
	set -- $(cat "/proc/$(cat "$BASE/pid")/stat")
	seconds=$(((${14} + ${15}) / $(getconf CLK_TCK)))
	echo "CPU seconds: $seconds"
	[ "$seconds" -le 40 ]
}

@test "the monitor has no rights left: own user, no capability, seccomp, an empty network and root" {
	pid=$(cat "$BASE/pid")
	[ "$(awk '/^Uid:/ {print $2}' "/proc/$pid/status")" = 65534 ]
	[ "$(awk '/^CapEff:/ {print $2}' "/proc/$pid/status")" = 0000000000000000 ]
	for task in /proc/"$pid"/task/*; do
		case $(cat "$task/comm") in iou-*) continue ;; esac
		[ "$(awk '/^Seccomp:/ {print $2}' "$task/status")" = 2 ]
	done
	grep -x $'NoNewPrivs:\t1' "/proc/$pid/status"
	for namespace in net mnt ipc uts; do
		[ "$(readlink "/proc/$pid/ns/$namespace")" != "$(in_net readlink "/proc/self/ns/$namespace")" ]
	done
	[ -z "$(ls "/proc/$pid/root/")" ]
	# The processes in which guests' programs run have even less: the guest's memory, and one page of the monitor's.
	for child in $(cat "/proc/$pid"/task/*/children); do
		[ "$(awk '/^Uid:/ {print $2}' "/proc/$child/status")" = 65534 ]
		grep -x $'CapEff:\t0000000000000000' "/proc/$child/status"
		grep -x $'Seccomp:\t2' "/proc/$child/status"
		[ "$(ls "/proc/$child/fd" | wc -l)" = 2 ]
		! grep -v -E 'memfd:(guest|direct)|vsyscall' "/proc/$child/maps"
		[ "$(stat -c %u "/proc/$child/mem")" = 0 ]
	done
}

@test "disks and cards have a queue for each CPU, and both CPUs use theirs" {
	[ "$(agent exec sh -c 'echo $(ls /sys/block/vda/mq)' </dev/null)" = "0 1" ]
	[ "$(agent exec sh -c 'echo $(ls /sys/class/net/eth0/queues)' </dev/null)" = "rx-0 rx-1 tx-0 tx-1" ]
	for cpu in 1 2; do
		agent exec busybox taskset "$cpu" busybox dd if=/dev/vda of=/dev/null bs=4k count=64 iflag=direct </dev/null
	done
	agent exec cat /proc/interrupts </dev/null >"$BASE/interrupts"
	awk '/-req\.[01]$/ && $2 + $3 >= 64 {n++} END {exit n < 2}' "$BASE/interrupts"
}

@test "exec passes output, input and the status on; a terminal is one" {
	[ "$(agent exec echo 'a  b' </dev/null)" = 'a  b' ]
	[ "$(echo hello | agent exec cat)" = hello ]
	run agent exec sh -c 'echo out; echo err >&2; exit 7' </dev/null
	[ "$status" -eq 7 ]
	run agent exec /no/such/program </dev/null
	[[ $output == *"No such file"* ]]
	agent exec -t sh -c 'test -t 0 && test -t 1' </dev/null
}

@test "files go in and come out whole" {
	head -c 3000000 /dev/urandom >"$BASE/file"
	agent put /tmp/file <"$BASE/file"
	agent get /tmp/file | cmp - "$BASE/file"
	run agent get /no/such/file
	[[ $output == *"No such file"* ]]
}

@test "what the guest writes to its disk is in the file, and reads back" {
	head -c 8000000 /dev/urandom >"$BASE/random"
	agent put /tmp/random <"$BASE/random"
	agent exec busybox dd if=/tmp/random of=/dev/vda bs=64k conv=fsync </dev/null
	cmp -n 8000000 "$BASE/random" "$BASE/disk"
	agent exec sh -c 'echo 3 >/proc/sys/vm/drop_caches' </dev/null
	agent exec busybox head -c 8000000 /dev/vda </dev/null | cmp - "$BASE/random"
	[ "$(agent exec cat /sys/block/vda/serial </dev/null)" = one ]
}

# in_volume: whether the bytes of $BASE/mark are in the volume itself, below its file system's page cache.
in_volume() {
	python3 -c 'import sys; sys.exit(open(sys.argv[1], "rb").read() not in open(sys.argv[2], "rb").read())' \
		"$BASE/mark" "$BASE/volume"
}

@test "a flush of the guest is on the host's medium when it is done" {
	# Until the host has not written it by itself, which would prove nothing.
	for _ in 1 2 3 4 5; do
		head -c 65536 /dev/urandom >"$BASE/mark"
		agent put /tmp/mark <"$BASE/mark"
		agent exec busybox dd if=/tmp/mark of=/dev/vdb bs=64k oflag=direct conv=notrunc </dev/null
		cmp -n 65536 "$BASE/mark" "$BASE/mounted/disk"
		run in_volume
		[ "$status" -eq 0 ] || break
	done
	[ "$status" -eq 1 ]
	agent exec busybox dd if=/dev/zero of=/dev/vdb bs=4k count=0 conv=notrunc,fsync </dev/null
	in_volume
}

@test "a full volume pauses the guest with a warning, and it goes on when there is room, nothing lost" {
	head -c 20000000 /dev/urandom >"$BASE/much"
	agent put /tmp/much <"$BASE/much"
	agent exec busybox dd if=/tmp/much of=/dev/vdb bs=64k oflag=direct </dev/null >"$BASE/dd" 2>&1 3>&- &
	writer=$!
	eventually 20 grep -q 'waits for room' "$BASE/log"
	# It stands still: no CPU time but the retries'.
	used() { set -- $(cat "/proc/$(cat "$BASE/pid")/stat"); echo $((${14} + ${15})); }
	stands_still() {
		local before
		before=$(used)
		sleep 1
		[ $(($(used) - before)) -le 20 ]
	}
	eventually 10 stands_still
	kill -0 $writer
	rm "$BASE/mounted/filler"
	timeout 100 tail --pid=$writer -s 0.1 -f /dev/null
	wait $writer
	grep 'machine goes on' "$BASE/log"
	agent exec busybox head -c 20000000 /dev/vdb </dev/null | cmp - "$BASE/much"
}

# milliseconds COMMAND...: how long it takes.
milliseconds() {
	local start=${EPOCHREALTIME/./}
	"$@" >&2 || return
	echo $(((${EPOCHREALTIME/./} - start) / 1000))
}

@test "a limit of bytes or operations a second on a disk is held, and not by much too far" {
	# Never faster; slower only by what other processes of the host take away.
	takes() {
		local took
		took=$(milliseconds agent exec busybox dd "$@" of=/dev/null iflag=direct </dev/null)
		echo "$*: $took ms"
		[ "$took" -ge 1800 ] || touch "$BASE/too-fast"
		[ "$took" -le 6000 ]
	}
	once_of 5 takes if=/dev/vdc bs=1M count=16
	once_of 5 takes if=/dev/vdd bs=4k count=200
	[ ! -e "$BASE/too-fast" ]
}

@test "the network carries files whole in both directions" {
	agent configure <<-CONFIG
		hostname boxy
		address 02:00:00:00:00:05 10.9.8.2/24
		gateway 02:00:00:00:00:05 10.9.8.1
		nameserver 10.9.8.1
	CONFIG
	[ "$(agent exec cat /proc/sys/kernel/hostname </dev/null)" = boxy ]
	in_net ping -c 3 -i 0.2 -W 2 10.9.8.2
	head -c 20000000 /dev/urandom >"$BASE/served"
	(cd "$BASE" && exec nsenter --net="/run/netns/$NETNS" python3 -m http.server 8000 >/dev/null 2>&1 3>&-) &
	echo $! >"$BASE/http"
	eventually 10 eval 'in_net ss -ltn | grep -q :8000'
	sum=$(agent exec sh -c 'busybox wget -q -O - http://10.9.8.1:8000/served | busybox md5sum' </dev/null)
	[ "$sum" = "$(md5sum <"$BASE/served")" ]
	agent exec busybox wget -q -O /tmp/served http://10.9.8.1:8000/served </dev/null
	agent exec busybox httpd -p 80 -h /tmp </dev/null
	[ "$(in_net curl -s http://10.9.8.2/served | md5sum)" = "$sum" ]
}

@test "memory that the guest frees goes back to the host" {
	rss() { awk '/^RssShmem:/ {print $2}' "/proc/$(cat "$BASE/pid")/status"; }
	is_back() {
		agent exec busybox dd if=/dev/zero of=/tmp/hog bs=1M count=120 </dev/null
		full=$(rss)
		agent exec busybox rm /tmp/hog </dev/null
		start=${EPOCHREALTIME/./}
		eventually 15 eval '[ "$(rss)" -lt $((full - 90000)) ]' || touch "$BASE/kept"
		# Hints take less than a second of a quiet host; reports, which stay, two.
		took=$(((${EPOCHREALTIME/./} - start) / 1000))
		echo "ms: $took"
		[ "$took" -le 5000 ]
	}
	once_of 4 is_back
	[ ! -e "$BASE/kept" ]
}

@test "a program that computes, and is disturbed, sees what it sees on the host" {
	program=$BUILD/tests/integration/guest-direct
	timeout 120 "$program" >"$BASE/native"
	agent put /tmp/direct <"$program"
	agent exec busybox chmod 755 /tmp/direct </dev/null
	timeout 300 python3 "$TOP/tests/integration/agent.py" "$BASE/vsock" exec /tmp/direct </dev/null >"$BASE/in-the-guest"
	diff "$BASE/native" "$BASE/in-the-guest"
	"$VMM" --explain-direct || skip "all was right; nothing runs directly here"
	children=$(cat "/proc/$(cat "$BASE/pid")"/task/*/children)
	[ -n "$children" ] || skip "all was right; this engine runs nothing directly"
	for child in $children; do cat "/proc/$child/stat"; done >"$BASE/children"
	[ "$(awk '{ticks += $14 + $15} END {print ticks}' "$BASE/children")" -ge 20 ]
	touch "$BASE/ran-directly"
}

@test "the agent turns the machine off, status 0" {
	agent shutdown
	vm_wait
	grep 'reason=off status=0' "$BASE/log"
	[ ! -e "$BASE/ran-directly" ] ||
		grep -E 'programs ran directly entries=[1-9][0-9]* .* ms=[1-9][0-9]* stops=[1-9][0-9]* .* calls=[1-9]' "$BASE/log"
	[ "$(stat -c %s "$BASE/disk")" = 67108864 ]
}

@test "a file that is cut off, corrupt or no kernel is one line that names it, and status 1" {
	head -c 100000 "$KERNEL"/boot/vmlinuz-* >"$BASE/short"
	(head -c 5000000 "$KERNEL"/boot/vmlinuz-* && head -c 12000000 /dev/zero) >"$BASE/corrupt"
	: >"$BASE/empty"
	for file in short corrupt empty; do
		run --separate-stderr "$VMM" --engine soft --kernel "$BASE/$file" </dev/null
		[ "$status" -eq 1 ]
		[ "$(grep -c . <<<"$stderr")" -le 2 ]
		grep -q "^berth-vmm: $BASE/$file: " <<<"$stderr"
	done
	run "$VMM" --engine soft --kernel "$KERNEL"/boot/vmlinuz-* --memory 16MiB </dev/null
	[ "$status" -eq 1 ]
	[[ $output == *"fit into the guest's memory"* ]]
	run "$VMM" --engine soft --kernel "$KERNEL"/boot/vmlinuz-* --initrd "$KERNEL/boot/System.map-$(basename "$KERNEL"/lib/modules/*)" \
		--memory 64MiB --disk "$BASE/short" </dev/null
	[ "$status" -eq 1 ]
	[[ $output == *"$BASE/short: 100000 bytes is not a whole number"* ]]
}

@test "an option that cannot be is named, with what it takes" {
	run "$VMM" --kernel x --cpus 65
	[[ $status -eq 1 && $output == "berth-vmm: --cpus: it is no N: virtual CPUs, at most 64 (1)" ]]
	run "$VMM" --kernel x --nothing
	[[ $status -eq 1 && $output == "berth-vmm: --nothing: no such option (--help lists them)" ]]
}

@test "what lock-step prints of a difference is disassembled" {
	printf '%s\n' 'lock-step: rip differs in the block at ffffffff81000000 after 7 blocks' \
		'  ffffffff81000000: 48 89 c8' 'host: 4c 8d 74 24 08 c3' 'cold: 90' >"$BASE/difference"
	"$TOP/tools/disassemble" <"$BASE/difference" >"$BASE/disassembled"
	head -n 1 "$BASE/difference" | cmp - <(head -n 1 "$BASE/disassembled")
	grep -Ex '  ffffffff81000000: 48 89 c8 +mov +rax,rcx' "$BASE/disassembled"
	grep -A 1 -x 'host:' "$BASE/disassembled" | grep -x ' *0: lea    r14,\[rsp+0x8\]'
	grep -A 1 -x 'cold:' "$BASE/disassembled" | grep -x ' *0: nop'
}
