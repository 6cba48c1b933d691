#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The REST API's transport, envelope, ETags, filters, events, operations, profiles, projects, warnings.

load common

setup_file() { berthd_start; }
teardown_file() { berthd_stop; }

@test "GET /1.0 is trusted on the unix socket and says what this server is" {
	answer=$(api GET /1.0)
	[ "$(json .type <<<"$answer")" = sync ]
	[ "$(json .status_code <<<"$answer")" = 200 ]
	[ "$(json .metadata.auth <<<"$answer")" = trusted ]
	[ "$(json .metadata.environment.server <<<"$answer")" = berth ]
	[ "$(json '.metadata.api_extensions | length' <<<"$answer")" -gt 10 ]
}

@test "an unknown address is 404, a wrong method 405, a broken body or query 400" {
	[ "$(api_status GET /1.0/nothing)" = 404 ]
	[ "$(api_status GET /2.0)" = 404 ]
	[ "$(api_status PATCH /1.0/profiles)" = 405 ]
	[ "$(api_status POST /1.0/profiles '{')" = 400 ]
	[ "$(api_status POST /1.0/profiles '[]')" = 400 ]
	[ "$(api_status GET '/1.0/profiles?project=%zz')" = 400 ]
	[ "$(api_status GET '/1.0/profiles?project=none')" = 404 ]
	[ "$(api GET /1.0/nothing | json .type)" = error ]
	[ "$(api GET /1.0/nothing | json .error_code)" = 404 ]
}

@test "a JSON body over 1 MiB is 413, announced or in chunks" {
	head -c 1200000 /dev/zero | tr '\0' ' ' >"$BERTH_BASE/big"
	[ "$(api_status POST /1.0/profiles "@$BERTH_BASE/big")" = 413 ]
	[ "$(api_status POST /1.0/profiles "@$BERTH_BASE/big" -H 'Transfer-Encoding: chunked')" = 413 ]
}

@test "a profile is made, shown, changed, renamed and deleted" {
	[ "$(api_status POST /1.0/profiles '{"name":"p1","config":{"user.a":"1"},"devices":{}}')" = 201 ]
	[ "$(api_status POST /1.0/profiles '{"name":"p1"}')" = 409 ]
	[ "$(api GET /1.0/profiles/p1 | json '.metadata.config["user.a"]')" = 1 ]
	[ "$(api_status PATCH /1.0/profiles/p1 '{"config":{"user.b":"2"}}')" = 200 ]
	[ "$(api GET /1.0/profiles/p1 | json -c '.metadata.config')" = '{"user.a":"1","user.b":"2"}' ]
	[ "$(api_status PUT /1.0/profiles/p1 '{"config":{"user.c":"3"},"devices":{}}')" = 200 ]
	[ "$(api GET /1.0/profiles/p1 | json -c '.metadata.config')" = '{"user.c":"3"}' ]
	[ "$(api_status POST /1.0/profiles/p1 '{"name":"p2"}')" = 201 ]
	[ "$(api_status GET /1.0/profiles/p1)" = 404 ]
	[ "$(api_status DELETE /1.0/profiles/p2)" = 200 ]
	[ "$(api_status DELETE /1.0/profiles/p2)" = 404 ]
	[ "$(api_status DELETE /1.0/profiles/default)" = 403 ]
}

@test "what is wrong in a profile is named by its path and nothing is stored" {
	run api POST /1.0/profiles '{"name":"bad","config":{"user.a":1}}'
	[[ $output == *'config.user.a: a text is wanted, not a number'* ]]
	run api POST /1.0/profiles '{"name":"bad","devices":{"eth0":{"type":null}}}'
	[[ $output == *'devices.eth0.type: a text is wanted, not null'* ]]
	run api POST /1.0/profiles '{"name":"../bad"}'
	[[ $output == *'name: '* ]]
	[ "$(api_status GET /1.0/profiles/bad)" = 404 ]
}

