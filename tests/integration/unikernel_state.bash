# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What is true of a unikernel's memory on every engine that keeps it.

# state_start [KEY VALUE]: a daemon, of its configuration that, an image, a network, a profile whose instances can be kept.
state_start() {
	berthd_start || return 1
	[ $# = 0 ] || lxc config set "$@"
	busybox_image "$BERTH_BASE/image.tar"
	lxc image import "$BERTH_BASE/image.tar" --alias box
	api_wait POST /1.0/networks '{"name":"snet","config":{"ipv4.address":"10.79.7.1/24","ipv6.address":"none"}}'
	api POST /1.0/profiles '{"name":"plain","config":{"migration.stateful":"true","limits.memory":"16MiB"},
		"devices":{"root":{"type":"disk","path":"/","pool":"default","size":"32MiB"}}}'
}

# create NAME PROGRAM [CONFIG]: started at once.
create() {
	api_wait POST /1.0/instances "$(jq -n --arg name "$1" --arg program "$2" --argjson config "${3:-{\}}" \
		'{name: $name, type: "unikernel", profiles: ["plain"], start: true,
		source: {type: "image", alias: "box"}, config: ({"oci.entrypoint": $program} + $config)}')"
}

log() { tr -d '\r' <"$BERTH_DIR/instances/default/$1/console.log"; }
# says NAME LINE: it is on its console soon.
says() {
	local end=$((SECONDS + 60))
	while [ $SECONDS -lt $end ]; do
		log "$1" 2>/dev/null | grep -qx "$2" && return 0
		sleep 0.1
	done
	log "$1"
	return 1
}
# check_sleeper NAME SECONDS: it is kept while it waits for a child that sleeps; on a host so busy that this has slept before it
# can be stopped, for one that sleeps longer.
has_slept() { log "$1" | grep -qx slept; }
check_sleeper() {
	local seconds
	for seconds in "$2" $((4 * $2)) $((16 * $2)); do
		create "$1" "sh -c 'echo ready; sleep $seconds; echo slept; read x'"
		says "$1" ready
		lxc stop "$1" --stateful
		has_slept "$1" || break
		lxc delete -f "$1"
	done
	lxc start "$1"
	eventually $((seconds + 20)) has_slept "$1"
	lxc delete -f "$1"
}
# At each line it counts on, and keeps the number in a file.
COUNT="sh -c 'i=0; echo ready; while read x; do i=\$((i+1)); echo \$i > /count; echo \"\$x \$i\"; done'"
# tell NAME LINE: on its console.
tell() {
	local out
	out=$(mktemp "$BERTH_BASE/typescript-XXXXXX")
	printf '%s\n\001q' "$2" | timeout 60 script -qefc "berth console $1" "$out" >/dev/null || true
}

check_snapshot() {
	create s1 "$COUNT"
	says s1 ready
	tell s1 a
	says s1 "a 1"
	berth snapshot create s1 warm --stateful
	[ "$(api GET /1.0/instances/s1/snapshots/warm | json .metadata.stateful)" = true ]
	tell s1 b
	says s1 "b 2"
	berth restore s1 warm --stateful
	[ "$(api GET /1.0/instances/s1 | json .metadata.status)" = Running ]
	tell s1 c
	says s1 "c 2"
	! log s1 | grep ready
	[ "$(head -c 8 "$BERTH_DIR/instances/default/s1/snapshot-warm.state")" = brthsnap ]
	# Without its state it begins again, with the files of then.
	berth restore s1 warm
	says s1 ready
}

check_copies() {
	berth copy s1/warm s2
	[ "$(api GET /1.0/instances/s2 | json .metadata.stateful)" = true ]
	lxc copy s1/warm s3
	lxc copy s1/warm s4 --stateless
	lxc start s2 s3 s4
	[ "$(api GET /1.0/instances/s2 | json .metadata.stateful)" = false ]
	tell s2 x
	says s2 "x 2"
	tell s3 y
	says s3 "y 2"
	says s4 ready
	# The file is one: nothing was copied.
	inode=$(stat -c %h "$BERTH_DIR/instances/default/s1/snapshot-warm.state")
	[ "$inode" = 1 ]
	lxc delete -f s2 s3 s4
}

# check_stop [COMMAND]: which is called before the third start.
check_stop() {
	tell s1 d
	says s1 "d 1"
	lxc stop s1 --stateful
	[ "$(api GET /1.0/instances/s1 | json .metadata.status)" = Stopped ]
	berthd_restart KILL
	lxc start s1
	tell s1 e
	says s1 "e 2"
	lxc stop s1 --stateful
	[ $# = 0 ] || "$@"
	lxc start s1
	tell s1 f
	says s1 "f 3"
	lxc stop s1 --stateful
	lxc start s1 --stateless
	says s1 ready
	lxc delete -f s1
}

check_card() {
	berth image build "$BERTH_BUILD/tests/bench/static_serve" --type unikernel --entrypoint "/bin/static_serve s5" --alias serve
	berth launch serve s5 --profile plain --network snet
	address() { api GET "/1.0/instances/$1" | json '.metadata.config["volatile.eth0.ipv4.address"]'; }
	get() { in_net curl -s --max-time 10 --retry 60 --retry-all-errors --retry-delay 1 "http://$(address "$1" | cut -d/ -f1)/"; }
	[ "$(get s5)" = "served by s5" ]
	berth snapshot create s5 warm --stateful
	[ "$(get s5)" = "served by s5" ]
	berth copy s5/warm s6
	lxc start s6
	[ "$(address s5)" != "$(address s6)" ]
	[ "$(get s6)" = "served by s5" ]
	[ "$(get s5)" = "served by s5" ]
	berth restore s5 warm --stateful
	[ "$(get s5)" = "served by s5" ]
	# Without its card it goes on, too.
	berth copy s5/warm s7
	lxc config device remove s7 eth0
	lxc start s7
	[ "$(api GET /1.0/instances/s7 | json .metadata.status)" = Running ]
	lxc delete -f s5 s6 s7
}
