#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What tests/host/run runs inside: berth on pure cgroup v2 and project quotas. Prints TAP.
export PATH=/berth:/bin:/sbin LC_ALL=C HOME=/root
exec 3>&1
number=0 failed=0
DIR=/var/lib/berth

ok() {
	number=$((number + 1))
	if [ "$1" = 0 ]; then
		echo "ok $number $2"
	else
		echo "not ok $number $2"
		failed=$((failed + 1))
	fi
}
# check SENTENCE COMMAND...
check() {
	local sentence=$1 output
	shift
	output=$("$@" 2>&1)
	local code=$?
	ok $code "$sentence"
	[ $code = 0 ] || sed 's/^/# /' <<<"$output"
}
api() {
	curl -sS -g --max-time 200 --unix-socket $DIR/unix.socket -X "$1" ${3:+-H 'Content-Type: application/json' -d "$3"} "http://b$2"
}
wait_for() {
	local answer operation
	answer=$(api "$@")
	operation=$(jq -r '.operation // ""' <<<"$answer")
	[ -n "$operation" ] || { echo "$answer"; [ "$(jq -r .type <<<"$answer")" = sync ]; return; }
	[ "$(jq -r .metadata.status_code <<<"$answer")" != 200 ] || return 0
	while answer=$(api GET "$operation/wait?timeout=40") && [ "$(jq -r .metadata.status_code <<<"$answer")" = 103 ]; do :; done
	echo "$answer"
	# So slow a CPU may ask when it is over and forgotten; what comes next tells whether it was done.
	[ "$(jq -r .error_code <<<"$answer")" != 404 ] || return 0
	[ "$(jq -r .metadata.status_code <<<"$answer")" = 200 ]
}
run_in() { local name=$1; shift; BERTH_DIR=$DIR berth exec "$name" -- "$@"; }
group() { echo "/sys/fs/cgroup/berth-$ID/default_$1"; }
group_has() { local got; got=$(cat "$(group "$1")/$2") || return 1; [ "$got" = "$3" ] || { echo "$2 is $got"; return 1; }; }
rest() { echo "# $(cut -d' ' -f1 /proc/uptime) s"; }

is_pure_v2() { grep -q '^0::' /proc/self/cgroup && [ "$(wc -l </proc/self/cgroup)" = 1 ] && ! grep -q ' cgroup ' /proc/mounts; }
check "this kernel ($(uname -r)) has cgroup v2 and nothing else" is_pure_v2
rest
for program in /berth/tests/*; do
	check "${program##*/}" "$program"
	"$program" 2>/dev/null | grep -i '# skip' | sed 's/^/# /'
done
rest

