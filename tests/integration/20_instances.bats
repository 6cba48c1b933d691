#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Instances: made, listed, started, limited, changed, copied, renamed, deleted; what is refused.

load common
load image

setup_file() {
	berthd_start --test-hooks || return 1
	busybox_image "$BERTH_BASE/image.tar"
	lxc image import "$BERTH_BASE/image.tar" --alias box
	api POST /1.0/profiles '{"name":"plain","devices":{"root":{"type":"disk","path":"/","pool":"default"}}}'
}
teardown_file() { berthd_stop; }

# made NAME [MORE]: an instance of the image; MORE are members of the body.
made() {
	api_wait POST /1.0/instances "{\"name\":\"$1\",\"profiles\":[\"plain\"],\"source\":{\"type\":\"image\",\"alias\":\"box\"}${2:+,$2}}"
}

state() { api GET "/1.0/instances/$1/state" | json .metadata.status; }

gone() { [ "$(api_status GET "/1.0/instances/$1")" = 404 ]; }

# inside NAME COMMAND...: its output.
inside() {
	local name=$1
	shift
	lxc exec "$name" -- "$@"
}

delete() {
	api_wait PUT "/1.0/instances/$1/state" '{"action":"stop","force":true}' >/dev/null || true
	api_wait DELETE "/1.0/instances/$1" >/dev/null
}

# What a failed test left must not trouble the next one.
teardown() {
	local url
	for url in $(api GET '/1.0/instances?all-projects=true' | json '.metadata[]'); do
		api_wait PUT "${url%%\?*}/state${url#"${url%%\?*}"}" '{"action":"stop","force":true}' >/dev/null || true
		api_wait DELETE "$url" >/dev/null || true
	done
}

@test "stock lxc launches, lists, enters and deletes an instance" {
	lxc launch box c1 -p plain
	[ "$(lxc list -f csv -c ns)" = "c1,RUNNING" ]
	[ "$(lxc exec c1 -- hostname)" = c1 ]
	lxc info c1 | grep -q 'Status: RUNNING'
	lxc delete -f c1
	[ -z "$(lxc list -f csv)" ]
}

@test "stock incus launches, lists, enters and deletes an instance" {
	incus launch box c1 -p plain
	[ "$(incus list -f csv -c ns)" = "c1,RUNNING" ]
	[ "$(incus exec c1 -- hostname)" = c1 ]
	incus delete -f c1
	[ -z "$(incus list -f csv)" ]
}

@test "an instance is whole: ids of its own, its root, no way to the host's processes" {
	made c1 '"start":true'
	base=$(api GET /1.0/instances/c1 | json '.metadata.config["volatile.idmap.base"]')
	[ "$base" -ge 1000000 ]
	[ "$(inside c1 id -u)" = 0 ]
	pid=$(api GET /1.0/instances/c1/state | json .metadata.pid)
	[ "$(awk '/^Uid:/{print $2}' "/proc/$pid/status")" = "$base" ]
	[ "$(inside c1 ps | grep -c berth)" = 0 ]
	delete c1
}

@test "each step from stopped to deleted is an event" {
	cd / && timeout 120 lxc monitor --type lifecycle --format json >"$BERTH_BASE/events" 3>&- &
	listens() {
		api PATCH /1.0/profiles/plain '{"description":"heard"}' >/dev/null
		[ -s "$BERTH_BASE/events" ]
	}
	eventually 20 listens
	made c1 '"start":true'
	api_wait PUT /1.0/instances/c1/state '{"action":"freeze"}'
	api_wait PUT /1.0/instances/c1/state '{"action":"unfreeze"}'
	api_wait PUT /1.0/instances/c1/state '{"action":"stop","force":true}'
	api_wait DELETE /1.0/instances/c1
	eventually 5 grep -q instance-deleted "$BERTH_BASE/events"
	for action in created started paused resumed stopped deleted; do
		grep -q "instance-$action" "$BERTH_BASE/events"
	done
	kill $!
}

