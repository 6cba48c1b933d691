#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The guest API: what a container is told of itself at /dev/lxd/sock and /dev/incus/sock, that it is told of nobody
# else, and that it can do no harm by asking.

load common
load image

setup_file() {
	berthd_start || return 1
	busybox_image "$BERTH_BASE/image.tar"
	lxc image import "$BERTH_BASE/image.tar" --alias box
	api POST /1.0/profiles '{"name":"plain","devices":{"root":{"type":"disk","path":"/","pool":"default"}}}'
	local name
	for name in a b p; do
		lxc init box $name -p plain -c user.who=$name -c cloud-init.user-data="#cloud-config of $name"
	done
	lxc config set p security.privileged=true
	lxc config set a limits.cpu=1
	for name in a b p; do
		lxc file push "$BERTH_BUILD/tests/integration/guest-client" $name/bin/guest
	done
	lxc start a b p
}
teardown_file() { berthd_stop; }
teardown() { after_failure a b p; }

# ask CONTAINER METHOD PATH [BODY]: in $status_code and $body.
ask() {
	local name=$1
	shift
	lxc exec "$name" -- /bin/guest "${SOCKET:-/dev/lxd/sock}" "$@" >"$BERTH_BASE/answer"
	status_code=$(head -n 1 "$BERTH_BASE/answer")
	body=$(tail -n +2 "$BERTH_BASE/answer")
}

@test "a container reads its keys, its meta-data and its devices, by both names of the socket" {
	local SOCKET
	for SOCKET in /dev/lxd/sock /dev/incus/sock; do
		ask a GET /
		[ "$status_code $(json '.[0]' <<<"$body")" = "200 /1.0" ]
		ask a GET /1.0
		[ "$(json '[.api_version, .instance_type, .location, .state] | join(" ")' <<<"$body")" = "1.0 container none Started" ]
		ask a GET /1.0/config
		[ "$(json 'sort | join(" ")' <<<"$body")" = "/1.0/config/cloud-init.user-data /1.0/config/user.who" ]
		ask a GET /1.0/config/cloud-init.user-data
		[ "$status_code $body" = "200 #cloud-config of a" ]
	done
	ask a GET /1.0/meta-data
	[[ $body == *"instance-id: $(lxc config get a volatile.cloud-init.instance-id)"* ]]
	[[ $body == *"local-hostname: a"* ]]
	ask a GET /1.0/devices
	[ "$(json .root.path <<<"$body")" = / ]
	# A key of a profile is one of its own.
	api PATCH /1.0/profiles/plain '{"config":{"user.shared":"all of us"}}'
	ask b GET /1.0/config/user.shared
	[ "$body" = "all of us" ]
}

@test "each is told of itself, privileged or not, also beside processes of the host" {
	local name
	for name in a b p; do
		ask $name GET /1.0/config/user.who
		[ "$status_code $body" = "200 $name" ]
	done
	run curl -sS --max-time 5 --unix-socket "$BERTH_DIR/guest/sock" http://lxd/1.0
	[ "$status" -ne 0 ]
}

@test "what is not its business is refused" {
	ask a GET /1.0/config/limits.cpu
	[ "$status_code" = 403 ]
	ask a GET /1.0/config/volatile.uuid
	[ "$status_code" = 403 ]
	ask a GET /1.0/config/user.none
	[ "$status_code" = 404 ]
	ask a GET /1.0/config/user.%2e%2e%2fx
	[ "$status_code" = 404 ]
	ask a GET /1.0/instances
	[ "$status_code" = 404 ]
	ask a GET /1.0/images/0123/export
	[ "$status_code" = 403 ]
	ask a PUT /1.0/config/user.who x
	[ "$status_code" = 405 ]
	ask a PATCH /1.0 '{"state":"Gone"}'
	[ "$status_code" = 400 ]
	ask a PATCH /1.0 "$(printf '{"state":"%5000s"}' x)"
	[ "$status_code" = 400 ]
	# Nor can it put another socket in its place.
	run lxc exec a -- rm /dev/lxd/sock
	[ "$status" -ne 0 ]
}

@test "a container says that it is ready; a new start forgets it" {
	ask a PATCH /1.0 '{"state":"Ready"}'
	[ "$status_code" = 200 ]
	ask a GET /1.0
	[ "$(json .state <<<"$body")" = Ready ]
	[ "$(lxc config get a volatile.last_state.ready)" = true ]
	lxc restart -f a
	ask a GET /1.0
	[ "$(json .state <<<"$body")" = Started ]
}

