# SPDX-License-Identifier: Apache-2.0
"""The set metal: what it costs to watch many servers. Each is polled for power and sensors every 30 s, in a process
of its own, against our Redfish responder in a network namespace."""
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

import rows

SERVERS, QUICK = 1000, 200
SECONDS, QUICK_SECONDS = 90, 45
CORE_GOAL = 0.05


class Daemon(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("berth")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self.path))

    def ask(self, method, path, body=None):
        self.close()  # the daemon lets go of a connection that is idle
        self.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"})
        return json.load(self.getresponse())


def cpu_seconds(pids):
    """To the nanosecond: each process takes less than a tick, and would be counted as none."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[0])
    return total / 1e9


def own_bytes(pid):
    with contextlib.suppress(OSError):
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def children(pid):
    return [int(word) for word in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for(what, seconds):
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.05)


def metal(options):
    count, seconds = (QUICK, QUICK_SECONDS) if options.quick else (SERVERS, SECONDS)
    base = pathlib.Path(tempfile.mkdtemp(prefix="berth-bench."))
    space = base.name
    inside = ["nsenter", f"--net=/run/netns/{space}"]
    rows.sh("ip", "netns", "add", space)
    started = []
    try:
        for words in (["lo", "up"],):
            rows.sh("ip", "-n", space, "link", "set", *words)
        rows.sh("ip", "-n", space, "link", "add", "prov0", "type", "bridge")
        rows.sh("ip", "-n", space, "link", "set", "prov0", "up")
        rows.sh("ip", "-n", space, "addr", "add", "10.64.0.1/16", "dev", "prov0")
        base.chmod(0o711)
        started.append(subprocess.Popen(
            [*inside, rows.BUILD / "tests/integration/redfish-responder", "9680", "-", "basic"]))
        log = open(base / "log", "w")
        daemon = subprocess.Popen([*inside, rows.BUILD / "src/daemon/berthd", "--dir", base / "d"], stderr=log)
        started.append(daemon)
        wait_for((base / "d/unix.socket").exists, 20)
        api = Daemon(base / "d/unix.socket")
        kernel = rows.sh(rows.TOP / "tests/images/kernel").strip()
        api.ask("PATCH", "/1.0", {"config": {"berth.metal.kernel": kernel, "berth.metal.interface": "prov0"}})
        wait_for(lambda: "network boot is on" in (base / "log").read_text(), 30)
        for i in range(count):
            body = {"name": f"s{i}", "driver": "redfish", "address": "http://127.0.0.1", "port": 9680, "user": "admin",
                    "password": "secret", "mac": f"52:54:00:00:{i >> 8:02x}:{i & 255:02x}", "config": {"poll": "30s"}}
            answer = api.ask("POST", "/1.0/berth/servers", body)
            if answer["type"] == "error":
                raise RuntimeError(answer["error"])
        api.close()
        time.sleep(35)  # enrolment is over, each was polled once
        watched = [daemon.pid, *children(daemon.pid)]
        before, begin = cpu_seconds(watched), time.monotonic()
        time.sleep(seconds)
        used = (cpu_seconds(watched) - before) / (time.monotonic() - begin)
        known = api.ask("GET", "/1.0/berth/servers?recursion=1")["metadata"]
        lost = [one["name"] for one in known if one.get("bmc_lost") or not one.get("sensors")]
        if lost:
            raise RuntimeError(f"{len(lost)} of {len(known)} servers were not polled: {lost[:5]}")
        processes = [pid for pid in watched
                     if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == "berth-metal"]
        memory = sum(own_bytes(pid) for pid in processes)
        yield rows.Row(f"{count} servers polled every 30 s", used * 100, "% of a core", None, None,
                       CORE_GOAL * 100 * count / SERVERS)
        yield rows.Row("one server's process", memory / max(len(processes), 1) / 1024, "kB", None, None, None)
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()
        rows.sh("ip", "netns", "del", space)
        shutil.rmtree(base, ignore_errors=True)
