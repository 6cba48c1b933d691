#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Asks a berth-metal, as berthd does.

usage: ask.py PROGRAM OPEN [ASK...]    each a JSON object; prints one answer a line
       an ASK that is a number waits as many seconds and prints what comes by itself; one that is heard:TEXT asks
       what the console said until TEXT is in it, for a minute
"""
import json
import os
import select
import socket
import struct
import sys
import time

HEADER = struct.Struct("<IHHIi")


def main():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        os.dup2(theirs.fileno(), 3)
        os.environ["BERTH_FDS"] = "channel=3"
        os.execv(sys.argv[1], [sys.argv[1]])
    theirs.close()
    for serial, text in enumerate(sys.argv[2:], 1):
        if text.isdigit():
            end = time.monotonic() + int(text)
            while select.select([ours], [], [], max(0, end - time.monotonic()))[0]:
                print(receive(ours))
            continue
        if text.startswith("heard:"):
            print(heard(ours, text[6:]), flush=True)
            continue
        body = text.encode()
        kind = 1 if serial == 1 else 2
        ours.send(HEADER.pack(HEADER.size + len(body), 1, kind, serial, 0) + body)
        while True:
            answer = receive(ours)
            if answer is None:
                print("gone")
                sys.exit(1)
            print(json.dumps(answer), flush=True)
            if answer["to"] == serial:
                break
    ours.close()
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) and 1)


def heard(ours, text):
    body = b'{"do":"log"}'
    for serial in range(1000, 1300):
        ours.send(HEADER.pack(HEADER.size + len(body), 1, 2, serial, 0) + body)
        while (answer := receive(ours)) and answer["to"] != serial:
            pass
        if not answer or text in bytes.fromhex(answer["text"]).decode():
            return f"heard {text}" if answer else "gone"
        time.sleep(0.2)
    return f"not heard {text}"


def receive(ours):
    data = ours.recv(65536)
    if not data:
        return None
    _, _, kind, serial, code = HEADER.unpack(data[: HEADER.size])
    body = json.loads(data[HEADER.size :]) if len(data) > HEADER.size else {}
    return {"type": kind, "to": serial, "code": code, **body}


main()
