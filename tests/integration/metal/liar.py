#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An agent that calls the daemon, says "there" when it is taken, and then does not what an agent does.

usage: liar.py ADDRESS PORT KEY early|garbage|silent
   early    talks before it is asked      garbage  answers with what is no answer      silent  never answers
"""
import socket
import ssl
import sys

address, port, key, how = sys.argv[1:]
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
line = context.wrap_socket(socket.create_connection((address, int(port))))
line.sendall(
    b"GET /1.0/berth/agent HTTP/1.1\r\nHost: b\r\nConnection: Upgrade\r\nUpgrade: berth-agent\r\n"
    b"Authorization: Bearer " + key.encode() + b"\r\n\r\n"
)
head = b""
while not head.endswith(b"\r\n\r\n"):
    byte = line.recv(1)
    if not byte:
        sys.exit(f"refused: {head}")
    head += byte
if b" 101 " not in head:
    sys.exit(f"refused: {head}")
print("there", flush=True)
try:
    if how == "early":
        line.sendall(b"hello?")
    elif how == "garbage":
        line.recv(1)
        line.sendall(b"\xff\xff\xff\xff\x01\x00\x42\x00garbage")
    while line.recv(4096):
        pass
except OSError:
    pass