@test "state: usage, pid, processes; null while it is stopped" {
	made c1
	[ "$(api GET /1.0/instances/c1/state | json .metadata.pid)" = 0 ]
	[ "$(api GET /1.0/instances/c1/state | json .metadata.network)" = null ]
	api_wait PUT /1.0/instances/c1/state '{"action":"start"}'
	answer=$(api GET /1.0/instances/c1/state)
	[ "$(json .metadata.status_code <<<"$answer")" = 103 ]
	[ "$(json .metadata.pid <<<"$answer")" -gt 1 ]
	[ "$(json .metadata.processes <<<"$answer")" -ge 1 ]
	[ "$(json .metadata.cpu.usage <<<"$answer")" -gt 0 ]
	[ "$(json .metadata.memory.usage <<<"$answer")" -gt 0 ]
	[ "$(json '.metadata.network.lo.addresses[0].address' <<<"$answer")" = 127.0.0.1 ]
	delete c1
}

@test "limits hold inside and change while it runs" {
	made c1 '"start":true,"config":{"limits.cpu":"1","limits.memory":"64MiB","limits.processes":"30"}'
	[ "$(inside c1 nproc)" = 1 ]
	run inside c1 sh -c 'for i in $(seq 40); do sleep 1000 & done'
	[[ $output == *"fork"* ]]
	lxc config set c1 limits.processes 60
	inside c1 busybox killall sleep
	lxc config set c1 limits.processes 30
	run inside c1 sh -c 'head -c 200000000 /dev/zero | tail -c 1 | wc -c; dd if=/dev/zero of=/dev/null bs=120M count=1'
	[ "$status" -ne 0 ]
	lxc config set c1 limits.memory 512MiB
	inside c1 dd if=/dev/zero of=/dev/null bs=120M count=1
	lxc config unset c1 limits.cpu
	[ "$(inside c1 nproc)" = "$(nproc)" ]
	lxc config unset c1 limits.processes
	inside c1 sh -c 'for i in $(seq 40); do sleep 0 & done; wait'
	delete c1
}

@test "limits that it started without are found while it runs" {
	made c1 '"start":true'
	lxc config set c1 limits.cpu=1 limits.processes=30
	[ "$(inside c1 nproc)" = 1 ]
	delete c1
}

@test "running out of memory is an event and a warning" {
	made c1 '"start":true,"config":{"limits.memory":"32MiB","limits.memory.swap":"false"}'
	run inside c1 dd if=/dev/zero of=/dev/null bs=100M count=1
	[ "$status" = 137 ]
	eventually 5 sh -c "curl -s --unix-socket $BERTH_DIR/unix.socket 'http://x/1.0/warnings?recursion=1' | grep -q 'out of memory'"
	[ "$(state c1)" = Running ]
	delete c1
}