@test "it is told of changes of its keys and devices, and of no others" {
	lxc exec a -- /bin/guest /dev/lxd/sock events 4 >"$BERTH_BASE/events" 3>&- &
	local client=$!
	eventually 10 grep -q 101 "$BERTH_BASE/events"
	lxc config set b user.who=other
	lxc config set a user.who=A limits.processes=500
	lxc config device add a pipe none
	lxc config device remove a pipe
	lxc config unset a user.who
	timeout 100 tail --pid=$client -s 0.1 -f /dev/null
	json -R 'fromjson? | select(type == "object") | [.type, .metadata.key // .metadata.name, .metadata.action // (.metadata.old_value + ">" + .metadata.value)] | join(" ")' \
		<"$BERTH_BASE/events" >"$BERTH_BASE/told"
	diff "$BERTH_BASE/told" - <<-END
		config user.who a>A
		device pipe added
		device pipe removed
		config user.who A>
	END
	lxc config set b user.who=b
	lxc config set a user.who=a
}

@test "a new daemon answers in the place of the one that was killed" {
	berthd_restart KILL
	ask a GET /1.0/config/user.who
	[ "$status_code $body" = "200 a" ]
	ask p GET /1.0/config/user.who
	[ "$status_code $body" = "200 p" ]
}

@test "berth-guest killed, another one is started for the next who asks" {
	pkill -KILL -P "$(berthd_pid)" -x berth-guest
	eventually 5 eval 'ask a GET /1.0/config/user.who; [ "$status_code $body" = "200 a" ]'
}

@test "the one that reads it has no rights" {
	ask a GET /1.0
	local pid
	pid=$(pgrep -P "$(berthd_pid)" -x berth-guest)
	grep -q '^CapEff:[[:space:]]*0*$' "/proc/$pid/status"
	grep -q '^CapBnd:[[:space:]]*0*$\|^NoNewPrivs:[[:space:]]*1$' "/proc/$pid/status"
	grep -q '^Seccomp:[[:space:]]*2$' "/proc/$pid/status"
	grep -q '^Uid:[[:space:]]*65534' "/proc/$pid/status"
	[ -z "$(ls "/proc/$pid/root")" ]
	[ "$(readlink "/proc/$pid/ns/net")" != "$(readlink "/proc/$(berthd_pid)/ns/net")" ]
}

@test "one that floods it is held up, and hurts neither the others nor the daemon" {
	[ "$(lxc exec a -- /bin/guest /dev/lxd/sock hold 100)" -le 12 ]
	# The image's tools are enough to be nasty: four at once.
	lxc exec a -- sh -c 'for i in 1 2 3 4; do /bin/guest /dev/lxd/sock flood 4 & done; wait' 3>&- &
	local flood=$! before after
	before=$(awk '{ print $14 + $15 }' "/proc/$(berthd_pid)/stat")
	sleep 1
	eventually 3 eval 'ask b GET /1.0/config/user.who; [ "$status_code $body" = "200 b" ]'
	[ "$(api_status GET /1.0/instances/b)" = 200 ]
	timeout 100 tail --pid=$flood -s 0.1 -f /dev/null
	after=$(awk '{ print $14 + $15 }' "/proc/$(berthd_pid)/stat")
	# Of four seconds' hundredths.
	echo "daemon: $((after - before)) of 400"
	[ $((after - before)) -lt 100 ]
	eventually 5 eval 'ask a GET /1.0/config/user.who; [ "$status_code $body" = "200 a" ]'
}

@test "switched off by either name it is not there; running or not" {
	lxc config set b security.devlxd=false
	run lxc exec b -- ls /dev/lxd/sock
	[ "$status" -ne 0 ]
	lxc config unset b security.devlxd
	ask b GET /1.0/config/user.who
	[ "$body" = b ]
	lxc stop -f b
	lxc config set b security.guestapi=false
	lxc start b
	run lxc exec b -- ls /dev/incus/sock
	[ "$status" -ne 0 ]
	run lxc config set b security.guestapi.images=true
	[ "$status" -ne 0 ]
	run lxc config set b security.devlxd=perhaps
	[ "$status" -ne 0 ]
}
