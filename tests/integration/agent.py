#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Speaks to berth-agent in a guest through its monitor's vsock socket (abi/agent.h).

usage: agent.py SOCKET hello | exec [-t] PROGRAM [ARG...] | get PATH | put PATH <file | configure <lines
                     | usage | shutdown | reboot
exec passes output on and ends with the program's status; -t gives it a terminal.
"""
import os
import socket
import struct
import sys

HELLO, EXEC, DATA, RESIZE, SIGNAL, GET, PUT, REMOVE, CONFIGURE, SHUTDOWN, USAGE = range(1, 12)
DONE, ERROR, STDOUT, STDERR, EXIT, INFO = range(64, 70)


def connect(path):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(int(os.environ.get("AGENT_TIMEOUT", "60")))
    s.connect(path)
    s.sendall(b"CONNECT 1024\n")
    line = b""
    while not line.endswith(b"\n"):
        c = s.recv(1)
        if not c:
            sys.exit("agent.py: nobody listens in the guest")
        line += c
    return s


def send(s, kind, data=b""):
    s.sendall(struct.pack("<IHH", len(data), 1, kind) + data)


def exactly(s, count):
    data = b""
    while len(data) < count:
        part = s.recv(count - len(data))
        if not part:
            sys.exit("agent.py: the agent is gone")
        data += part
    return data


def receive(s):
    count, _, kind = struct.unpack("<IHH", exactly(s, 8))
    data = exactly(s, count)
    if kind == ERROR:
        sys.exit(f"agent.py: {data[8:].decode()}")
    return kind, data


def run(s, args):
    terminal = args[0] == "-t"
    args = args[terminal:]
    words = [""] + args
    head = struct.pack("<IIIHHHHI", 1 if terminal else 0, 0, 0, 80, 25, len(args), 0, 0)
    send(s, EXEC, head + b"".join(word.encode() + b"\0" for word in words))
    if not terminal and not os.isatty(0):
        while chunk := os.read(0, 32768):
            send(s, DATA, chunk)
    if not terminal:
        send(s, DATA)
    while True:
        kind, data = receive(s)
        if kind in (STDOUT, STDERR):
            os.write(1 if kind == STDOUT else 2, data)
        elif kind == EXIT:
            status = struct.unpack("<iI", data)[0]
            sys.exit(os.waitstatus_to_exitcode(status) & 255)


def get(s, path):
    send(s, GET, path.encode())
    receive(s)
    while data := receive(s)[1]:
        os.write(1, data)


def put(s, path):
    send(s, PUT, struct.pack("<IIIIQ", 0o100644, 0, 0, 0, 0) + path.encode() + b"\0")
    while chunk := os.read(0, 32768):
        send(s, DATA, chunk)
    send(s, DATA)
    receive(s)


def main():
    s = connect(sys.argv[1])
    verb, args = sys.argv[2], sys.argv[3:]
    if verb == "exec":
        run(s, args)
    elif verb == "get":
        get(s, args[0])
    elif verb == "put":
        put(s, args[0])
    elif verb == "hello":
        send(s, HELLO)
        print(receive(s)[1].decode())
    elif verb == "configure":
        send(s, CONFIGURE, sys.stdin.buffer.read())
        receive(s)
    elif verb == "usage":
        send(s, USAGE)
        names = "memory_total memory_available cpu_ns disk_total disk_free processes cpus up_ns".split()
        for name, value in zip(names, struct.unpack("<QQQQQIIQ", receive(s)[1])):
            print(name, value)
    else:
        send(s, SHUTDOWN, struct.pack("<iI", verb == "reboot", 0))
        receive(s)


main()
