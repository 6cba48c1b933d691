#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The verbs that every kind has, the same words for each (kinds.bash).

bats_require_minimum_version 1.5.0
load common
load image
load kinds

setup_file() {
	berthd_start || return 1
	kind_server
	kind_image
	api_wait POST /1.0/networks '{"name":"knet","config":{"ipv4.address":"10.79.8.1/24","ipv6.address":"none"}}'
	kind_launch a
}
teardown_file() { berthd_stop; }

@test "it runs as what was asked for, and the stock client sees it so" {
	[ "$(lxc list -f csv -c nst | tr a-z A-Z)" = "A,RUNNING,$(kind | tr a-z A-Z)" ]
}

@test "exec passes input, output, errors, environment and status" {
	[ "$(echo hello | lxc exec a -- cat)" = hello ]
	[ "$(lxc exec a --env WORD=x -- sh -c 'echo $WORD')" = x ]
	[ "$(lxc exec a -- sh -c 'echo bad >&2' 2>&1 >/dev/null)" = bad ]
	run lxc exec a -- sh -c 'exit 7'
	[ "$status" = 7 ]
	run -127 lxc exec a -- /no/such/program
}

@test "files go in, come out, are listed and removed" {
	head -c 300000 /dev/urandom >"$BERTH_BASE/file"
	lxc file push --mode 0640 "$BERTH_BASE/file" a/root/file
	lxc file pull a/root/file - | cmp - "$BERTH_BASE/file"
	[ "$(lxc exec a -- stat -c '%a %u' /root/file)" = "640 0" ]
	lxc file push -p "$BERTH_BASE/file" a/root/deep/down/file
	lxc file delete a/root/deep/down/file
	run lxc file pull a/root/deep/down/file -
	[ "$status" -ne 0 ]
}

@test "the four resources are held, measured from inside" {
	lxc file push "$BERTH_BUILD/src/measure/berth-measure" a/bin/measure
	lxc exec a -- chmod 755 /bin/measure
	[ "$(lxc exec a -- nproc)" = 1 ]
	if is_machine; then
		kib=$(lxc exec a -- cat /proc/meminfo | awk '/^MemTotal/ { print $2 }')
		[ "$kib" -le 262144 ] && [ "$kib" -gt 200000 ]
	fi
	kib=$(lxc exec a -- df -k / | awk 'END { print $2 }')
	[ "$kib" -le $((64 * 1024 + 2048)) ] && [ "$kib" -gt 40000 ]
	nsenter --net="/run/netns/$BERTH_NETNS" "$BERTH_BUILD/src/measure/berth-measure" serve 10.79.8.1 5201 >"$BATS_TEST_TMPDIR/serving" 3>&- &
	server=$!
	timeout 60 tail -n +1 -f "$BATS_TEST_TMPDIR/serving" 3>&- | grep -m 1 -q serving
	rates_hold() {
		local rates rate
		rates=$(lxc exec a -- measure bandwidth 10.79.8.1 5201 2) || return 1
		echo "$rates"
		for rate in $(awk '/^bandwidth/ { print $2 }' <<<"$rates"); do
			[ "$rate" -le 88000000 ] && [ "$rate" -gt 8000000 ] || return 1
		done
	}
	once_of 5 rates_hold
	kill $server
}

@test "paused it stands still, and goes on" {
	lxc pause a
	[ "$(lxc list -f csv -c s)" = FROZEN ]
	if is_machine; then
		run lxc file pull a/etc/passwd -
		[[ $output == *"Instance is frozen"* ]]
	fi
	lxc start a
	[ "$(lxc list -f csv -c s)" = RUNNING ]
	[ "$(lxc exec a -- echo on)" = on ]
}

@test "a snapshot keeps the root, a restore brings it back" {
	lxc exec a -- sh -c 'echo before >/root/word; sync'
	lxc snapshot a s0
	lxc exec a -- sh -c 'echo after >/root/word; sync'
	[ "$(lxc info a | grep -c s0)" -ge 1 ]
	lxc restore a s0
	[ "$(lxc exec a -- cat /root/word)" = before ]
}

@test "incus pushes a tree, pulls it and removes of it, by SFTP" {
	mkdir -p "$BERTH_BASE/tree/deep/er"
	head -c 1500000 /dev/urandom >"$BERTH_BASE/tree/deep/blob"
	echo leaf >"$BERTH_BASE/tree/deep/er/leaf"
	incus file push -r "$BERTH_BASE/tree" a/root/
	[ "$(lxc exec a -- cat /root/tree/deep/er/leaf)" = leaf ]
	incus file pull -r a/root/tree "$BERTH_BASE/pulled"
	diff -r "$BERTH_BASE/tree" "$BERTH_BASE/pulled/tree"
	incus file delete a/root/tree/deep/blob
	run incus file pull a/root/tree/deep/blob -
	[ "$status" -ne 0 ]
	lxc exec a -- rm -r /root/tree
}

