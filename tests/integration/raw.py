#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sends one frame by eth0, whatever it says: what a hostile instance would try.

usage: raw.py arp MAC ADDRESS TO-MAC TO-ADDRESS        "ADDRESS is at MAC", unasked
       raw.py neighbour MAC ADDRESS TO-MAC TO-ADDRESS  the same of IPv6
       raw.py router MAC                               "I am a router"
       raw.py dhcp MAC ADDRESS TO-MAC TO-ADDRESS       from the port of a DHCP server
       raw.py udp MAC ADDRESS TO-MAC TO-ADDRESS PORT
       raw.py type MAC TO-MAC TYPE                     no IP at all
"""
import socket
import struct
import sys


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def sum16(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ethernet(to, sender, kind, payload):
    return to + sender + struct.pack("!H", kind) + payload


def arp(sender, address, to, to_address):
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2)
    body += mac(sender) + socket.inet_aton(address) + mac(to) + socket.inet_aton(to_address)
    return ethernet(mac(to), mac(sender), 0x0806, body)


def icmp6(sender, source, to, destination, message):
    pseudo = source + destination + struct.pack("!II", len(message), 58)
    message = message[:2] + struct.pack("!H", sum16(pseudo + message)) + message[4:]
    header = struct.pack("!IHBB", 6 << 28, len(message), 58, 255) + source + destination
    return ethernet(to, sender, 0x86dd, header + message)


def local(sender):
    host = bytes([mac(sender)[0] ^ 2]) + mac(sender)[1:3] + b"\xff\xfe" + mac(sender)[3:]
    return bytes.fromhex("fe80000000000000") + host


def neighbour(sender, address, to, to_address):
    target = socket.inet_pton(socket.AF_INET6, address)
    message = struct.pack("!BBHI", 136, 0, 0, 0xa0000000) + target + b"\2\1" + mac(sender)
    return icmp6(mac(sender), local(sender), mac(to),
                 socket.inet_pton(socket.AF_INET6, to_address), message)


def router(sender):
    message = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + b"\1\1" + mac(sender)
    everyone = socket.inet_pton(socket.AF_INET6, "ff02::1")
    return icmp6(mac(sender), local(sender), mac("33:33:00:00:00:01"), everyone, message)


def udp(sender, address, to, to_address, port, source_port=4243):
    body = b"x" * 20
    datagram = struct.pack("!HHHH", source_port, int(port), 8 + len(body), 0) + body
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 0, 0, 64, 17, 0)
    header += socket.inet_aton(address) + socket.inet_aton(to_address)
    header = header[:10] + struct.pack("!H", sum16(header)) + header[12:]
    return ethernet(mac(to), mac(sender), 0x0800, header + datagram)


def dhcp(sender, address, to, to_address):
    return udp(sender, address, to, to_address, 68, 67)


def kind(sender, to, number):
    return ethernet(mac(to), mac(sender), int(number, 0), struct.pack("!HH", 1, 0x0800) + b"x" * 60)


frames = {"arp": arp, "neighbour": neighbour, "router": router, "dhcp": dhcp, "udp": udp, "type": kind}
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
    wire.bind(("eth0", 0))
    wire.send(frames[sys.argv[1]](*sys.argv[2:]))
