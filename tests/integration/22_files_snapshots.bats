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
teardown() { after_failure c1; }

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

# sftp_hold NAME FILE: the files of a stopped instance are lent until FILE is there.
sftp_hold() {
	python3 - "$BERTH_DIR/unix.socket" "$1" "$2" 3>&- <<'END'
import os, socket, sys, time
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(b"GET /1.0/instances/%s/sftp HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: sftp\r\n\r\n"
    % sys.argv[2].encode())
assert b"101" in s.recv(4096)
s.sendall(b"\0\0\0\5\1\0\0\0\3")
assert s.recv(4096)
open(sys.argv[3] + ".held", "w").close()
end = time.time() + 20
while time.time() < end and not os.path.exists(sys.argv[3]):
    time.sleep(0.02)
END
}

# change NUMBER [HEADER]: of c3; NUMBER.sent is there when it is on its way, the answer in NUMBER.
change() {
	python3 - "$BERTH_DIR/unix.socket" "$BERTH_BASE/$1" "$1" "${2:-}" 3>&- <<'END'
import json, socket, sys
path, file, number, header = sys.argv[1:]
body = json.dumps({"config": {"user.a": number}, "profiles": ["plain"]})
s = socket.socket(socket.AF_UNIX)
s.connect(path)
s.sendall(f"PUT /1.0/instances/c3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    f"{header + chr(13) + chr(10) if header else ''}\r\n{body}".encode())
open(file + ".sent", "w").close()
answer = s.makefile("rb").read()
open(file, "wb").write(answer.split(b"\r\n\r\n", 1)[1])
END
}
# What the daemon is asked now it reads later.
is_sent() { [ -e "$BERTH_BASE/$1.sent" ] && api GET /1.0 >/dev/null; }

@test "what is asked of a stopped instance that lends its files waits in a queue" {
	lxc init box c3 -p plain
	etag=$(curl -sSi --unix-socket "$BERTH_DIR/unix.socket" http://berth/1.0/instances/c3 |
		tr -d '\r' | sed -n 's/^etag: //Ip')
	sftp_hold c3 "$BERTH_BASE/go" &
	eventually 10 test -e "$BERTH_BASE/go.held"
	change 1 &
	eventually 5 is_sent 1
	# It would be the second change of the same object: what this client saw is no more.
	change 2 "If-Match: $etag" &
	eventually 5 is_sent 2
	lxc snapshot c3 s &
	lxc copy c3 c4 &
	echo queued | lxc file push - c3/root/queued &
	lxc start c3 &
	sleep 0.3
	[ "$(api GET /1.0/instances/c3/snapshots | json '.metadata | length')" = 0 ]
	[ "$(lxc list -f csv -c ns c3)" = "c3,STOPPED" ]
	touch "$BERTH_BASE/go"
	wait
	[ "$(json .status_code <"$BERTH_BASE/1")" = 100 ]
	[ "$(json .error_code <"$BERTH_BASE/2")" = 412 ]
	[ "$(lxc config get c3 user.a)" = 1 ]
	[ "$(lxc info c4 | grep -c Stopped)" = 1 ] || lxc info c4
	[ "$(api GET /1.0/instances/c3/snapshots | json '.metadata | length')" = 1 ]
	[ "$(inside c3 cat /root/queued)" = queued ]
	lxc delete -f c3 c4
}

@test "a change, a snapshot, a new name and the end may come right behind each file" {
	lxc init box c3 -p plain
	for i in 1 2 3 4 5 6; do
		echo "$i" | lxc file push - c3/root/f
		lxc config set c3 user.a="$i"
		lxc file pull c3/root/f - >/dev/null
		lxc snapshot c3 "s$i"
		incus file push "$BERTH_BASE/early" c3/root/e
		lxc rename c3 c4
		lxc file pull c4/root/e - >/dev/null
		lxc rename c4 c3
	done
	lxc file pull c3/root/f - >/dev/null
	lxc delete c3
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
	tar tzf "$BERTH_BASE/c1.tar.gz" | grep -q backup/container/rootfs/root/x
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

@test "snapshots go along into the archive and come back: by both clients, stopped and running" {
	lxc init box s1 -p plain -c user.odd=$'tab\tdel\x7f' -s default
	lxc start s1
	inside s1 sh -c 'echo one >/root/word; echo first >/root/only-one'
	lxc snapshot s1 one
	inside s1 sh -c 'echo two >/root/word; rm /root/only-one; mkdir /root/dir; echo d >/root/dir/d'
	lxc config set s1 user.when=two
	lxc snapshot s1 two
	inside s1 sh -c 'echo three >/root/word; rm -r /root/dir'
	lxc config set s1 user.when=three
	# Of a running one; the snapshot that is made for it does not go along.
	lxc export s1 "$BERTH_BASE/running.tar.gz"
	lxc stop -f s1
	incus export s1 "$BERTH_BASE/stopped.tar" --compression none
	[ "$(api GET /1.0/instances/s1/snapshots | json '.metadata | length')" = 2 ]
	lxc delete s1
	local from=lxc archive
	for archive in running.tar.gz stopped.tar; do
		$from import "$BERTH_BASE/$archive" s2
		[ "$(api GET '/1.0/instances/s2/snapshots?recursion=1' | json '[.metadata[].name] | join(" ")')" = "one two" ]
		[ "$(lxc config get s2 user.odd)" = $'tab\tdel\x7f' ]
		lxc start s2
		[ "$(inside s2 cat /root/word)" = three ]
		run inside s2 ls /root/dir /root/only-one
		[ "$status" -ne 0 ]
		lxc restore s2 one
		[ "$(inside s2 cat /root/word /root/only-one | tr '\n' ' ')" = "one first " ]
		[ "$(lxc config get s2 user.when)" = "" ]
		lxc restore s2 two
		[ "$(inside s2 cat /root/word /root/dir/d | tr '\n' ' ')" = "two d " ]
		[ "$(lxc config get s2 user.when)" = two ]
		run inside s2 ls /root/only-one
		[ "$status" -ne 0 ]
		lxc delete -f s2
		from=incus
	done
}

# foreign_archive FILE [YAML...]: as LXD and Incus lay it out, made by hand.
foreign_archive() {
	local file=$1 dir=$BERTH_BASE/foreign
	shift
	rm -rf "$dir"
	mkdir -p "$dir/backup/container/templates" "$dir/backup/container/rootfs" "$dir/backup/snapshots/old/rootfs"
	tar -C "$dir/backup/container" -xf "$BERTH_BASE/image.tar" rootfs
	cp -a "$dir/backup/container/rootfs/." "$dir/backup/snapshots/old/rootfs"
	echo new >"$dir/backup/container/rootfs/etc/age"
	echo old >"$dir/backup/snapshots/old/rootfs/etc/age"
	echo 'I am {{ container.name }}' >"$dir/backup/container/templates/who.tpl"
	printf '%s\n' 'architecture: x86_64' 'creation_date: 1' 'properties: {}' 'templates:' '  /etc/who:' \
		'    when:' '    - start' '    create_only: false' '    template: who.tpl' '    properties: {}' \
		>"$dir/backup/container/metadata.yaml"
	cat >"$dir/backup/index.yaml"
	tar -C "$dir" -cf "$file" backup
	rm -rf "$dir"
}

foreign_index() {
	cat <<-END
		name: foreign
		backend: zfs
		pool: default
		snapshots:
		- ${2:-old}
		optimized: ${1:-false}
		optimized_header: false
		type: container
		config:
		  ${3:-container}:
		    architecture: x86_64
		    config:
		      image.os: Busybox
		      user.age: "1"
		      volatile.eth0.hwaddr: 00:16:3e:00:00:01
		      volatile.last_state.power: STOPPED
		    devices: {}
		    ephemeral: false
		    profiles:
		    - plain
		    stateful: false
		    description: ""
		    created_at: 2024-05-01T10:00:00.123456789Z
		    expanded_config: {}
		    name: foreign
		    status: Stopped
		    status_code: 102
		  snapshots:
		  - architecture: x86_64
		    config:
		      user.age: "0"
		      volatile.uuid: 5f2c
		    created_at: 2024-04-01T10:00:00Z
		    expires_at: 0001-01-01T00:00:00Z
		    devices: {}
		    ephemeral: false
		    profiles:
		    - ${4:-plain}
		    stateful: false
		    name: old
	END
}

@test "an archive of LXD and one of Incus come in with snapshots and templates" {
	local key
	for key in container instance; do
		foreign_index false old $key | foreign_archive "$BERTH_BASE/foreign.tar"
		lxc import "$BERTH_BASE/foreign.tar"
		[ "$(lxc config get foreign user.age)" = 1 ]
		[ "$(api GET /1.0/instances/foreign | json '.metadata.config["volatile.eth0.hwaddr"]')" != 00:16:3e:00:00:01 ]
		[ "$(api GET /1.0/instances/foreign/snapshots/old | json .metadata.created_at)" = 2024-04-01T10:00:00Z ]
		lxc start foreign
		[ "$(inside foreign cat /etc/age /etc/who | tr '\n' ' ')" = "new I am foreign " ]
		lxc restore foreign old
		[ "$(inside foreign cat /etc/age)" = old ]
		[ "$(lxc config get foreign user.age)" = 0 ]
		lxc delete -f foreign
	done
}

@test "an archive that asks for the impossible is refused, and nothing of it is left" {
	local before
	before=$(find "$BERTH_DIR" -path '*foreign*' | wc -l)
	refused() {
		foreign_archive "$BERTH_BASE/foreign.tar"
		run lxc import "$BERTH_BASE/foreign.tar"
		echo "${output: -300}"
		[ "$status" -ne 0 ]
		[[ $output == *"$1"* ]]
		[ "$(api_status GET /1.0/instances/foreign)" = 404 ]
	}
	foreign_index true | refused optimized-storage
	foreign_index false ../../up | refused 'name: "../../up"'
	foreign_index false old containers | refused 'config.container: is missing'
	foreign_index | sed 's/user.age: "0"/limits.cpu: "none"/' | refused limits.cpu
	foreign_index | sed 's/^  snapshots:/  snapshots: {a: [/' | refused 'backup/index.yaml: line'
	foreign_index | sed 's/^- old/- old\n- old/' | refused 'stands there twice'
	[ "$(find "$BERTH_DIR" -path '*foreign*' | wc -l)" = "$before" ]
	[ -z "$(ls "$BERTH_DIR/tmp")" ]
}

@test "killed with -9 while it exports or imports, a daemon leaves no half of either" {
	foreign_index | foreign_archive "$BERTH_BASE/foreign.tar"
	curl -sS --max-time 20 --unix-socket "$BERTH_DIR/unix.socket" -X POST -H 'Content-Type: application/octet-stream' \
		--data-binary "@$BERTH_BASE/foreign.tar" http://berth/1.0/instances >/dev/null
	api POST /1.0/instances/c1/backups '{"name":"cut"}' >/dev/null
	berthd_restart KILL
	# The import is whole or is not there.
	eventually 10 sh -c '[ -z "$(ls "$BERTH_DIR/tmp")" ]'
	if [ "$(api_status GET /1.0/instances/foreign)" = 200 ]; then
		[ "$(api GET /1.0/instances/foreign/snapshots | json '.metadata | length')" = 1 ]
		lxc delete foreign
	fi
	[ "$(api GET /1.0/instances/c1/backups | json '.metadata | length')" = "$(find "$BERTH_DIR/backups" -type f | wc -l)" ]
	[ "$(api_status DELETE /1.0/instances/c1/backups/cut)" != 500 ]
	lxc list -f csv -c n | grep -qx c1
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
	[ "$(api_status POST /1.0/instances/c1/backups '{"name":"d","optimized_storage":true}')" = 400 ]
	head -c 100000 /dev/urandom >"$BERTH_BASE/noise"
	run lxc import "$BERTH_BASE/noise" c8
	[ "$status" -ne 0 ]
	run lxc import "$BERTH_BASE/image.tar" c8
	[ "$status" -ne 0 ]
	[ "$(api_status GET /1.0/instances/c8)" = 404 ]
	[ -z "$(ls "$BERTH_DIR/tmp")" ]
}
