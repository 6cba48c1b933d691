# SPDX-License-Identifier: Apache-2.0
"""Of the set unikernels, through berthd: the same image served as unikernel, container and microVM on one bridge, and python3
that goes on from a snapshot."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import struct
import tarfile
import time

from containers import Daemon, runners
from rows import TOP, Row, middle_pair, own_turn, processors, sh

NGINX = """daemon off; master_process off; error_log stderr error; user root;
events { worker_connections 1000; }
http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000;
  server { listen 80; root /www; } }
"""
REDIS = "/bin/redis-server --save '' --bind 0.0.0.0 --protected-mode no"
READY = ("import json, http.server, sys\nprint('ready', flush=True)\nsys.stdin.readline()\n"
         "print(json.dumps([1]), flush=True)\n")


def make_image(daemon, name, programs, files):
    """An image of those programs, in /bin, and those files."""
    tree = daemon.dir / name
    for folder in ("bin", "dev", "proc", "sys", "tmp", "run", "etc", "sbin"):
        (tree / "rootfs" / folder).mkdir(parents=True)
    for program in programs:
        shutil.copy(program, tree / "rootfs/bin")
    for path, text in files.items():
        (tree / "rootfs" / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / "rootfs" / path).write_text(text)
    (tree / "metadata.yaml").write_text("architecture: x86_64\ncreation_date: 1700000000\n")
    return tree


def import_tree(daemon, tree):
    with tarfile.open(f"{tree}.tar", "w") as archive:
        for name in ("metadata.yaml", "rootfs"):
            archive.add(tree / name, name)
    return daemon.api("POST", "/1.0/images", file=f"{tree}.tar")["metadata"]["fingerprint"]


def in_net(daemon, *words):
    return sh("nsenter", "-t", daemon.process.pid, "-n", "taskset", "-c", processors()[1], *words)


def launch(daemon, kind, name, fingerprint, entry, memory):
    """Its address."""
    daemon.api("POST", "/1.0/instances", {
        "name": name, "type": kind, "start": True,
        "devices": {"eth0": {"type": "nic", "network": "served"},
                    "root": {"type": "disk", "path": "/", "pool": "default", "size": "256MiB"}},
        "source": {"type": "image", "fingerprint": fingerprint},
        "config": {"oci.entrypoint": entry, "limits.memory": memory, "limits.cpu": "{0}-{0}".format(processors()[0])}})
    config = daemon.api("GET", f"/1.0/instances/{name}")["config"]
    return config["volatile.eth0.ipv4.address"].split("/")[0]


def wait_for(daemon, address, port, seconds=60):
    in_net(daemon, "bash", "-c", f"for i in $(seq {seconds * 5}); do (exec 3<>/dev/tcp/{address}/{port}) 2>/dev/null && exit 0; "
           "sleep 0.2; done; exit 1")


def end(daemon, name):
    daemon.api("PUT", f"/1.0/instances/{name}/state", {"action": "stop", "force": True})
    daemon.api("DELETE", f"/1.0/instances/{name}")


def redis_rate(daemon, programs, address, command, count, pipeline):
    """Requests a second, and how many there were."""
    text = in_net(daemon, programs / "redis-benchmark", "-h", address, "-t", command, "-n", count, "-P", pipeline, "-c", 50, "--csv")
    return float(re.search(r'^"(?:GET|SET)","([\d.]+)"', text, re.M)[1]), count


def page_rate(daemon, address, seconds):
    text = in_net(daemon, "wrk", "-t", 1, "-c", 32, "-d", f"{seconds}s", f"http://{address}/")
    return float(re.search(r"Requests/sec: +([\d.]+)", text)[1]), int(re.search(r"(\d+) requests in", text)[1])


def cpu_ns(daemon, name):
    return daemon.api("GET", f"/1.0/instances/{name}/state")["cpu"]["usage"]


def favour(daemon):
    """The daemon's instances get a large share of the processors, as their client has: all of them the same."""
    for runner in runners(daemon):
        with contextlib.suppress(OSError):
            for pid in pathlib.Path(f"/proc/{runner}/task/{runner}/children").read_text().split():
                for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines():
                    _, controllers, path = line.split(":", 2)
                    root, key, value = {"cpu": ("/sys/fs/cgroup/cpu", "cpu.shares", "65536"),
                                        "": ("/sys/fs/cgroup", "cpu.weight", "10000")}.get(controllers, (None, None, None))
                    if root and path.startswith("/berth-"):
                        with contextlib.suppress(OSError):
                            pathlib.Path(root + path).parent.joinpath(key).write_text(value)


