#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Programs beside a running unikernel, and its files.

load common
load image

setup_file() {
	berthd_start || return 1
	busybox_image "$BERTH_BASE/image.tar"
	lxc image import "$BERTH_BASE/image.tar" --alias box
	api POST /1.0/profiles '{"name":"plain","config":{"limits.memory":"32MiB"},
		"devices":{"root":{"type":"disk","path":"/","pool":"default","size":"32MiB"}}}'
	# At each line it writes it into a file.
	api_wait POST /1.0/instances '{"name": "x1", "type": "unikernel", "profiles": ["plain"], "start": true,
		"source": {"type": "image", "alias": "box"}, "config": {"environment.COLOUR": "blue",
		"oci.entrypoint": "sh -c \"mkdir /data; echo first > /data/a; rm /etc/group; echo ready; cat > /data/b\""}}'
	eventually 60 sh -c 'lxc console x1 --show-log | grep -q ready'
}
teardown_file() { berthd_stop; }

@test "a program of the image runs beside the first one: its words, input, output, errors and status come through" {
	[ "$(lxc exec x1 -- echo a "b  c")" = "a b  c" ]
	[ "$(lxc exec x1 -- /bin/busybox sha256sum /bin/busybox)" = "$(sha256sum <"$(command -v busybox)" | sed 's|-|/bin/busybox|')" ]
	[ "$(echo through | lxc exec x1 -- cat)" = through ]
	[ "$(lxc exec x1 -- sh -c 'echo out; echo wrong >&2; exit 3' 2>/dev/null || echo "$?")" = "$(printf 'out\n3')" ]
	[ "$(lxc exec x1 -- sh -c 'echo wrong >&2' 2>&1 >/dev/null)" = wrong ]
	[ "$(lxc exec x1 --env SHAPE=round --cwd /etc -- sh -c 'echo $COLOUR $SHAPE; pwd')" = "$(printf 'blue round\n/etc')" ]
	run lxc exec x1 -- sh -c 'kill -9 $$'
	[ "$status" = 137 ]
	[ "$(lxc list x1 -f csv -c s)" = RUNNING ]
}

@test "what is not there or no program is told as such, and another user is refused" {
	lxc exec x1 -- none || [ "$?" = 127 ]
	lxc exec x1 -- /etc/passwd || [ "$?" = 126 ]
	! lxc exec x1 -- none 2>/dev/null
	run lxc exec x1 --user 1000 -- id
	[[ $status -ne 0 && $output == *"a unikernel has one user"* ]]
	run lxc exec x1 --cwd /none -- pwd
	[[ $status -ne 0 ]]
}

@test "it sees the storage of the first one as that writes it, and what it writes is gone with it" {
	[ "$(lxc exec x1 -- cat /data/a)" = first ]
	run lxc exec x1 -- cat /etc/group
	[ "$status" -ne 0 ]
	[ "$(lxc exec x1 -- sh -c 'echo mine > /data/a; cat /data/a; echo new > /n; cat /n')" = "$(printf 'mine\nnew')" ]
	[ "$(lxc exec x1 -- cat /data/a)" = first ]
	run lxc exec x1 -- cat /n
	[ "$status" -ne 0 ]
}

@test "it is locked as the first one is, in its groups and with its user" {
	lxc exec x1 -- sh -c 'echo beside; sleep 300' >"$BERTH_BASE/beside" 3>&- &
	eventually 60 grep -q beside "$BERTH_BASE/beside"
	first=$(api GET /1.0/instances/x1/state | json .metadata.pid)
	# The same user may be another daemon's instance, too.
	for pid in $(pgrep -u "$(awk '/^Uid/ {print $2}' "/proc/$first/status")"); do
		[ "$pid" != "$first" ] && grep -qF "berth-$BERTH_ID/default_x1" "/proc/$pid/cgroup" || continue
		grep -x 'Seccomp:.2' "/proc/$pid/status"
		grep -E '^(CapEff|CapPrm|CapInh):.0+$' "/proc/$pid/status" | wc -l | grep -x 3
		[ "$(awk '/^Uid/ {print $2}' "/proc/$pid/status")" = "$(awk '/^Uid/ {print $2}' "/proc/$first/status")" ]
		[ "$(readlink "/proc/$pid/ns/net")" != "$(readlink /proc/self/ns/net)" ]
		[ "$(cat "/proc/$pid/oom_score_adj")" = 1000 ]
		[ "$(cat "/proc/$pid/cgroup")" = "$(cat "/proc/$first/cgroup")" ]
		found=yes
	done
	[ "$found" = yes ]
	lxc stop -f x1
	wait
}