@test "an ETag that is old gives 412, the present one is taken" {
	api POST /1.0/profiles '{"name":"tagged"}'
	tag=$(api GET /1.0/profiles/tagged '' -D - | sed -n 's/^ETag: \(.*\)\r$/\1/ip')
	[ -n "$tag" ]
	[ "$(api_status PUT /1.0/profiles/tagged '{"config":{"user.a":"1"}}' -H "If-Match: $tag")" = 200 ]
	[ "$(api_status PUT /1.0/profiles/tagged '{"config":{"user.a":"2"}}' -H "If-Match: $tag")" = 412 ]
	[ "$(api GET /1.0/profiles/tagged | json '.metadata.config["user.a"]')" = 1 ]
	[ "$(api_status DELETE /1.0/profiles/tagged)" = 200 ]
}

@test "a list is URLs, with recursion objects, with a filter fewer" {
	for name in web1 web2 db; do
		api POST /1.0/profiles "{\"name\":\"$name\",\"config\":{\"user.tier\":\"$name tier\"}}"
	done
	[ "$(api GET /1.0/profiles | json -c .metadata)" = '["/1.0/profiles/db","/1.0/profiles/default","/1.0/profiles/web1","/1.0/profiles/web2"]' ]
	filtered() { api GET "/1.0/profiles?recursion=1&filter=$1" | json -c '[.metadata[].name]'; }
	[ "$(filtered 'name+eq+web.*')" = '["web1","web2"]' ]
	[ "$(filtered 'name+eq+^web')" = '["web1","web2"]' ]
	[ "$(filtered 'config.user.tier+eq+%22db+tier%22')" = '["db"]' ]
	[ "$(filtered 'not+name+eq+db+and+name+ne+default')" = '["web1","web2"]' ]
	[ "$(filtered 'name+eq+db+or+name+eq+web2')" = '["db","web2"]' ]
	[ "$(api_status GET '/1.0/profiles?filter=name+is+db')" = 400 ]
	for name in web1 web2 db; do api DELETE "/1.0/profiles/$name"; done
}

@test "the server's configuration takes user keys and refuses unknown ones" {
	[ "$(api_status PATCH /1.0 '{"config":{"user.site":"here"}}')" = 200 ]
	[ "$(api GET /1.0 | json '.metadata.config["user.site"]')" = here ]
	run api PUT /1.0 '{"config":{"core.nothing":"1"}}'
	[[ $output == *'config.core.nothing: there is no such key'* ]]
	tag=$(api GET /1.0 '' -D - | sed -n 's/^ETag: \(.*\)\r$/\1/ip')
	[ "$(api_status PUT /1.0 '{"config":{}}' -H "If-Match: $tag")" = 200 ]
	[ "$(api_status PUT /1.0 '{"config":{}}' -H "If-Match: $tag")" = 412 ]
}

@test "lxc manages profiles" {
	lxc profile create p1
	lxc profile set p1 user.a b
	lxc profile device add p1 scratch disk source=/tmp path=/mnt
	run lxc profile show p1
	[[ $output == *'user.a: b'* && $output == *'path: /mnt'* ]]
	lxc profile copy p1 p2
	lxc profile rename p2 p3
	run lxc profile list --format csv
	[[ $output == *p1* && $output == *p3* ]]
	lxc profile delete p1
	lxc profile delete p3
	run lxc profile delete default
	[ "$status" -ne 0 ]
}

@test "lxc and incus manage projects, and profiles in them" {
	lxc project create one -c features.images=false
	run incus project list --format csv
	[[ $output == *one* ]]
	incus project set one user.note hello
	[ "$(incus project get one user.note)" = hello ]
	lxc --project one profile create inside
	run lxc --project one profile list --format csv
	[[ $output == *inside* ]]
	run lxc profile list --format csv
	[[ $output != *inside* ]]
	lxc project info one
	lxc project rename one two
	lxc --project two profile show inside
	lxc project delete two
	[ "$(api_status GET /1.0/projects/two)" = 404 ]
	run lxc project delete default
	[ "$status" -ne 0 ]
}

@test "lxc monitor sees lifecycle events of the project that it asks for" {
	lxc monitor --type=lifecycle --format json >"$BERTH_BASE/events" 2>"$BERTH_BASE/events.err" 3>&- &
	pid=$!
	# The monitor says nothing when it is connected, so we go on until it has heard us.
	heard() {
		api PATCH /1.0 '{"config":{"user.ping":"1"}}' >/dev/null
		grep -q config-updated "$BERTH_BASE/events"
	}
	eventually 10 heard
	lxc profile create seen
	lxc profile delete seen
	eventually 10 grep -q profile-deleted "$BERTH_BASE/events"
	kill "$pid"
	grep profile-created "$BERTH_BASE/events" | head -n 1 | json -e '.metadata.source == "/1.0/profiles/seen" and .project == "default" and .type == "lifecycle"'
}

