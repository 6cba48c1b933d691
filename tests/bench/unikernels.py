# SPDX-License-Identifier: Apache-2.0
"""The set `unikernels`: how fast berthd starts unikernels, a thousand small servers at once, and one alone."""
import json
import os
import shutil
import statistics
import subprocess
import tarfile
import time

from containers import Daemon, runners, smaps
from rows import BUILD, Row, own_turn
from served import through_api
from unikernel import alone

# Asks every address for its page; prints how many answered with the name that was wanted.
ASK_ALL = """
import json, socket, sys
good = 0
for name, address in json.load(sys.stdin).items():
    for _ in range(50):
        try:
            with socket.create_connection((address, 80), 5) as connection:
                connection.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
                text = b""
                while part := connection.recv(4096):
                    text += part
            good += text.endswith(f"served by {name}\\n".encode())
            break
        except OSError:
            continue
print(good)
"""


def import_server(daemon):
    """An image with one small static server."""
    tree = daemon.dir / "server"
    (tree / "rootfs/bin").mkdir(parents=True)
    shutil.copy(BUILD / "tests/bench/static_serve", tree / "rootfs/bin/static_serve")
    (tree / "metadata.yaml").write_text(
        "architecture: x86_64\ncreation_date: 1700000000\n"
        "unikernel: {entrypoint: /bin/static_serve}\n")
    with tarfile.open(daemon.dir / "server.tar", "w") as archive:
        for name in ("metadata.yaml", "rootfs"):
            archive.add(tree / name, name)
    return daemon.api("POST", "/1.0/images", file=daemon.dir / "server.tar")["metadata"]


def launch_servers(daemon, fingerprint, count):
    """{name: address} of so many that run."""
    daemon.api("POST", "/1.0/networks", {"name": "many", "config": {
        "ipv4.address": "10.80.0.1/20", "ipv6.address": "none"}})
    devices = {"eth0": {"type": "nic", "network": "many"},
               "root": {"type": "disk", "path": "/", "pool": "default"}}
    found = {}
    for i in range(count):
        name = f"u{i}"
        daemon.api("POST", "/1.0/instances", {
            "name": name, "type": "unikernel", "start": True, "devices": devices,
            "source": {"type": "image", "fingerprint": fingerprint},
            "config": {"oci.entrypoint": f"/bin/static_serve {name}", "limits.memory": "8MiB"}})
        config = daemon.api("GET", f"/1.0/instances/{name}")["config"]
        found[name] = config["volatile.eth0.ipv4.address"].split("/")[0]
    return found


def in_net(daemon, *words, **more):
    return subprocess.run(["nsenter", "-t", str(daemon.process.pid), "-n", *words],
                          capture_output=True, text=True, check=True, **more).stdout


def servers(daemon, count):
    """So many small servers at once: all answer, and nothing is left of them."""
    fingerprint = import_server(daemon)["fingerprint"]
    started = time.monotonic()
    found = launch_servers(daemon, fingerprint, count)
    took = time.monotonic() - started
    good = int(in_net(daemon, "python3", "-c", ASK_ALL, input=json.dumps(found)))
    # Runner and locked process of each, what they share divided among them.
    each = sum(smaps(pid) for pid in runners(daemon)) / 1024 / count
    yield Row(f"{count} small servers that answer", good, "", "wanted", count, count, at_least=True)
    yield Row("launched one after the other", count / took, "a second", "", 0, None)
    yield Row("memory of one, runner and process", each, "MiB", "", 0, 2)
    for name in found:
        daemon.api("PUT", f"/1.0/instances/{name}/state", {"action": "stop", "force": True})
        daemon.api("DELETE", f"/1.0/instances/{name}")
    left = in_net(daemon, "ip", "-o", "link", "show", "type", "tun").count("\n")
    yield Row("taps left", left, "", "", 0, 0)


def starts(options):
    count = 20 if options.quick else 100
    with own_turn() as take, Daemon() as daemon:
        for pid in (daemon.process.pid, os.getpid()):
            take(pid)
        daemon.import_image("bench")
        first = {}
        for kind, config in (("container", "{}"), ("unikernel", json.dumps(
                {"oci.entrypoint": "/sbin/init", "limits.memory": "16MiB"}))):
            os.environ["BENCH_TYPE"], os.environ["BENCH_CONFIG"] = kind, config
            daemon.client("launch", "bench", 2)
            found = daemon.client("launch", "bench", count)["request_to_first_instruction"]
            first[kind] = statistics.median(found) * 1e3
        yield Row("create + start to the first instruction", first["unikernel"], "ms",
                  "container", first["container"], 5)


def many(options):
    with own_turn() as take, Daemon() as daemon:
        for pid in (daemon.process.pid, os.getpid()):
            take(pid)
        yield from servers(daemon, options.count or (50 if options.quick else 1000))


def unikernels(options):
    groups = {"starts": starts, "servers": many, "alone": alone, "api": through_api}
    for name, group in groups.items():
        if not options.only or name in options.only:
            yield from group(options)
