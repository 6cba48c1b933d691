#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Plays berthd for a container's runner, by hand: what 30_runtime.bats drives.

usage: runner.py start DIR                   DIR has plan.json; prints the runner's pid and state
       runner.py state DIR                   asks the runner as a restarted daemon would
       runner.py signal DIR NUMBER | stop DIR
       runner.py log DIR                     prints the console's last output
       runner.py type DIR TEXT [UNTIL]       types into the console; what it shows, up to UNTIL
       runner.py resize DIR COLUMNS ROWS
       runner.py exec DIR [-t] [-u USER] [-w CWD] [-s SIGNAL] [-r COLUMNSxROWS] PROGRAM [ARGUMENT...]
       runner.py files [--stopped] DIR stat|get|put|mkdir|mkdirs|symlink|delete|delete-all|change PATH [TARGET]
                                             options of put, mkdir, change: MODE UID GID behind PATH
       runner.py sftp DIR                    an SFTP server on standard input and output
"""
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time

PROGRAM = os.environ.get("BERTH_CONTAINER", "berth-container")
HELLO, SIGNAL, STOP, ATTACH, RESIZE, LOG = 1, 2, 3, 4, 5, 6
STATE, EVENT, DONE, ERROR, LOG_ANSWER = 64, 65, 66, 67, 6
HEADER = struct.Struct("<IHHII")
STATE_BODY = struct.Struct("<IiiIQQQ")


def message(kind, body=b"", serial=1):
    return HEADER.pack(HEADER.size + len(body), 1, kind, serial, 0) + body


def receive(channel):
    try:
        data, fds, _, _ = socket.recv_fds(channel, 65536, 4)
    except ConnectionResetError:
        return None, None, []
    if not data:
        return None, None, fds
    return HEADER.unpack(data[:HEADER.size])[2], data[HEADER.size:], fds


def fail(body):
    code, _ = struct.unpack("<iI", body[:8])
    sys.exit(f"error {code}: {body[8:].split(bytes(1))[0].decode()}")


def state_of(body):
    status, pid, wait_status, oom, started, ended, took = STATE_BODY.unpack(body)
    name = {1: "starting", 2: "running", 3: "paused", 4: "exited"}[status]
    return dict(status=name, pid=pid, wait_status=wait_status, oom_kills=oom,
                start_took_us=took // 1000)


def connect(directory):
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    os.chdir(directory)
    channel.connect("control")
    return channel


def ask(channel, kind, body=b"", fds=()):
    """Sends a request; the answer's kind, body and descriptors. Events in between are printed."""
    socket.send_fds(channel, [message(kind, body)], list(fds))
    while True:
        kind, body, got = receive(channel)
        if kind is None:
            sys.exit("the runner has gone")
        if kind == ERROR:
            fail(body)
        if kind == EVENT:
            print("event", *struct.unpack("<IIQ", body))
            continue
        return kind, body, got


def spawn(arguments, named, **more):
    fds = list(named.items())
    environment = dict(os.environ)
    numbers = []
    # The numbers are ours, for python passes descriptors on under those they have.
    for name, fd in fds:
        os.set_inheritable(fd, True)
        numbers.append(f"{name}={fd}")
    environment["BERTH_FDS"] = ",".join(numbers)
    return subprocess.Popen([PROGRAM] + arguments, env=environment,
                            pass_fds=[fd for _, fd in fds], **more)


def start(directory):
    os.chdir(directory)
    if os.path.exists("control"):
        os.unlink("control")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind("control")
    listener.listen(8)
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel.connect("control")
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    with open("runner.log", "ab") as log:
        runner = spawn(["run", "plan.json"], {"control": listener.fileno(), "dir": folder},
                       stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    _, body, _ = ask(channel, HELLO)
    print(runner.pid, json.dumps(state_of(body)))


def execute(directory, arguments):
    terminal, user, cwd, signal, size = False, "0:0", None, None, None
    while arguments and arguments[0].startswith("-"):
        option = arguments.pop(0)
        if option == "-t":
            terminal = True
        else:
            value = arguments.pop(0)
            if option == "-u":
                user = value
            elif option == "-w":
                cwd = value
            elif option == "-s":
                signal = int(value)
            elif option == "-r":
                size = [int(part) for part in value.split("x")]
    channel = connect(directory)
    _, body, fds = ask(channel, HELLO)
    if not fds:
        sys.exit("the container does not run")
    request = {"args": arguments, "environment": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "TERM=dumb"],
               "user": user, "terminal": terminal}
    if cwd:
        request["cwd"] = cwd
    memory = os.memfd_create("request")
    os.write(memory, json.dumps(request).encode())
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    named = {"channel": theirs.fileno(), "pidfd": fds[0], "dir": folder, "request": memory}
    if terminal:
        near, far = socket.socketpair()
        named["console"] = far.fileno()
    else:
        named |= {"stdin": 0, "stdout": 1, "stderr": 2}
        # Numbers from 3 on are wanted.
        for name in ("stdin", "stdout", "stderr"):
            named[name] = os.dup(named[name])
    began = time.monotonic()
    helper = spawn(["exec"], named)
    theirs.close()
    if terminal:
        far.close()
    status = None
    sources = [ours] + ([near, 0] if terminal else [])
    while sources:
        ready, _, _ = select.select(sources, [], [], 60)
        if not ready:
            sys.exit("nothing came for a minute")
        for source in ready:
            if terminal and source is near:
                data = near.recv(65536)
                if not data:
                    sources.remove(near)
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
            elif source == 0:
                data = os.read(0, 4096)
                if data:
                    near.sendall(data)
                else:
                    sources.remove(0)
            else:
                kind, body, _ = receive(ours)
                if kind is None:
                    sources.clear() if not terminal else sources.remove(ours)
                    if 0 in sources:
                        sources.remove(0)
                elif kind == ERROR:
                    fail(body)
                elif kind == STATE:
                    state = state_of(body)
                    if state["status"] == "exited":
                        status = state["wait_status"]
                    else:
                        if os.environ.get("TIME"):
                            print(f"{(time.monotonic() - began) * 1e6:.0f} us", file=sys.stderr)
                        if signal:
                            ours.send(message(SIGNAL, struct.pack("<Q", signal)))
                        if size:
                            ours.send(message(RESIZE, struct.pack("<HHI", *size, 0)))
    helper.wait()
    if status is None:
        sys.exit("the helper has gone")
    sys.exit(os.waitstatus_to_exitcode(status) if status & 127 == 0 else 128 + (status & 127))