@test "lxc operation list and query answer without operations" {
	lxc operation list
	lxc query /1.0/operations | json -e 'type == "object"'
	[ "$(api_status GET /1.0/operations/00000000-0000-4000-8000-000000000000)" = 404 ]
	[ "$(api_status GET '/1.0/operations/00000000-0000-4000-8000-000000000000/wait?timeout=1')" = 404 ]
}

@test "an operation that is over can be asked for and waited for" {
	api POST /1.0/projects '{"name":"early"}'
	id=$(api POST /1.0/projects/early '{"name":"late"}' | json .operation)
	[ "$(api GET "$id" | json .metadata.status)" = Success ]
	[ "$(api GET "$id/wait?timeout=5" | json .metadata.status_code)" = 200 ]
	[ "$(api_status DELETE "$id")" = 400 ]
	[ "$(api_status GET "$id/websocket?secret=00")" = 400 ]
	[ "$(api_status DELETE /1.0/projects/late)" = 200 ]
	# It is kept 5 s for clients that ask once more, and then forgotten.
	gone() { [ "$(api_status GET "$id")" = 404 ]; }
	eventually 8 gone
}

@test "everything is there after a restart and after a kill" {
	lxc profile create kept
	berthd_restart TERM
	lxc profile show kept
	berthd_restart KILL
	lxc profile show kept
	lxc profile delete kept
}

@test "a second daemon on the same directory is refused and harms nothing" {
	run "$BERTHD" --dir "$BERTH_DIR"
	[ "$status" -eq 1 ]
	[[ $output == *'another berthd serves this directory'* ]]
	[ "$(api_status GET /1.0)" = 200 ]
}

@test "who is neither root nor in the group can't connect" {
	run setpriv --reuid 65534 --regid 65534 --clear-groups \
		curl -sS --unix-socket "$BERTH_DIR/unix.socket" http://berth/1.0
	[ "$status" -ne 0 ]
	[ "$(stat -c %a "$BERTH_DIR/unix.socket")" = 660 ]
}

@test "lxc lists warnings and trusted clients, of which there are none" {
	lxc warning list
	lxc config trust list
	[ "$(api GET /1.0/warnings | json -c .metadata)" = '[]' ]
	[ "$(api_status GET /1.0/warnings/00000000-0000-4000-8000-000000000000)" = 404 ]
	[ "$(api_status POST /1.0/certificates '{"name":"x"}')" = 400 ]
}

@test "lxc info shows the host's resources as /proc has them" {
	run lxc info --resources
	[ "$status" -eq 0 ]
	[[ $output == *'CPU'* && $output == *'Memory'* ]]
	resources=$(api GET /1.0/resources | json .metadata)
	[ "$(json .cpu.total <<<"$resources")" = "$(getconf _NPROCESSORS_ONLN)" ]
	[ "$(json '[.cpu.sockets[].cores[].threads[]] | length' <<<"$resources")" = "$(getconf _NPROCESSORS_ONLN)" ]
	[ "$(json .memory.total <<<"$resources")" = "$(($(awk '/^MemTotal/ { print $2 }' /proc/meminfo) * 1024))" ]
	incus info --resources
}

@test "metrics are OpenMetrics text" {
	answer=$(api GET /1.0/metrics)
	[[ $answer == *'# TYPE berth_resident_bytes gauge'* ]]
	[ "$(tail -n 1 <<<"$answer")" = '# EOF' ]
}

@test "the doctor tells each check with a status, by the API and without a daemon" {
	api GET /1.0/berth/doctor | json -e '.metadata | length > 10 and all(.status == "ok" or .status == "degraded" or .status == "missing")'
	run "$BERTHD" --doctor --dir "$BERTH_DIR"
	[[ $output == *'id-mapped mounts'* ]]
}

