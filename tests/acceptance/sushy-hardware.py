#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Is told by sushy-emulator what its fake server was told, and does it to a QEMU.

usage: sushy-hardware.py PORT CHASSIS     CHASSIS: the program `chassis` of a server's directory
"""
import http.server
import json
import subprocess
import sys

power = "Off"


class Hardware(http.server.BaseHTTPRequestHandler):
    def do_PUT(self):
        global power
        system = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        boot = "pxe" if system.get("boot_device") == "Pxe" else "default"
        subprocess.run([sys.argv[2], "set", "boot", boot], check=True)
        if system["power_state"] != power:
            power = system["power_state"]
            subprocess.run([sys.argv[2], "set", "power", "1" if power == "On" else "0"], check=True)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Hardware).serve_forever()
