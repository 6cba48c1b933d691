#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Files pushed and pulled by both clients, running or not; links that point at the host; snapshots, restored, copied,
# renamed, expired; images made of instances.

load common
load image

setup_file() {
	berthd_start || return 1
	busybox_image "$BERTH_BASE/image.tar"
	lxc image import "$BERTH_BASE/image.tar" --alias box
	api POST /1.0/profiles '{"name":"plain","devices":{"root":{"type":"disk","path":"/","pool":"default"}}}'
	lxc launch box c1 -p plain
}
teardown_file() { berthd_stop; }

inside() {
	local name=$1
	shift
	lxc exec "$name" -- "$@"
}

@test "lxc pushes and pulls a file with its mode and owner" {
	head -c 3000000 /dev/urandom >"$BERTH_BASE/f"
	lxc file push "$BERTH_BASE/f" c1/root/f --mode 0640 --uid 5 --gid 6
	[ "$(inside c1 stat -c '%a %u %g' /root/f)" = "640 5 6" ]
	lxc file pull c1/root/f "$BERTH_BASE/back"
	cmp "$BERTH_BASE/f" "$BERTH_BASE/back"
	lxc file delete c1/root/f
	run inside c1 ls /root/f
	[ "$status" -ne 0 ]
}

@test "lxc pushes and pulls trees" {
	mkdir -p "$BERTH_BASE/t/a/b"
	echo one >"$BERTH_BASE/t/a/one"
	echo two >"$BERTH_BASE/t/a/b/two"
	ln -s one "$BERTH_BASE/t/a/link"
	lxc file push -r "$BERTH_BASE/t" c1/root/
	[ "$(inside c1 cat /root/t/a/b/two)" = two ]
	[ "$(inside c1 readlink /root/t/a/link)" = one ]
	lxc file pull -r c1/root/t "$BERTH_BASE/t2"
	diff -r "$BERTH_BASE/t" "$BERTH_BASE/t2/t"
	lxc file push -p "$BERTH_BASE/t/a/one" c1/root/new/deep/one
	[ "$(inside c1 cat /root/new/deep/one)" = one ]
}

@test "incus pushes, pulls and deletes by SFTP" {
	mkdir -p "$BERTH_BASE/s/a"
	head -c 3000000 /dev/urandom >"$BERTH_BASE/s/a/blob"
	incus file push -r "$BERTH_BASE/s" c1/tmp/
	incus file pull c1/tmp/s/a/blob "$BERTH_BASE/blob2"
	cmp "$BERTH_BASE/s/a/blob" "$BERTH_BASE/blob2"
	incus file delete c1/tmp/s/a/blob
	run inside c1 ls /tmp/s/a/blob
	[ "$status" -ne 0 ]
}