@test "500 clients at once that come and vanish leave no descriptor behind" {
	pid=$(berthd_pid)
	api GET /1.0 >/dev/null
	before=$(ls "/proc/$pid/fd" | wc -l)
	python3 - "$BERTH_DIR/unix.socket" <<'PY'
import socket, sys

parts = [b"", b"G", b"GET /1.0 HTTP/1.1\r\nHost: x\r\n", b"GET /1.0 HTTP/1.1\r\nHost: x\r\n\r\n",
         b"POST /1.0/profiles HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
         b"GET /1.0/events HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
         b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"]
sockets = []
for i in range(500):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    s.sendall(parts[i % len(parts)])
    sockets.append(s)
for s in sockets:
    s.close()
PY
	none_left() { [ "$(ls "/proc/$pid/fd" | wc -l)" -le "$before" ]; }
	eventually 10 none_left
	[ "$(api_status GET /1.0)" = 200 ]
}

@test "a socket that systemd passes is served, and stays when the daemon ends" {
	mkdir "$BERTH_BASE/passed"
	timeout 20 python3 - "$BERTHD" "$BERTH_BASE/passed" 3>&- <<'PY'
import os, socket, sys, time

berthd, base = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX)
listener.bind(base + "/socket")
listener.listen(8)
pid = os.fork()
if pid == 0:
    # The port's descriptor may be 3 already; then dup2 would keep it close-on-exec.
    fd = os.dup(listener.fileno())
    os.dup2(fd, 3)
    os.set_inheritable(3, True)
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
    os.execv(berthd, [berthd, "--dir", base + "/d"])
client = socket.socket(socket.AF_UNIX)
client.connect(base + "/socket")
client.sendall(b"GET /1.0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
answer = b""
while block := client.recv(65536):
    answer += block
assert b'"auth":"trusted"' in answer, answer
os.kill(pid, 15)
assert os.waitpid(pid, 0)[1] == 0
assert not os.path.exists(base + "/d/unix.socket")
# What connects now waits for the next daemon.
client = socket.socket(socket.AF_UNIX)
client.connect(base + "/socket")
PY
}

@test "a websocket is kept alive by pings, and a secret that is wrong opens nothing" {
	timeout 30 python3 - "$BERTH_DIR/unix.socket" <<'PY'
import socket, sys

client = socket.socket(socket.AF_UNIX)
client.settimeout(15)
client.connect(sys.argv[1])
client.sendall(b"GET /1.0/events?type=operation HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
               b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
               b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
got = b""
while b"keepalive" not in got:
    block = client.recv(4096)
    assert block, got
    got += block
assert b"101 Switching Protocols" in got
assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in got
assert got.endswith(b"\x89\x09keepalive"), got
PY
	api POST /1.0/projects '{"name":"early2"}'
	id=$(api POST /1.0/projects/early2 '{"name":"late2"}' | json .operation)
	[ "$(api_status GET "$id/websocket?secret=00" '' -H 'Connection: Upgrade' -H 'Upgrade: websocket' \
		-H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==')" = 403 ]
	api DELETE /1.0/projects/late2
}

@test "members of the group are trusted, others are not" {
	berthd_end
	berthd_run --group daemon
	gid=$(getent group daemon | cut -d: -f3)
	setpriv --reuid 65534 --regid 65534 --groups "$gid" \
		curl -sS --unix-socket "$BERTH_DIR/unix.socket" http://berth/1.0 | json -e '.metadata.auth == "trusted"'
	# Even where the file lets everybody in.
	chmod 666 "$BERTH_DIR/unix.socket"
	[ "$(setpriv --reuid 65534 --regid 65534 --clear-groups \
		curl -sS --unix-socket "$BERTH_DIR/unix.socket" http://berth/1.0 | json -r .metadata.auth)" = untrusted ]
	[ "$(setpriv --reuid 65534 --regid 65534 --clear-groups \
		curl -sS --unix-socket "$BERTH_DIR/unix.socket" http://berth/1.0/instances | json .error_code)" = 403 ]
	berthd_restart
	run "$BERTHD" --dir "$BERTH_BASE/other" --group no-such-group
	[ "$status" -ne 0 ]
	[[ $output == *'there is no such group'* ]]
}