@test "what a disk wants of the host is looked for when it is asked for, and said with its field" {
	local body='"profiles":["plain"],"source":{"type":"image","alias":"box"}'
	disk='{"d":{"type":"disk","source":"'$BERTH_BASE'/gone","path":"/mnt"}}'
	run api POST /1.0/instances "{\"name\":\"h1\",\"devices\":$disk,$body}"
	[[ $output == *"devices.d.source: $BERTH_BASE/gone"* ]]
	[ "$(cat "$BERTH_BASE/status")" = 400 ]
	run api POST /1.0/instances "{\"name\":\"h1\",\"devices\":{\"d\":{\"type\":\"disk\",\"pool\":\"none\",\"source\":\"v\",\"path\":\"/mnt\"}},$body}"
	[[ $output == *"devices.d.pool:"*none* ]]
	run api POST /1.0/instances "{\"name\":\"h1\",\"devices\":{\"root\":{\"type\":\"disk\",\"path\":\"/\",\"pool\":\"default\",\"size\":\"9PiB\"}},$body}"
	[[ $output == *devices.root.size:* ]]
	mkdir "$BERTH_BASE/gone"
	api_wait POST /1.0/instances "{\"name\":\"h1\",\"devices\":$disk,$body}"
	rmdir "$BERTH_BASE/gone"
	# It may be gone while something else is changed, but not at the start.
	api_wait PATCH /1.0/instances/h1 '{"config":{"user.a":"1"}}'
	run lxc start h1
	[ "$status" -ne 0 ]
	[[ $output == *"devices.d.source: $BERTH_BASE/gone"* ]]
	[ "$(api_status GET /1.0/instances/h1/logs/lxc.log)" != 400 ]
	lxc delete h1
	[ "$(api POST /1.0/berth/plan "{\"name\":\"\",$body}" | json '.metadata.steps | length')" -gt 1 ]
}

@test "more than the host has is 409, wrong fields are 400 with their path, and nothing is left" {
	run made c1 '"config":{"limits.cpu":"4096"}'
	[ "$status" -ne 0 ]
	body='"profiles":["plain"],"source":{"type":"image","alias":"box"}'
	[ "$(api_status POST /1.0/instances "{\"name\":\"c1\",\"config\":{\"limits.cpu\":\"999\"},$body}")" = 409 ]
	[ "$(api_status POST /1.0/instances "{\"name\":\"c1\",\"config\":{\"limits.memory\":\"9ZiB\"},$body}")" = 400 ]
	[ "$(api_status POST /1.0/instances "{\"name\":\"c1\",\"config\":{\"limits.memory\":\"900TiB\"},$body}")" = 409 ]
	[ "$(api_status POST /1.0/instances "{\"name\":\"c1\",\"config\":{\"limits.cpus\":\"1\"},$body}")" = 400 ]
	api POST /1.0/instances "{\"name\":\"c1\",\"config\":{\"limits.cpus\":\"1\"},$body}" | grep -q 'config.limits.cpus: unknown key'
	[ "$(api_status POST /1.0/instances "{\"name\":\"-c1\",$body}")" = 400 ]
	[ "$(api_status POST /1.0/instances "{\"name\":\"c1\",\"type\":\"virtual-machine\",$body}")" = 400 ]
	[ "$(api_status POST /1.0/instances "{\"name\":\"c1\",\"type\":\"teapot\",$body}")" = 400 ]
	[ "$(api_status POST /1.0/instances '{"name":"c1","profiles":["nope"],"source":{"type":"none"}}')" = 400 ]
	[ "$(api_status POST /1.0/instances '{"name":"c1","profiles":["plain"],"source":{"type":"image","alias":"nope"}}')" = 404 ]
	[ "$(api_status POST /1.0/instances '{"name":"c1","profiles":["plain"],"source":{"type":"migration"}}')" = 400 ]
	[ "$(api_status POST /1.0/instances '{"name":"c1","profiles":["plain"]}')" = 400 ]
	[ "$(api_status POST /1.0/instances "{\"name\":\"c1\",\"config\":5,$body}")" = 400 ]
	[ "$(api_status POST /1.0/instances "{\"name\":\"c1\",\"devices\":{\"x\":{\"type\":\"disk\",\"path\":\"/../x\",\"source\":\"/\"}},$body}")" = 400 ]
	[ "$(api GET /1.0/instances | json '.metadata | length')" = 0 ]
	[ ! -e "$BERTH_DIR/instances/default/c1" ]
}

@test "the ledger refuses what is promised already, by the ratio of the server's config" {
	lxc config set berth.overcommit.cpu 1
	made c1 '"start":true,"config":{"limits.cpu":"'"$(nproc)"'"}'
	made c2 '"config":{"limits.cpu":"1"}'
	[ "$(api_status PUT /1.0/instances/c2/state '{"action":"start"}')" = 409 ]
	api PUT /1.0/instances/c2/state '{"action":"start"}' | grep -q 'are not free'
	[ "$(state c2)" = Stopped ]
	lxc config set berth.overcommit.cpu 2:1
	api_wait PUT /1.0/instances/c2/state '{"action":"start"}'
	[ "$(api_status PUT /1.0 '{"config":{"berth.overcommit.cpu":"lots"}}')" = 400 ]
	lxc config unset berth.overcommit.cpu
	delete c1
	delete c2
}

@test "a name is taken once a project; a second start, a stop of a stopped one are refused" {
	made c1
	[ "$(api_status POST /1.0/instances '{"name":"c1","profiles":["plain"],"source":{"type":"none"}}')" = 409 ]
	[ "$(api_status PUT /1.0/instances/c1/state '{"action":"stop"}')" = 409 ]
	api_wait PUT /1.0/instances/c1/state '{"action":"start"}'
	[ "$(api_status PUT /1.0/instances/c1/state '{"action":"start"}')" = 409 ]
	[ "$(api_status PUT /1.0/instances/c1/state '{"action":"dance"}')" = 400 ]
	[ "$(api_status DELETE /1.0/instances/c1)" = 409 ]
	delete c1
}

@test "an orderly stop ends it, one that it ignores is given up in time, force cuts it short" {
	made c1 '"start":true'
	api_wait PUT /1.0/instances/c1/state '{"action":"stop","timeout":10}'
	[ "$(state c1)" = Stopped ]
	made c2 '"start":true,"config":{"oci.entrypoint":"/bin/sh -c '"'trap : TERM; while :; do sleep 1; done'"'"}'
	sleep 0.3
	run api_wait PUT /1.0/instances/c2/state '{"action":"stop","timeout":1}'
	[ "$status" -ne 0 ]
	[[ $output == *"did not stop in time"* ]]
	[ "$(state c2)" = Running ]
	api PUT /1.0/instances/c2/state '{"action":"stop","timeout":30}'
	api_wait PUT /1.0/instances/c2/state '{"action":"stop","force":true}'
	[ "$(state c2)" = Stopped ]
	delete c1
	delete c2
}

@test "a stop that comes before the first process has its handler is not lost" {
	made c1 '"start":true,"config":{"oci.entrypoint":"/bin/sh -c \"sleep 1; trap \\\"exit 0\\\" TERM; while :; do sleep 0.1; done\""}'
	api_wait PUT /1.0/instances/c1/state '{"action":"stop","timeout":20}'
	[ "$(state c1)" = Stopped ]
}

@test "restart gives it a new first process" {
	made c1 '"start":true'
	before=$(api GET /1.0/instances/c1/state | json .metadata.pid)
	api_wait PUT /1.0/instances/c1/state '{"action":"restart","force":true}'
	[ "$(state c1)" = Running ]
	[ "$(api GET /1.0/instances/c1/state | json .metadata.pid)" != "$before" ]
	delete c1
}

@test "a frozen instance stands still, is stopped by force and in order" {
	made c1 '"start":true'
	api_wait PUT /1.0/instances/c1/state '{"action":"freeze"}'
	[ "$(state c1)" = Frozen ]
	[ "$(api_status PUT /1.0/instances/c1/state '{"action":"freeze"}')" = 409 ]
	[ "$(api_status POST /1.0/instances/c1/exec '{"command":["true"]}')" = 409 ]
	api_wait PUT /1.0/instances/c1/state '{"action":"stop","timeout":10}'
	api_wait PUT /1.0/instances/c1/state '{"action":"start"}'
	api_wait PUT /1.0/instances/c1/state '{"action":"freeze"}'
	api_wait PUT /1.0/instances/c1/state '{"action":"stop","force":true}'
	[ "$(state c1)" = Stopped ]
	delete c1
}

@test "an ephemeral instance is gone when it ends" {
	made c1 '"start":true,"ephemeral":true'
	api_wait PUT /1.0/instances/c1/state '{"action":"stop","force":true}'
	eventually 5 gone c1
	made c2 '"start":true,"ephemeral":true,"config":{"oci.entrypoint":"/bin/sleep 0.2"}'
	eventually 5 gone c2
}

@test "autorestart starts again what failed, but not for ever" {
	made c1 '"start":true,"config":{"oci.entrypoint":"/bin/false","boot.autorestart":"true"}' || true
	eventually 10 sh -c "curl -s --unix-socket $BERTH_DIR/unix.socket 'http://x/1.0/warnings?recursion=1' | grep -q 'within a minute'"
	eventually 5 eval '[ "$(state c1)" = Stopped ]'
	delete c1
}

@test "PUT changes the whole, PATCH a part; If-Match guards both; volatile keys stay" {
	made c1
	object=$(api GET /1.0/instances/c1 | json '.metadata | .description="new" | .config["user.x"]="1"')
	api_wait PUT /1.0/instances/c1 "$object"
	[ "$(api GET /1.0/instances/c1 | json .metadata.description)" = new ]
	[ "$(api_status PUT /1.0/instances/c1 "$object" -H 'If-Match: "stale"')" = 412 ]
	api_wait PATCH /1.0/instances/c1 '{"config":{"user.y":"2"}}'
	[ "$(api GET /1.0/instances/c1 | json '.metadata.config["user.x"]')" = 1 ]
	[ "$(api GET /1.0/instances/c1 | json '.metadata.config["user.y"]')" = 2 ]
	base=$(api GET /1.0/instances/c1 | json '.metadata.config["volatile.idmap.base"]')
	api_wait PUT /1.0/instances/c1 '{"config":{"volatile.idmap.base":"0"},"profiles":["plain"]}'
	[ "$(api GET /1.0/instances/c1 | json '.metadata.config["volatile.idmap.base"]')" = "$base" ]
	[ "$(api GET /1.0/instances/c1 | json '.metadata.config["user.x"]')" = null ]
	[ "$(api_status PUT /1.0/instances/c1 '{"config":{"limits.cpu":"x"}}')" = 400 ]
	delete c1
}

@test "profiles expand, an instance's own key wins, a changed profile reaches it" {
	api POST /1.0/profiles '{"name":"q","config":{"user.a":"profile","user.b":"profile"}}'
	made c1
	api_wait PUT /1.0/instances/c1 '{"profiles":["plain","q"],"config":{"user.b":"own"}}'
	[ "$(api GET /1.0/instances/c1 | json '.metadata.expanded_config["user.a"]')" = profile ]
	[ "$(api GET /1.0/instances/c1 | json '.metadata.expanded_config["user.b"]')" = own ]
	[ "$(api GET /1.0/profiles/q | json '.metadata.used_by[0]')" = /1.0/instances/c1 ]
	[ "$(api_status DELETE /1.0/profiles/q)" = 409 ] || [ "$(api_status DELETE /1.0/profiles/q)" = 400 ]
	api PATCH /1.0/profiles/q '{"config":{"user.a":"changed"}}'
	[ "$(api GET /1.0/instances/c1 | json '.metadata.expanded_config["user.a"]')" = changed ]
	delete c1
	[ "$(api_status DELETE /1.0/profiles/q)" = 200 ]
}

@test "copy and rename keep the content; a running one keeps its name" {
	made c1 '"start":true'
	inside c1 sh -c 'echo kept >/root/f'
	lxc copy c1 c2
	lxc start c2
	[ "$(inside c2 cat /root/f)" = kept ]
	[ "$(api GET /1.0/instances/c1 | json '.metadata.config["volatile.idmap.base"]')" != \
		"$(api GET /1.0/instances/c2 | json '.metadata.config["volatile.idmap.base"]')" ]
	[ "$(api_status POST /1.0/instances/c2 '{"name":"c3"}')" = 400 ]
	lxc stop -f c2
	lxc rename c2 c3
	lxc start c3
	[ "$(inside c3 cat /root/f)" = kept ]
	[ "$(inside c3 hostname)" = c3 ]
	[ "$(api_status POST /1.0/instances/c3 '{"migration":true}')" = 400 ]
	delete c1
	delete c3
}

@test "a protected instance is not deleted" {
	made c1 '"config":{"security.protection.delete":"true"}'
	[ "$(api_status DELETE /1.0/instances/c1)" = 403 ]
	api_wait PATCH /1.0/instances/c1 '{"config":{"security.protection.delete":""}}'
	delete c1
}

@test "projects keep their instances apart" {
	api POST /1.0/projects '{"name":"p1","config":{"features.profiles":"false","features.images":"false"}}'
	made c1
	api_wait POST '/1.0/instances?project=p1' '{"name":"c1","profiles":["plain"],"source":{"type":"image","alias":"box"}}'
	[ "$(api GET /1.0/instances | json '.metadata | length')" = 1 ]
	[ "$(api GET '/1.0/instances?all-projects=true' | json '.metadata | length')" = 2 ]
	[ "$(api GET '/1.0/instances?project=p1' | json '.metadata[0]')" = '/1.0/instances/c1?project=p1' ]
	api_wait DELETE '/1.0/instances/c1?project=p1'
	delete c1
	[ "$(api_status DELETE /1.0/projects/p1)" = 200 ]
}

@test "recursion, filter and the alias /1.0/containers" {
	made c1
	made c2 '"start":true'
	[ "$(api GET /1.0/instances | json '.metadata[0]')" = /1.0/instances/c1 ]
	[ "$(api GET '/1.0/instances?recursion=1' | json '.metadata[1].name')" = c2 ]
	[ "$(api GET '/1.0/instances?recursion=1' | json '.metadata[1].state')" = null ]
	[ "$(api GET '/1.0/instances?recursion=2' | json '.metadata[1].state.status')" = Running ]
	[ "$(api GET '/1.0/instances?recursion=1&filter=status%20eq%20Running' | json '.metadata | length')" = 1 ]
	[ "$(api GET '/1.0/containers?recursion=1' | json '.metadata | length')" = 2 ]
	[ "$(api GET '/1.0/virtual-machines?recursion=1' | json '.metadata | length')" = 0 ]
	delete c1
	delete c2
}

@test "all at once: PUT /1.0/instances" {
	made c1
	made c2
	api_wait PUT /1.0/instances '{"state":{"action":"start"}}'
	[ "$(state c1) $(state c2)" = "Running Running" ]
	api_wait PUT /1.0/instances '{"state":{"action":"stop","force":true}}'
	[ "$(state c1) $(state c2)" = "Stopped Stopped" ]
	[ "$(api_status PUT /1.0/instances '{}')" = 400 ]
	delete c1
	delete c2
}

@test "a plan says what would be done and does nothing" {
	answer=$(api POST /1.0/berth/plan '{"name":"c1","profiles":["plain"],"config":{"limits.cpu":"1","limits.memory":"64MiB"},"source":{"type":"image","alias":"box"}}')
	[ "$(json '[.metadata.steps[].step] | join(" ")' <<<"$answer")" = "volume cgroup runner" ]
	[ "$(json '.metadata.steps[1].memory_bytes' <<<"$answer")" = 67108864 ]
	[ "$(api_status POST /1.0/berth/plan '{"profiles":["plain"],"config":{"limits.cpu":"999"},"source":{"type":"none"}}')" = 409 ]
	[ "$(api GET /1.0/instances | json '.metadata | length')" = 0 ]
}

@test "a root of its own size, a flavour, an application with environment, user and directory" {
	made c1 '"start":true,"instance_type":"c1-m1","devices":{"root":{"type":"disk","path":"/","pool":"default","size":"64MiB"}},"config":{"environment.A":"b c","oci.entrypoint":"/bin/sh -c '"'pwd; id -u; echo \$A; exec sleep 100'"'","oci.cwd":"/tmp","oci.uid":"65534"}'
	[ "$(inside c1 nproc)" = 1 ]
	run inside c1 dd if=/dev/zero of=/tmp/fill bs=1M count=100
	[ "$status" -ne 0 ]
	eventually 5 sh -c "curl -s --unix-socket $BERTH_DIR/unix.socket http://x/1.0/instances/c1/console | tr -d '\r' | grep -q 'b c'"
	output=$(api GET /1.0/instances/c1/console)
	[[ $output == */tmp*65534*"b c"* ]]
	delete c1
}