@test "a stopped instance lends its files, too, and starts right after" {
	lxc init box c2 -p plain
	echo early >"$BERTH_BASE/early"
	lxc file push "$BERTH_BASE/early" c2/root/early
	incus file push "$BERTH_BASE/early" c2/root/early2
	[ "$(lxc file pull c2/root/early2 -)" = early ]
	lxc start c2
	[ "$(inside c2 cat /root/early /root/early2)" = "early
early" ]
	lxc delete -f c2
}

@test "links in an instance lead nowhere but into it" {
	echo host >"$BERTH_BASE/host-file"
	inside c1 ln -s "$BERTH_BASE/host-file" /root/abs
	inside c1 ln -s "../../../../../../..$BERTH_BASE/host-file" /root/rel
	inside c1 ln -s / /root/top
	for path in /root/abs /root/rel; do
		[ "$(api_status GET "/1.0/instances/c1/files?path=$path")" = 200 ]
		[ "$(api GET "/1.0/instances/c1/files?path=$path")" != host ]
	done
	[ "$(api_status GET "/1.0/instances/c1/files?path=/root/top/$BERTH_BASE/host-file")" = 404 ]
	[ "$(api_status GET "/1.0/instances/c1/files?path=/../../..$BERTH_BASE/host-file")" = 404 ]
	echo evil | api POST "/1.0/instances/c1/files?path=/root/abs" '' -H 'X-LXD-type: file' -H 'Content-Type: application/octet-stream' --data-binary @- >/dev/null
	[ "$(cat "$BERTH_BASE/host-file")" = host ]
	api DELETE "/1.0/instances/c1/files?path=/root/abs" >/dev/null
	[ "$(cat "$BERTH_BASE/host-file")" = host ]
}

@test "headers of both families; a directory is a list; wrong ones are refused" {
	run curl -si --unix-socket "$BERTH_DIR/unix.socket" 'http://x/1.0/instances/c1/files?path=/etc'
	[[ $output == *"X-LXD-type: directory"* && $output == *"X-Incus-type: directory"* && $output == *passwd* ]]
	[ "$(api_status GET '/1.0/instances/c1/files?path=/none')" = 404 ]
	[ "$(api_status GET '/1.0/instances/c1/files')" = 400 ]
	[ "$(api_status POST '/1.0/instances/c1/files?path=/x' '' -H 'X-LXD-type: socket' -H 'Content-Type: application/octet-stream' --data-binary x)" = 400 ]
	[ "$(api_status POST '/1.0/instances/c1/files?path=/x' '' -H 'X-LXD-mode: 99999' -H 'Content-Type: application/octet-stream' --data-binary x)" = 400 ]
	[ "$(api_status POST '/1.0/instances/c1/files?path=/x' '' -H 'X-LXD-uid: -1' -H 'Content-Type: application/octet-stream' --data-binary x)" = 400 ]
	[ "$(api_status POST '/1.0/instances/c1/files?path=/x' '' -H 'X-LXD-write: wipe' -H 'Content-Type: application/octet-stream' --data-binary x)" = 400 ]
	[ "$(api_status DELETE '/1.0/instances/c1/files?path=/etc')" -ge 400 ]
	[ "$(api_status GET '/1.0/instances/c1/sftp')" = 400 ]
	api POST '/1.0/instances/c1/files?path=/root/app' '' -H 'Content-Type: application/octet-stream' --data-binary one >/dev/null
	api POST '/1.0/instances/c1/files?path=/root/app' '' -H 'X-LXD-write: append' -H 'Content-Type: application/octet-stream' --data-binary two >/dev/null
	[ "$(api GET '/1.0/instances/c1/files?path=/root/app')" = onetwo ]
}

@test "a snapshot is taken, listed, restored, copied, renamed, deleted" {
	inside c1 sh -c 'echo before >/root/s'
	lxc snapshot c1 one
	inside c1 sh -c 'echo after >/root/s'
	lxc snapshot c1
	[ "$(api GET /1.0/instances/c1/snapshots | json '.metadata | length')" = 2 ]
	lxc restore c1 one
	[ "$(inside c1 cat /root/s)" = before ]
	lxc copy c1/snap0 c3
	lxc start c3
	[ "$(inside c3 cat /root/s)" = after ]
	lxc delete -f c3
	lxc rename c1/one c1/uno
	[ "$(api_status GET /1.0/instances/c1/snapshots/one)" = 404 ]
	[ "$(api GET /1.0/instances/c1/snapshots/uno | json .metadata.name)" = uno ]
	lxc delete c1/uno
	lxc delete c1/snap0
	[ "$(api GET /1.0/instances/c1/snapshots | json '.metadata | length')" = 0 ]
}

@test "snapshots' names are checked; incus finds the name of a new one" {
	[ "$(api_status POST /1.0/instances/c1/snapshots '{"name":"a/b"}')" = 400 ]
	[ "$(api_status POST /1.0/instances/c1/snapshots '{"name":".."}')" = 400 ]
	[ "$(api_status POST /1.0/instances/c1/snapshots '{"name":"x","stateful":true}')" = 400 ]
	[ "$(api_status PUT /1.0/instances/c1 '{"restore":"none"}')" = 404 ]
	answer=$(api_wait POST /1.0/instances/c1/snapshots '{"name":""}')
	[ "$(json '.resources.instances_snapshots[0]' <<<"$answer")" = /1.0/instances/c1/snapshots/snap0 ]
	[ "$(api_status POST /1.0/instances/c1/snapshots '{"name":"snap0"}')" = 409 ]
	incus snapshot delete c1 snap0
}

@test "a copy of an instance has its snapshots, with --instance-only it has none" {
	lxc snapshot c1 kept
	lxc copy c1 c4
	[ "$(api GET /1.0/instances/c4/snapshots | json '.metadata[0]')" = /1.0/instances/c4/snapshots/kept ]
	lxc restore c4 kept
	lxc copy c1 c5 --instance-only
	[ "$(api GET /1.0/instances/c5/snapshots | json '.metadata | length')" = 0 ]
	lxc delete c4
	lxc delete c5
	lxc delete c1/kept
}

@test "a snapshot's expiry comes from the config or the request" {
	lxc config set c1 snapshots.expiry 2d
	lxc snapshot c1 e
	[[ "$(api GET /1.0/instances/c1/snapshots/e | json .metadata.expires_at)" > "$(date -u +%Y-%m-%dT%H -d '+1 day')" ]]
	lxc config unset c1 snapshots.expiry
	lxc delete c1/e
	lxc config set c1 snapshots.expiry soon
	[ "$(api_status POST /1.0/instances/c1/snapshots '{"name":"f"}')" = 400 ]
	lxc config unset c1 snapshots.expiry
}

@test "snapshots and instances survive the daemon" {
	lxc snapshot c1 late
	berthd_restart KILL
	[ "$(api GET /1.0/instances/c1/snapshots | json '.metadata | length')" = 1 ]
	lxc restore c1 late
	lxc delete c1/late
}

@test "an image is made of a stopped instance and starts" {
	inside c1 sh -c 'echo baked >/root/baked'
	lxc stop -f c1
	lxc publish c1 --alias baked
	lxc start c1
	lxc launch baked c6 -p plain
	[ "$(inside c6 cat /root/baked)" = baked ]
	lxc delete -f c6
	lxc image delete baked
}

@test "an instance goes into an archive and comes back, running or not, by both clients" {
	inside c1 sh -c 'echo exported >/root/x'
	lxc export c1 "$BERTH_BASE/c1.tar.gz" --instance-only
	tar tzf "$BERTH_BASE/c1.tar.gz" | grep -q backup/container/root/x
	lxc import "$BERTH_BASE/c1.tar.gz" c7
	lxc start c7
	[ "$(inside c7 cat /root/x)" = exported ]
	[ "$(api GET /1.0/instances/c7 | json '.metadata.config["volatile.idmap.base"]')" != \
		"$(api GET /1.0/instances/c1 | json '.metadata.config["volatile.idmap.base"]')" ]
	lxc stop -f c7
	incus export c7 "$BERTH_BASE/c7.tar" --instance-only --compression none
	lxc delete c7
	incus import "$BERTH_BASE/c7.tar"
	[ "$(api GET /1.0/instances/c7 | json .metadata.status)" = Stopped ]
	lxc delete c7
	[ "$(api GET /1.0/instances/c1/snapshots | json '.metadata | length')" = 0 ]
	[ "$(api GET /1.0/instances/c1/backups | json '.metadata | length')" = 0 ]
}

@test "backups are kept, renamed, deleted; what is no archive is refused and leaves nothing" {
	api_wait POST /1.0/instances/c1/backups '{"name":"b","instance_only":true,"compression_algorithm":"zstd"}'
	[ "$(api_status POST /1.0/instances/c1/backups '{"name":"b"}')" = 409 ]
	[ "$(api_status POST /1.0/instances/c1/backups '{"compression_algorithm":"rar"}')" = 400 ]
	[ "$(api_status POST /1.0/instances/c1/backups '{"name":"../b"}')" = 400 ]
	[ "$(api GET /1.0/instances/c1/backups/b | json .metadata.name)" = b ]
	api_wait POST /1.0/instances/c1/backups/b '{"name":"c"}'
	[ "$(api_status GET /1.0/instances/c1/backups/b)" = 404 ]
	[ "$(api_status GET /1.0/instances/c1/backups/c/export)" = 200 ]
	api_wait DELETE /1.0/instances/c1/backups/c
	lxc snapshot c1 s
	[ "$(api_status POST /1.0/instances/c1/backups '{"name":"d"}')" = 400 ]
	lxc delete c1/s
	head -c 100000 /dev/urandom >"$BERTH_BASE/noise"
	run lxc import "$BERTH_BASE/noise" c8
	[ "$status" -ne 0 ]
	run lxc import "$BERTH_BASE/image.tar" c8
	[ "$status" -ne 0 ]
	[ "$(api_status GET /1.0/instances/c8)" = 404 ]
	[ -z "$(ls "$BERTH_DIR/tmp")" ]
}