FILES = ["ready", "stat", "get", "put", "mkdir", "symlink", "delete", "change", "sftp", "done"]
KEEP = 0xffffffff


def files_helper(directory, is_stopped):
    named = {}
    if is_stopped:
        os.chdir(directory)
    else:
        _, _, fds = ask(connect(directory), HELLO)
        named["pidfd"] = fds[0]
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    named |= {"channel": theirs.fileno(), "dir": os.open(".", os.O_RDONLY | os.O_DIRECTORY)}
    helper = spawn(["files"], named)
    theirs.close()
    kind, body, _ = receive(ours)
    if kind == ERROR:
        fail(body)
    return helper, ours


def files(arguments):
    is_stopped = arguments[0] == "--stopped"
    directory, operation, path, *rest = arguments[is_stopped:]
    helper, channel = files_helper(directory, is_stopped)
    flags = {"delete-all": 4, "mkdirs": 2, "append": 1}.get(operation, 0)
    operation = {"delete-all": "delete", "mkdirs": "mkdir", "append": "put"}.get(operation, operation)
    text = path.encode() + b"\0"
    owner = [KEEP] * 3
    if operation == "symlink":
        text += rest[0].encode() + b"\0"
    elif rest:
        owner = [int(rest[0], 8)] + [int(word) for word in rest[1:]]
        owner += [KEEP] * (3 - len(owner))
    fds = {"get": [1], "put": [0]}.get(operation, [])
    body = struct.pack("<IIIIQ", flags, *owner, 0) + text
    kind = 128 + FILES.index(operation)
    socket.send_fds(channel, [message(kind, body, 7)], fds)
    kind, body, _ = receive(channel)
    if kind == ERROR:
        fail(body)
    mode, uid, gid, _, size, _ = struct.unpack("<IIIIQQ", body)
    if operation in ("stat", "put"):
        print(f"{mode:o} {uid} {gid} {size}")
    channel.close()
    helper.wait()


def sftp(directory):
    helper, channel = files_helper(directory, False)
    near, far = socket.socketpair()
    body = struct.pack("<IIIIQ", 0, KEEP, KEEP, KEEP, 0) + b"/\0"
    socket.send_fds(channel, [message(128 + FILES.index("sftp"), body, 7)], [far.fileno()])
    far.close()
    while True:
        for source in select.select([near, 0], [], [])[0]:
            data = near.recv(65536) if source is near else os.read(0, 65536)
            if not data:
                near.close()
                channel.close()
                helper.wait()
                return
            if source is near:
                while data:
                    data = data[os.write(1, data):]
            else:
                near.sendall(data)


def main():
    if sys.argv[1] == "files":
        files(sys.argv[2:])
        return
    verb, directory, *rest = sys.argv[1:]
    if verb == "start":
        start(directory)
    elif verb == "sftp":
        sftp(directory)
    elif verb == "exec":
        execute(directory, rest)
    else:
        channel = connect(directory)
        if verb == "state":
            print(json.dumps(state_of(ask(channel, HELLO)[1])))
        elif verb == "signal":
            ask(channel, SIGNAL, struct.pack("<Q", int(rest[0])))
        elif verb == "stop":
            ask(channel, STOP)
        elif verb == "log":
            sys.stdout.buffer.write(ask(channel, LOG)[1][8:])
        elif verb == "resize":
            ask(channel, RESIZE, struct.pack("<HHI", int(rest[0]), int(rest[1]), 0))
        elif verb == "type":
            near, far = socket.socketpair()
            ask(channel, ATTACH, struct.pack("<IHH", 2, 0, 0), [far.fileno()])
            far.close()
            near.sendall(rest[0].encode().decode("unicode_escape").encode())
            shown = b""
            while len(rest) > 1 and rest[1].encode() not in shown:
                if not select.select([near], [], [], 60)[0]:
                    sys.exit(f"{rest[1]} did not come: {shown}")
                data = near.recv(65536)
                if not data:
                    break
                shown += data
                sys.stdout.buffer.write(data)
        else:
            sys.exit(__doc__)


main()
