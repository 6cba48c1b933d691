#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Says what a switch says at a port (LLDP).

usage: lldp.py INTERFACE CHASSIS PORT SYSTEM VLAN
"""
import socket
import struct
import sys


def tlv(kind, value):
    return struct.pack(">H", kind << 9 | len(value)) + value


interface, chassis, port, system, vlan = sys.argv[1:]
frame = bytes.fromhex("0180c200000e 0200000000fe 88cc")
frame += tlv(1, b"\x07" + chassis.encode()) + tlv(2, b"\x05" + port.encode()) + tlv(3, b"\x00\x78")
frame += tlv(5, system.encode()) + tlv(127, b"\x00\x80\xc2\x01" + struct.pack(">H", int(vlan))) + tlv(0, b"")
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind((interface, 0))
out.send(frame)