@test "its files are read while it runs, and changed while it does not" {
	lxc start x1
	eventually 60 sh -c 'lxc console x1 --show-log | grep -q ready'
	[ "$(lxc file pull x1/data/a -)" = first ]
	lxc file pull x1/bin/busybox "$BERTH_BASE/busybox"
	cmp "$BERTH_BASE/busybox" "$(command -v busybox)"
	[ "$(api GET "/1.0/instances/x1/files?path=/data" | json '.metadata | sort | join(" ")')" = "a b" ]
	run lxc file pull x1/etc/group -
	[ "$status" -ne 0 ]
	echo pushed >"$BERTH_BASE/pushed"
	run lxc file push "$BERTH_BASE/pushed" x1/data/c
	[[ $status -ne 0 && $output == *"stop it to change its files"* ]]
	lxc stop -f x1
	lxc file push --mode 600 --uid 5 "$BERTH_BASE/pushed" x1/data/c
	lxc file push -p "$BERTH_BASE/pushed" x1/new/place/d
	lxc file delete x1/data/b
	[ "$(lxc file pull x1/data/c -)" = pushed ]
	[ "$(lxc file pull x1/new/place/d -)" = pushed ]
	run lxc file pull x1/data/b -
	[ "$status" -ne 0 ]
	lxc config set x1 oci.entrypoint "sh -c 'stat -c \"%a %u\" /data/c; cat /new/place/d; ls /data; df -k / | tail -n 1'"
	lxc start x1
	eventually 60 sh -c '[ "$(lxc list x1 -f csv -c s)" = STOPPED ]'
	tr -d '\r' <"$BERTH_DIR/instances/default/x1/console.log" >"$BERTH_BASE/out"
	grep -x '600 5' "$BERTH_BASE/out"
	grep -x pushed "$BERTH_BASE/out"
	! grep -x b "$BERTH_BASE/out" || { cat "$BERTH_BASE/out" && false; }
	# What never started has a file system, too.
	api_wait POST /1.0/instances '{"name": "x2", "type": "unikernel",
		"profiles": ["plain"], "source": {"type": "image", "alias": "box"}, "config": {"oci.entrypoint": "cat /e"}}'
	lxc file push "$BERTH_BASE/pushed" x2/e
	lxc start x2
	eventually 60 sh -c 'lxc console x2 --show-log | grep -q pushed'
	lxc delete -f x1 x2
}

@test "its limits change while it runs; what it cannot have is refused with a sentence" {
	api_wait POST /1.0/networks '{"name":"xnet","config":{"ipv4.address":"10.79.8.1/24","ipv6.address":"none"}}'
	api_wait POST /1.0/instances '{"name": "x3", "type": "unikernel", "profiles": ["plain"], "start": true,
		"devices": {"eth0": {"type": "nic", "network": "xnet"}},
		"source": {"type": "image", "alias": "box"}, "config": {"oci.entrypoint": "cat"}}'
	pid=$(api GET /1.0/instances/x3/state | json .metadata.pid)
	# group CONTROLLER: its directory, of cgroup v1 or v2.
	group() {
		local path
		path=$(sed -n "s/^[0-9]*:$1:\(.*\)/\1/p" "/proc/$pid/cgroup")
		[ -n "$path" ] && echo "/sys/fs/cgroup/$1$path" || echo "/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$pid/cgroup")"
	}
	held() { cat "$(group memory)"/memory.limit_in_bytes "$(group memory)"/memory.max 2>/dev/null; }
	[ "$(held)" = $((48 * 1024 * 1024)) ]
	lxc config set x3 limits.memory 24MiB
	[ "$(held)" = $((40 * 1024 * 1024)) ]
	lxc config set x3 limits.memory 32MiB
	run lxc config set x3 limits.memory 64MiB
	[[ $status -ne 0 && $output == *"stop it for more"* ]]
	lxc config set x3 limits.cpu.allowance 20ms/100ms
	cat "$(group cpu)"/cpu.cfs_quota_us "$(group cpu)"/cpu.max 2>/dev/null | grep '^20000'
	lxc config device set x3 eth0 limits.ingress=10Mbit limits.egress=20Mbit
	in_net tc -s qdisc show | grep -iE 'rate 10Mbit'
	run lxc config device remove x3 eth0
	[[ $status -ne 0 && $output == *"stopped"* ]]
	[ "$(lxc list x3 -f csv -c s)" = RUNNING ]
	lxc delete -f x3
}
