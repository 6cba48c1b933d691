#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# exec and console: exit codes, streams apart, terminals, signals, bulk, many at once.

load common
load image

setup_file() {
	berthd_start || return 1
	busybox_image "$BERTH_BASE/image.tar"
	lxc image import "$BERTH_BASE/image.tar" --alias box
	api POST /1.0/profiles '{"name":"plain","devices":{"root":{"type":"disk","path":"/","pool":"default"}}}'
	lxc launch box c1 -p plain
	# Nobody connects to its sockets; a test further down looks at what came of it.
	api POST /1.0/instances/c1/exec '{"command":["true"],"wait-for-websocket":true}' | json .operation >"$BERTH_BASE/lonely"
	api GET "$(cat "$BERTH_BASE/lonely")/wait?timeout=300" '' --max-time 300 >"$BERTH_BASE/lonely-end" 3>&- &
}
teardown_file() { berthd_stop; }
teardown() { after_failure c1; }

@test "exit codes: its own, 127 for no command, 126 for no program, 128+n for a signal" {
	run lxc exec c1 -- sh -c 'exit 7'
	[ "$status" = 7 ]
	status=0
	lxc exec c1 -- nosuch || status=$?
	[ "$status" = 127 ]
	run lxc exec c1 -- /etc/passwd
	[ "$status" = 126 ]
	run lxc exec c1 -- sh -c 'kill -9 $$'
	[ "$status" = 137 ]
	run incus exec c1 -- sh -c 'exit 3'
	[ "$status" = 3 ]
}

@test "stdout and stderr come apart, stdin ends" {
	lxc exec c1 -- sh -c 'echo out; echo err >&2' >"$BERTH_BASE/out" 2>"$BERTH_BASE/err"
	[ "$(cat "$BERTH_BASE/out")" = out ]
	[ "$(cat "$BERTH_BASE/err")" = err ]
	[ "$(printf 'a\nb\n' | lxc exec c1 -- wc -l)" = 2 ]
}

@test "user, group, directory and environment" {
	[ "$(lxc exec c1 --user 65534 --group 65534 -- id -u)" = 65534 ]
	[ "$(lxc exec c1 --cwd /tmp -- pwd)" = /tmp ]
	[ "$(lxc exec c1 --env A='b c' -- sh -c 'echo "$A"')" = "b c" ]
	[ "$(lxc exec c1 -- sh -c 'echo "$HOME"')" = /root ]
	run lxc exec c1 --cwd /nowhere -- true
	[ "$status" -eq 126 ]
	[[ $output == *"working directory /nowhere"* ]]
}

@test "a terminal has the size that was asked for" {
	run script -qec 'stty cols 100 rows 30; lxc exec c1 -t -- stty size' /dev/null
	[[ $output == *"30 100"* ]]
}

@test "100 MB go in and come out as they were" {
	head -c 100000000 /dev/urandom >"$BERTH_BASE/blob"
	[ "$(lxc exec c1 -- sha256sum <"$BERTH_BASE/blob" | cut -c1-64)" = "$(sha256sum <"$BERTH_BASE/blob" | cut -c1-64)" ]
	[ "$(lxc exec c1 -- cat <"$BERTH_BASE/blob" | sha256sum)" = "$(sha256sum <"$BERTH_BASE/blob")" ]
	rm "$BERTH_BASE/blob"
}

@test "ten at once do not mix" {
	for i in $(seq 10); do
		(lxc exec c1 -- sh -c "sleep 0.2; echo $i" >"$BERTH_BASE/o$i" 3>&-) &
	done
	wait $(jobs -p)
	for i in $(seq 10); do
		[ "$(cat "$BERTH_BASE/o$i")" = "$i" ]
	done
}

@test "output is recorded, listed, read and deleted" {
	id=$(api_wait POST /1.0/instances/c1/exec '{"command":["sh","-c","echo out; echo err >&2; exit 5"],"record-output":true}')
	[ "$(json .metadata.return <<<"$id")" = 5 ]
	out=$(json '.metadata.output["1"]' <<<"$id")
	[ "$(api GET "$out")" = out ]
	[ "$(api GET "$(json '.metadata.output["2"]' <<<"$id")")" = err ]
	[ "$(api GET /1.0/instances/c1/logs/exec-output | json '.metadata | length')" = 2 ]
	[ "$(api_status DELETE "$out")" = 200 ]
	[ "$(api_status GET "$out")" = 404 ]
	[ "$(api_status GET /1.0/instances/c1/logs/exec-output/..%2fplan.json)" = 400 ]
	[ "$(api_status GET /1.0/instances/c1/logs/plan.json)" = 404 ]
}