def of_kinds(daemon, name, fingerprint, entry, port, works, rounds):
    """{what: {kind: [(rate, CPU time of a request), one a round]}}; a kind that this host cannot run is left out.

    The first two run at once and are measured in turn, each round in the other order, so that a busy moment meets both; the
    microVM runs alone after them, since under a translated processor it costs time also when nobody asks it.
    """
    found = {what: {} for what in works}
    for kinds in (("unikernel", "container"), ("microvm",)):
        addresses = {}
        for kind in kinds:
            try:
                addresses[kind] = launch(daemon, kind, f"{name}-{kind}", fingerprint, entry, "256MiB")
            except SystemExit as error:  # this host has no kernel for it
                print(f"# {kind}: {error}", flush=True)
        try:
            for address in addresses.values():
                wait_for(daemon, address, port)
            favour(daemon)
            for i in range(rounds if "unikernel" in kinds else (rounds + 1) // 2):
                for what, work in works.items():
                    for kind in list(addresses)[::1 if i % 2 == 0 else -1]:
                        before = cpu_ns(daemon, f"{name}-{kind}")
                        # A machine under a translated processor is slow: a tenth of the requests says as much.
                        rate, count = work(addresses[kind], 10 if kind == "microvm" else 1)
                        cost = (cpu_ns(daemon, f"{name}-{kind}") - before) / count
                        found[what].setdefault(kind, []).append((rate, cost))
        finally:
            for kind in addresses:
                end(daemon, f"{name}-{kind}")
    return found


def rows_of(found):
    for what, kinds in found.items():
        own, peer = kinds["unikernel"], kinds.get("container")
        for i, name, unit, scale in ((0, what, "k/s", 1e-3), (1, what + ", CPU time of one", "us", 1e-3)):
            mine = statistics.median(one[i] for one in own)
            other = None
            if peer:
                mine, other = middle_pair([(a[i], b[i]) for a, b in zip(own, peer)])
                other *= scale
            yield Row(name, mine * scale, unit, "container", other, other if i == 0 else None, at_least=i == 0)
        machine = kinds.get("microvm")
        if machine:
            yield Row(what + ", beside the microVM", statistics.median(one[0] for one in own) / 1000, "k/s", "microvm",
                      statistics.median(one[0] for one in machine) / 1000, None)


def served(daemon, programs, quick):
    daemon.api("POST", "/1.0/networks", {"name": "served", "config": {
        "ipv4.address": "10.81.0.1/24", "ipv6.address": "none"}})
    rounds = 1 if quick else 7
    redis = import_tree(daemon, make_image(daemon, "redis", [programs / "redis-server"], {}))

    works = {}
    for pipeline, count in ((1, 20000 if quick else 100000), (16, 200000 if quick else 1000000)):
        for command in ("set", "get"):
            works[f"redis {command.upper()}, pipelined by {pipeline}, by the API"] = (
                lambda address, less, command=command, count=count, pipeline=pipeline: redis_rate(
                    daemon, programs, address, command, count // less, pipeline))
    yield from rows_of(of_kinds(daemon, "redis", redis, REDIS, 6379, works, rounds))
    nginx = import_tree(daemon, make_image(daemon, "nginx", [programs / "nginx"], {
        "etc/nginx/nginx.conf": NGINX, "www/index.html": "x" * 612, "etc/group": "root:x:0:\nnogroup:x:65534:\n",
        "etc/passwd": "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"}))
    yield from rows_of(of_kinds(
        daemon, "nginx", nginx, "/bin/nginx -e stderr", 80,
        {"nginx, a page of 612 bytes, by the API": lambda address, _: page_rate(daemon, address, 2)}, rounds))


def start_seconds(daemon, name):
    """From the request to the first instruction, by the unikernel's own clock."""
    body = b'{"action":"start","timeout":-1}'
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(daemon.socket))
        head = (f"PUT /1.0/instances/{name}/state HTTP/1.1\r\nHost: berth\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n").encode()
        began = time.monotonic_ns()
        connection.sendall(head + body)
        answer = b""
        while part := connection.recv(4096):
            answer += part
    operation = json.loads(answer[answer.index(b"{"):answer.rindex(b"}") + 1])["operation"]
    daemon.api("GET", f"{operation}/wait")
    report = pathlib.Path(daemon.dir, "berth/instances/default", name, "calls").read_bytes()
    return (struct.unpack_from("<Q", report, 8)[0] - began) / 1e9


def from_snapshot(daemon, programs, quick):
    """python3 with its imports ready, as a copy that goes on from a snapshot."""
    tree = make_image(daemon, "python", [programs / "python3"], {"ready.py": READY})
    shutil.copytree("/usr/lib/python3.11", tree / "rootfs/usr/lib/python3.11", symlinks=True,
                    ignore=shutil.ignore_patterns("config-*", "test", "__pycache__"))
    fingerprint = import_tree(daemon, tree)
    daemon.api("POST", "/1.0/instances", {
        "name": "warm", "type": "unikernel", "start": True,
        "devices": {"root": {"type": "disk", "path": "/", "pool": "default", "size": "64MiB"}},
        "source": {"type": "image", "fingerprint": fingerprint},
        "config": {"oci.entrypoint": "/bin/python3 /ready.py", "environment.PYTHONHOME": "/usr", "limits.memory": "128MiB",
                   "environment.PYTHONDONTWRITEBYTECODE": "1", "migration.stateful": "true"}})
    log = daemon.dir / "berth/instances/default/warm/console.log"
    for _ in range(600):
        if log.exists() and b"ready" in log.read_bytes():
            break
        time.sleep(0.1)
    time.sleep(0.3)
    daemon.api("POST", "/1.0/instances/warm/snapshots", {"name": "ready", "stateful": True})
    found = []
    for i in range(5 if quick else 50):
        daemon.api("POST", "/1.0/instances", {"name": f"w{i}", "type": "unikernel", "stateful": True,
                                              "source": {"type": "copy", "source": "warm/ready"}})
        found.append(start_seconds(daemon, f"w{i}"))
        end(daemon, f"w{i}")
    end(daemon, "warm")
    yield Row("request to first instruction, python3 from a snapshot", statistics.median(found) * 1e3, "ms", "",
              min(found) * 1e3, 5)


def through_api(options):
    programs = pathlib.Path(sh(TOP / "tests/acceptance/programs/build", "redis", "nginx", "python").strip().splitlines()[-1])
    with own_turn() as take, Daemon() as daemon:
        for pid in (daemon.process.pid, os.getpid()):
            take(pid)
        # What a microVM boots; without it that column says why it is empty.
        daemon.api("PATCH", "/1.0", {"config": {"berth.kernel": sh(TOP / "tests/images/kernel").strip()}})
        yield from from_snapshot(daemon, programs, options.quick)
        yield from served(daemon, programs, options.quick)

