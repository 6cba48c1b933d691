#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Is told by sushy-emulator what its fake server was told, and does it to a QEMU.

usage: sushy-hardware.py PORT DIRECTORY     DIRECTORY: in which node1/chassis is the program of the server m1
"""
import http.server
import json
import subprocess
import sys

power, discs = {}, {}


class Hardware(http.server.BaseHTTPRequestHandler):
    def do_PUT(self):
        system = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = system["name"]
        boot = {"Pxe": "pxe", "Cd": "cdrom"}.get(system.get("boot_device"), "default")
        disc = (system.get("boot_image") or {}).get("Cd", [None])[0] or ""
        changes = ["boot", boot]
        if disc != discs.get(name, ""):
            discs[name] = disc
            changes += ["media", disc]
        if system["power_state"] != power.get(name, "Off"):
            power[name] = system["power_state"]
            changes += ["power", "1" if power[name] == "On" else "0"]
        subprocess.run([f"{sys.argv[2]}/node{name[1:]}/chassis", "set", *changes], check=True)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Hardware).serve_forever()