@test "the guest API tells it its keys, and that it is nobody else's; off, it does not answer" {
	lxc file push "$BERTH_BUILD/tests/integration/guest-client" a/root/guest
	lxc exec a -- chmod 755 /root/guest
	lxc config set a user.word=mine
	local socket
	for socket in /dev/lxd/sock /dev/incus/sock; do
		lxc exec a -- /root/guest $socket GET /1.0/config/user.word >"$BERTH_BASE/answer"
		[ "$(tr '\n' ' ' <"$BERTH_BASE/answer")" = "200 mine " ] || { cat "$BERTH_BASE/answer"; return 1; }
	done
	[[ $(lxc exec a -- /root/guest /dev/lxd/sock GET /1.0) == *"\"instance_type\""*"$(kind)"* ]]
	[[ $(lxc exec a -- /root/guest /dev/lxd/sock GET /1.0/config/limits.cpu) == 403* ]]
	lxc exec a -- /root/guest /dev/lxd/sock PATCH /1.0 '{"state":"Ready"}'
	[ "$(lxc config get a volatile.last_state.ready)" = true ]
	berthd_restart KILL
	[[ $(lxc exec a -- /root/guest /dev/lxd/sock GET /1.0/config/user.word) == *mine* ]]
	if is_machine; then
		lxc config set a security.guestapi=false
		run lxc exec a -- /root/guest /dev/lxd/sock GET /1.0
		[[ $output != *200* ]]
		lxc config unset a security.guestapi
	fi
	lxc exec a -- rm /root/guest
}

@test "what its runner has said is shown" {
	! is_machine || [[ $(api GET /1.0/instances/a/logs/qemu.log) == *"engine chosen name=a"* ]]
	[ "$(kind)" = microvm ] || lxc info a --show-log | grep -q '^Log:'
}

@test "restarted it keeps its files and its address" {
	address=$(api GET /1.0/instances/a | json '.metadata.config["volatile.eth0.ipv4.address"]')
	lxc restart a --timeout 200
	[ "$(lxc exec a -- cat /root/word)" = before ]
	[ "$(api GET /1.0/instances/a | json '.metadata.config["volatile.eth0.ipv4.address"]')" = "$address" ]
	eventually 60 in_net ping -q -c 1 -W 5 "${address%/*}" >/dev/null
}

@test "stopped in order it is published, and the image makes the same again" {
	lxc stop a --timeout 200
	if is_machine; then
		run lxc file pull a/etc/passwd -
		[[ $output == *"while it runs only"* ]]
	fi
	lxc publish a --alias published
	kind_launch p published
	[ "$(lxc exec p -- cat /root/word)" = before ]
	lxc delete -f p
}

@test "copied, renamed, exported and imported it is the same again" {
	lxc copy a b
	lxc rename b c
	lxc export c "$BERTH_BASE/c.tar.gz" --instance-only
	lxc delete a c
	lxc import "$BERTH_BASE/c.tar.gz" d
	lxc start d
	[ "$(lxc exec d -- cat /root/word)" = before ]
	[ "$(lxc query /1.0/instances/d | json .type)" = "$(kind)" ]
}

@test "killed with -9 its runner is noticed at once, and nothing of it is left" {
	pid=$(pgrep -f "$BERTH_DIR/instances/default/d/(plan|machine).json" | head -n 1)
	kill -KILL "$pid"
	eventually 60 sh -c '[ "$(lxc list -f csv -c s d)" = STOPPED ]'
	[ -z "$(find /sys/fs/cgroup -type d -path "*berth-$BERTH_ID*default_d" 2>/dev/null)" ]
	lxc start d
	[ "$(lxc exec d -- cat /root/word)" = before ]
}

@test "a new daemon finds it running" {
	berthd_restart KILL
	[ "$(lxc list -f csv -c s)" = RUNNING ]
	[ "$(lxc exec d -- echo there)" = there ]
}

@test "rebuilt it has a new root, and keeps its name, config and address" {
	address=$(api GET /1.0/instances/d | json '.metadata.config["volatile.eth0.ipv4.address"]')
	lxc config set d user.word kept
	run berth rebuild d image
	[ "$status" -ne 0 ]
	[[ $output == *"stop it first"* ]]
	berth rebuild d image --force
	run lxc exec d -- cat /root/word
	[ "$status" -ne 0 ]
	[ "$(lxc config get d user.word)" = kept ]
	[ "$(lxc config get d image.os)" = busybox ]
	[ "$(api GET /1.0/instances/d | json '.metadata.config["volatile.eth0.ipv4.address"]')" = "$address" ]
	eventually 60 in_net ping -q -c 1 -W 5 "${address%/*}" >/dev/null
	lxc stop -f d
	run berth rebuild d none-such
	[ "$status" -ne 0 ]
	run berth rebuild d
	[ "$status" -ne 0 ]
	incus rebuild --empty d
	[ "$(lxc config get d image.os)" = "" ]
	incus rebuild image d
	[ "$(lxc config get d image.os)" = busybox ]
	lxc delete -f d
	[ -z "$(ls "$BERTH_DIR/instances/default" 2>/dev/null)" ]
}