# The stock clients tell the size of a terminal that the program does not have.
@test "what a program cannot be asked for does not end it" {
	answer=$(api POST /1.0/instances/c1/exec '{"command":["sh","-c","read line; exit 3"],"wait-for-websocket":true}')
	id=$(json .operation <<<"$answer")
	SECRETS=$(json .metadata.metadata.fds <<<"$answer") python3 - "$BERTH_DIR/unix.socket" "$id" <<'END'
import json, os, socket, sys, time
path, id = sys.argv[1:]
def frame(opcode, data):
    return bytes([0x80 | opcode, 0x80 | len(data)]) + bytes(4) + data
sockets = {}
for name, secret in sorted(json.loads(os.environ["SECRETS"]).items(), reverse=True):
    s = sockets[name] = socket.socket(socket.AF_UNIX)
    s.connect(path)
    s.sendall(f"GET {id}/websocket?secret={secret} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
              "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        byte = s.recv(1)
        assert byte, answer
        answer += byte
    assert answer.startswith(b"HTTP/1.1 101"), answer
size = {"command": "window-resize", "args": {"width": "100", "height": "30"}}
sockets["control"].sendall(frame(1, json.dumps(size).encode()))
time.sleep(0.3)
sockets["0"].sendall(frame(2, b"go\n"))
output = b""
while output[-4:-3] != b"\x88":  # the end of its output
    block = sockets["1"].recv(4096)
    assert block, output
    output += block
END
	[ "$(api GET "$id/wait" | json .metadata.metadata.return)" = 3 ]
}

@test "what is wrong is refused" {
	[ "$(api_status POST /1.0/instances/c1/exec '{}')" = 400 ]
	[ "$(api_status POST /1.0/instances/c1/exec '{"command":"ls"}')" = 400 ]
	[ "$(api_status POST /1.0/instances/c1/exec '{"command":["ls"],"user":70000}')" = 400 ]
	[ "$(api_status POST /1.0/instances/c1/exec '{"command":["ls"],"cwd":"x"}')" = 400 ]
	[ "$(api_status POST /1.0/instances/c1/exec '{"command":["ls"],"interactive":true}')" = 400 ]
	[ "$(api_status POST /1.0/instances/nope/exec '{"command":["ls"]}')" = 404 ]
}

@test "sockets that nobody connects end the operation" {
	answer=$(api POST /1.0/instances/c1/exec '{"command":["true"],"wait-for-websocket":true}')
	operation=$(json .operation <<<"$answer")
	[ "$(api_status GET "$operation/websocket?secret=wrong" '' -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==')" = 403 ]
	eventually 40 test -s "$BERTH_BASE/lonely-end"
	[ "$(json .metadata.status <"$BERTH_BASE/lonely-end")" = Failure ]
}

@test "a command that floods a client which does not read is held up, not kept in memory" {
	local before after pids=() i
	resident() { awk '/^VmRSS/ { print $2 }' "/proc/$(berthd_pid)/status"; }
	before=$(resident)
	for i in 1 2 3; do
		(lxc exec c1 -- sh -c 'cat /dev/zero' 3>&- | sleep 3) &
		pids+=($!)
	done
	sleep 2
	after=$(resident)
	wait "${pids[@]}" || true
	echo "berthd: $before kB, then $after kB"
	[ $((after - before)) -lt $((3 * 6 * 1024)) ]
}

@test "a command that goes on is killed with its client" {
	(exec timeout -s KILL 1 lxc exec c1 -- sleep 4321 3>&-) || true
	eventually 5 sh -c "! lxc exec c1 -- ps | grep -q 4321"
}

@test "the console shows what was written, and forgets it" {
	eventually 5 sh -c "lxc console c1 --show-log | grep -q 'console of c1'"
	[ "$(api_status DELETE /1.0/instances/c1/console)" = 200 ]
	[ -z "$(api GET /1.0/instances/c1/console)" ]
	[ "$(api_status POST /1.0/instances/c1/console '{"type":"vga"}')" = 400 ]
}

@test "metadata comes from the image" {
	[ "$(api GET /1.0/instances/c1/metadata | json .metadata.properties.os)" = busybox ]
	[ "$(api_status PUT /1.0/instances/c1/metadata '{"templates":{"relative":{"template":"x"}}}')" = 400 ]
}
