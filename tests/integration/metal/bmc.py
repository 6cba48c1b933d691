#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A BMC that speaks IPMI 2.0 with cipher suites 17 and 3 and carries serial over LAN, and can be told to misbehave.

usage: bmc.py PORT [FAULT...]
   no17        suite 17 is refused            only17   every other one is
   downgrades  whatever is asked for, suite 3 is answered
   refuses=N   the first N sessions are refused
   deaf17      a session with suite 17 gets no answer
   drops       each session is forgotten when its console has said its word; five seconds later new ones are taken
   busy=N      the first N requests for the console are refused
User admin, password secret. Once the console is open it says "line N", N the number of times that it was opened.
"""
import hashlib
import hmac
import os
import socket
import struct
import sys
import time

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

USER, PASSWORD, GUID = b"admin", b"secret".ljust(20, b"\0"), bytes(range(16))
SUITES = {3: (1, 1, 1), 17: (3, 4, 1)}
HASHES = {3: (hashlib.sha1, 12), 17: (hashlib.sha256, 16)}


def cipher(key, iv):
    return Cipher(algorithms.AES(key), modes.CBC(iv))


class Session:
    def __init__(self, number, theirs, suite, peer):
        self.number, self.theirs, self.suite, self.peer = number, theirs, suite, peer
        self.random, self.sequence, self.is_up = os.urandom(16), 0, False
        self.console = False
        self.unacknowledged = 0

    def sum(self, key, data):
        return hmac.new(key, data, HASHES[self.suite][0]).digest()

    def first(self, data):
        self.their_random, self.who = data[8:24], bytes([data[24], data[27]]) + data[28 : 28 + data[27]]
        if data[28 : 28 + data[27]] != USER:
            return bytes([data[0], 0x0D, 0, 0]) + struct.pack("<I", self.theirs)
        text = struct.pack("<II", self.theirs, self.number) + self.their_random + self.random + GUID + self.who
        return bytes([data[0], 0, 0, 0]) + struct.pack("<I", self.theirs) + self.random + GUID + self.sum(PASSWORD, text)

    def third(self, data):
        text = self.random + struct.pack("<I", self.theirs) + self.who
        if data[1] or data[8:] != self.sum(PASSWORD, text):
            return bytes([data[0], 0x0F, 0, 0]) + struct.pack("<I", self.theirs)
        key = self.sum(PASSWORD, self.their_random + self.random + self.who)
        self.k1, self.k2 = self.sum(key, b"\x01" * 20), self.sum(key, b"\x02" * 20)[:16]
        check = self.sum(key, self.their_random + struct.pack("<I", self.number) + GUID)[: HASHES[self.suite][1]]
        self.is_up = True
        return bytes([data[0], 0, 0, 0]) + struct.pack("<I", self.theirs) + check

    def open(self, packet):
        """The payload of a packet, None if its sum is wrong or it is in the clear."""
        length = HASHES[self.suite][1]
        if packet[5] & 0xC0 != 0xC0 or self.sum(self.k1, packet[4:-length])[:length] != packet[-length:]:
            return None
        size = struct.unpack_from("<H", packet, 14)[0]
        data = packet[16 : 16 + size]
        plain = cipher(self.k2, data[:16]).decryptor()
        plain = plain.update(data[16:]) + plain.finalize()
        return plain[: len(plain) - 1 - plain[-1]]

    def seal(self, kind, payload):
        pad = (16 - (len(payload) + 1) % 16) % 16
        iv = os.urandom(16)
        secret = cipher(self.k2, iv).encryptor()
        secret = iv + secret.update(payload + bytes(range(1, pad + 1)) + bytes([pad])) + secret.finalize()
        self.sequence += 1
        text = bytes([6, kind | 0xC0]) + struct.pack("<IIH", self.theirs, self.sequence, len(secret)) + secret
        pad = (4 - (len(text) + 2) % 4) % 4
        text += b"\xff" * pad + bytes([pad, 7])
        return b"\x06\0\xff\x07" + text + self.sum(self.k1, text)[: HASHES[self.suite][1]]


class Bmc:
    def __init__(self, port, faults):
        self.faults = dict(fault.partition("=")[::2] for fault in faults)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", port))
        self.socket.settimeout(0.2)
        self.sessions, self.next, self.power, self.boot = {}, 0x1001, 0, b"\0\0\0\0\0"
        self.opened, self.deaf_until = 0, 0.0

    def counts(self, fault):
        left = int(self.faults.get(fault) or 0)
        self.faults[fault] = max(0, left - 1)
        return left > 0

    def clear(self, kind, payload, peer):
        self.socket.sendto(b"\x06\0\xff\x07\x06" + bytes([kind]) + bytes(8) + struct.pack("<H", len(payload)) + payload, peer)

    def open_session(self, data, peer):
        theirs = struct.unpack_from("<I", data, 4)[0]
        asked = (data[12], data[20], data[28])
        suite = next((s for s, algorithms_ in SUITES.items() if algorithms_ == asked), 0)
        if "downgrades" in self.faults:
            suite = 3
        if "deaf17" in self.faults and suite == 17:
            return
        if self.counts("refuses"):
            self.clear(0x11, bytes([data[0], 1, 0, 0]) + data[4:8], peer)
        elif not suite or ("no17" in self.faults and suite == 17) or ("only17" in self.faults and suite != 17):
            self.clear(0x11, bytes([data[0], 0x11, 0, 0]) + data[4:8], peer)
        else:
            number, self.next = self.next, self.next + 1
            self.sessions[number] = Session(number, theirs, suite, peer)
            tail = b"".join(bytes([i, 0, 0, 8, SUITES[suite][i], 0, 0, 0]) for i in range(3))
            self.clear(0x11, bytes([data[0], 0, 4, 0]) + struct.pack("<II", theirs, number) + tail, peer)

    def command(self, session, netfn, cmd, data):
        if (netfn, cmd) == (6, 0x01):
            return b"\0\x20\x01\x01\x00\x02\xbf\x99\x99\x00\x01\x00"
        if (netfn, cmd) == (6, 0x37):
            return b"\0" + GUID
        if (netfn, cmd) == (6, 0x3B):
            return b"\0" + (data[:1] if data[0] else b"\x04")
        if (netfn, cmd) == (6, 0x3C):
            return b"\0"
        if (netfn, cmd) == (6, 0x48):
            if self.counts("busy"):
                return b"\x80"
            session.console, self.opened, session.word = True, self.opened + 1, 0
            return b"\0" + bytes(4) + struct.pack("<HHHH", 200, 200, self.socket.getsockname()[1], 0xFFFF)
        if (netfn, cmd) == (6, 0x4A):
            return b"\0\x01\0\0"
        if (netfn, cmd) == (6, 0x49):
            session.console = False
            return b"\0"
        if (netfn, cmd) == (0, 0x01):
            return bytes([0, self.power, 0, 0])
        if (netfn, cmd) == (0, 0x02):
            self.power = 0 if data[0] in (0, 5) else 1
            return b"\0"
        if (netfn, cmd) == (0, 0x08):
            if data[0] == 5:
                self.boot = data[1:6]
            return b"\0"
        if (netfn, cmd) == (0, 0x09):
            return b"\0\x01" + bytes([data[0]]) + self.boot
        return b"\xc1"

    def message(self, session, data):
        answer = self.command(session, data[1] >> 2, data[5], data[6:-1])
        head = bytes([data[3], ((data[1] >> 2 | 1) << 2) | (data[4] & 3)])
        body = bytes([data[0], data[4], data[5]]) + answer
        return head + bytes([-sum(head) & 0xFF]) + body + bytes([-sum(body) & 0xFF])

    def speak(self, session):
        """The console's word, again until it is acknowledged."""
        if not session.console or session.word == 2:
            return
        session.word = 1
        text = f"line {self.opened}\r\n".encode()
        self.socket.sendto(session.seal(1, bytes([1, 0, 0, 0]) + text), session.peer)

    def serial(self, session, data):
        if data[0]:  # a packet with words, or that wants an answer
            self.socket.sendto(session.seal(1, bytes([0, data[0], len(data) - 4, 0])), session.peer)
        if data[1] == 1 and session.word == 1:
            session.word = 2
            if "drops" in self.faults:
                del self.sessions[session.number]
                self.deaf_until = time.monotonic() + 5

    def packet(self, packet, peer):
        if len(packet) < 14 or packet[3] != 7 or time.monotonic() < self.deaf_until:
            return
        if packet[4] == 0:  # before a session: what it can
            data = packet[14:]
            if len(data) > 6 and data[5] == 0x38:
                body = bytes([0x20, data[4], 0x38, 0, 1, 0x80, 4, 2, 0, 0, 0, 0])
                head = b"\x81\x1c"
                answer = head + bytes([-sum(head) & 0xFF]) + body + bytes([-sum(body) & 0xFF])
                self.socket.sendto(b"\x06\0\xff\x07\0" + bytes(8) + bytes([len(answer)]) + answer, peer)
            return
        kind = packet[5] & 0x3F
        if kind == 0x10:
            self.open_session(packet[16:], peer)
        elif kind in (0x12, 0x14):
            session = self.sessions.get(struct.unpack_from("<I", packet, 20)[0])
            if session:
                answer = session.first(packet[16:]) if kind == 0x12 else session.third(packet[16:])
                self.clear(kind + 1, answer, peer)
        else:
            session = self.sessions.get(struct.unpack_from("<I", packet, 6)[0])
            data = session.open(packet) if session and session.is_up else None
            if data and kind == 0 and data[5] == 0x3C:
                self.socket.sendto(session.seal(0, self.message(session, data)), peer)
                del self.sessions[session.number]
            elif data and kind == 0:
                self.socket.sendto(session.seal(0, self.message(session, data)), peer)
            elif data and kind == 1:
                self.serial(session, data)

    def run(self):
        while True:
            try:
                self.packet(*self.socket.recvfrom(2048))
            except TimeoutError:
                pass
            if time.monotonic() >= self.deaf_until:
                for session in list(self.sessions.values()):
                    self.speak(session)


Bmc(int(sys.argv[1]), sys.argv[2:]).run()
