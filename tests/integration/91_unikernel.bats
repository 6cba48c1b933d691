#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The kind unikernel: a static program alone with a library OS in a locked process, by the same verbs.

load common
load image

setup_file() {
	berthd_start || return 1
	busybox_image "$BERTH_BASE/image.tar"
	lxc image import "$BERTH_BASE/image.tar" --alias box
	api_wait POST /1.0/networks '{"name":"unet","config":{"ipv4.address":"10.79.6.1/24","ipv6.address":"none"}}'
	api POST /1.0/profiles '{"name":"plain","devices":{"root":{"type":"disk","path":"/","pool":"default"}}}'
}
teardown_file() { berthd_stop; }

# create NAME PROGRAM [CONFIG]: started at once.
create() {
	api_wait POST /1.0/instances "$(jq -n --arg name "$1" --arg program "$2" --argjson config "${3:-{\}}" \
		'{name: $name, type: "unikernel", profiles: ["plain"], start: true,
		source: {type: "image", alias: "box"},
		config: ({"oci.entrypoint": $program, "limits.memory": "16MiB"} + $config)}')"
}

state() { api GET "/1.0/instances/$1" | json .metadata.status; }

@test "an image that a container runs runs as a unikernel: its program's output is on the console" {
	create u1 "/bin/sh -c 'echo hello from \$(uname -s); exec sleep 100'" '{}'
	[ "$(state u1)" = Running ]
	lxc console u1 --show-log
	lxc console u1 --show-log | grep hello
}