mkdir -p $DIR
mkfifo /run/ready
berthd --dir $DIR --ready-fd 9 9>/run/ready >/run/berthd.log 2>&1 &
daemon=$!
read -r -t 50 word </run/ready
[ "$word" = ready ]
ok $? "berthd starts" 
[ "$word" = ready ] || { cat /run/berthd.log; echo "1..$number"; exit 1; }
ID=$(sed -n 's/.* ready .*id=\([0-9a-f]*\).*/\1/p' /run/berthd.log)
rest
storage() { wait_for POST /1.0/storage-pools '{"name":"quota","driver":"dir"}'; }
check "a dir pool on ext4 with project quotas is made" storage
import() { BERTH_DIR=$DIR berth image import /berth/image.tar --alias box; }
check "an image is imported" import
rest
launch() {
	wait_for POST /1.0/instances '{"name":"c1","start":true,"source":{"type":"image","alias":"box"},"profiles":[],
		"config":{"limits.cpu":"1","limits.memory":"64MiB","limits.processes":"40","limits.cpu.allowance":"20ms/100ms"},
		"devices":{"root":{"type":"disk","path":"/","pool":"quota","size":"20MiB"}}}'
}
check "a container with all its limits starts" launch
rest
check "memory.max holds what was asked for" group_has c1 memory.max 67108864
check "pids.max does" group_has c1 pids.max 40
check "cpu.max does" group_has c1 cpu.max "20000 100000"
check "cpuset.cpus does" group_has c1 cpuset.cpus 0
hello() { [ "$(run_in c1 echo hello)" = hello ]; }
check "exec" hello
inside_v2() { run_in c1 sh -c 'cat /proc/self/cgroup' | grep -q '^0::/'; }
check "the container sees a cgroup of its own" inside_v2
unprivileged() { run_in c1 cat /proc/self/uid_map | awk '{ exit !($2 > 0) }'; }
check "its root is nobody of the host's" unprivileged
full() {
	run_in c1 dd if=/dev/zero of=/root/big bs=1M count=40 && return 1
	local size
	size=$(run_in c1 stat -c %s /root/big)
	[ "$size" -le 20971520 ] && [ "$size" -ge 10485760 ] || { echo "it holds $size bytes"; return 1; }
	run_in c1 rm /root/big
}
check "the root is full at 20 MiB: the project quota holds" full
grown() {
	wait_for PATCH /1.0/instances/c1 '{"devices":{"root":{"type":"disk","path":"/","pool":"quota","size":"40MiB"}}}' &&
		run_in c1 dd if=/dev/zero of=/root/big bs=1M count=25 && run_in c1 rm /root/big
}
check "and grows while it runs" grown
limits() {
	wait_for PATCH /1.0/instances/c1 '{"config":{"limits.memory":"96MiB","limits.processes":"50"}}' &&
		group_has c1 memory.max 100663296 && group_has c1 pids.max 50
}
check "limits change while it runs" limits
forks() {
	run_in c1 sh -c 'for i in $(seq 80); do sleep 10 & done; wait' 2>&1 | grep -qi "can't fork\|unavailable" || return 1
	# They end by themselves; until then nobody gets in.
	local i
	for i in $(seq 30); do
		run_in c1 true 2>/dev/null && return 0
		sleep 1
	done
	return 1
}
check "no more than its processes" forks
freeze() {
	wait_for PUT /1.0/instances/c1/state '{"action":"freeze"}' && group_has c1 cgroup.freeze 1 &&
		wait_for PUT /1.0/instances/c1/state '{"action":"unfreeze"}' && group_has c1 cgroup.freeze 0
}
check "it is frozen and goes on" freeze
state() {
	api GET /1.0/instances/c1/state | jq -e '.metadata | .memory.usage > 0 and .cpu.usage > 0 and .processes > 0'
}
check "its state says what it uses" state
oom() {
	run_in c1 dd if=/dev/zero of=/dev/null bs=120M count=1
	local i
	for i in 1 2 3 4 5 6 7 8 9 10; do
		api GET '/1.0/warnings?recursion=1' | jq -e '.metadata[] | select(.type == "Instance out of memory")' && return 0
		sleep 0.5
	done
	return 1
}
check "who takes too much memory is killed, and that is told" oom
rest
rates() {
	wait_for PATCH /1.0/instances/c1 '{"devices":{"root":{"type":"disk","path":"/","pool":"quota","size":"40MiB","limits.write":"10MiB"}}}' &&
		grep -q 'wbps=10485760' "$(group c1)/io.max"
}
check "io.max holds the disk's rate" rates
plug() {
	mkdir -p /srv/share && echo shared >/srv/share/f &&
		wait_for PATCH /1.0/instances/c1 '{"devices":{"root":{"type":"disk","path":"/","pool":"quota","size":"40MiB"},
			"s":{"type":"disk","source":"/srv/share","path":"/mnt/s"},
			"t":{"type":"disk","source":"tmpfs:","path":"/scratch","size":"1MiB"}}}' &&
		[ "$(run_in c1 cat /mnt/s/f)" = shared ]
}
check "disks are plugged into the running container" plug
killed() {
	kill -KILL $daemon
	wait $daemon 2>/dev/null
	berthd --dir $DIR --ready-fd 9 9>/run/ready >>/run/berthd.log 2>&1 &
	daemon=$!
	read -r -t 50 word </run/ready
	[ "$(run_in c1 echo again)" = again ]
}
killed
ok $? "a killed daemon finds it again"
rest
privileged() {
	wait_for POST /1.0/instances '{"name":"p1","start":true,"source":{"type":"image","alias":"box"},"profiles":[],
		"config":{"security.privileged":"true"},
		"devices":{"root":{"type":"disk","path":"/","pool":"quota"},"f":{"type":"unix-char","source":"/dev/kmsg","mode":"0600"}}}'
}
check "a privileged container starts with a device" privileged
filtered() {
	run_in p1 dd if=/dev/null of=/dev/kmsg bs=1 count=0 || { echo "its own device is refused"; return 1; }
	cp /bin/busybox /srv/share/mknod
	run_in p1 cat /dev/null
	! run_in p1 sh -c 'busybox mknod /tmp/vda b 254 0 && dd if=/tmp/vda of=/dev/null bs=512 count=1'
}
check "it opens its own device and no other: the eBPF filter" filtered
copy() { wait_for POST /1.0/instances '{"name":"c2","source":{"type":"copy","source":"c1"}}'; }
check "it is copied while it runs" copy
snapshot() {
	wait_for POST /1.0/instances/c1/snapshots '{"name":"s0"}' && run_in c1 sh -c 'echo new >/root/new' &&
		wait_for PUT /1.0/instances/c1/state '{"action":"stop","force":true}' &&
		wait_for PUT /1.0/instances/c1 '{"restore":"s0"}' && wait_for PUT /1.0/instances/c1/state '{"action":"start"}' &&
		! run_in c1 cat /root/new
}
check "a snapshot is taken and restored" snapshot
rest
loop_pool() {
	wait_for POST /1.0/storage-pools '{"name":"image","driver":"loop"}' &&
		wait_for POST /1.0/instances '{"name":"l1","start":true,"source":{"type":"image","alias":"box"},"profiles":[],
			"devices":{"root":{"type":"disk","path":"/","pool":"image","size":"20MiB"}}}' &&
		! run_in l1 dd if=/dev/zero of=/root/big bs=1M count=40
}
check "so it is in a pool of images" loop_pool
gone() {
	local name
	for name in c1 c2 p1 l1; do
		echo "# $name goes" >&3
		wait_for PUT /1.0/instances/$name/state '{"action":"stop","force":true}' >/dev/null
		wait_for DELETE /1.0/instances/$name || return 1
	done
	[ -z "$(find /sys/fs/cgroup -type d -path '*default_*' | head -n 1)" ] && [ -z "$(losetup -a)" ] && ! grep -q default_c1 /proc/mounts
}
check "nothing is left of them" gone
kill $daemon
wait $daemon
ok $? "berthd ends"
rest
[ $failed = 0 ] || { echo "# the daemon's log:"; tail -n 20 /run/berthd.log | sed 's/^/# /'; }
echo "1..$number"
exit $((failed > 0))
