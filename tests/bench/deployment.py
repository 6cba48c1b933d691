# SPDX-License-Identifier: Apache-2.0
"""The set deployment: what it takes to put an image on a server's disk, beside what the disk alone takes for as many
bytes. The server is real firmware, real network boot and IPMI in front of a QEMU in a network namespace."""
import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

import metal
import rows

BYTES, QUICK_BYTES = 512 << 20, 128 << 20
GOAL = 1.1
TESTS = rows.TOP / "tests/integration"
ADDRESS = "10.77.0.10"


def make_node(base, inside, size):
    node = base / "node1"
    (node / "state").mkdir(parents=True)
    shutil.copy(TESTS / "metal/chassis", node / "chassis")
    (node / "settings").write_text(
        f"NUMBER=1\nMAC=52:54:00:77:00:01\nMEMORY=512\nDISK_SIZE={size}\n")
    conf = (TESTS / "metal/lan.conf").read_text().replace("127.0.0.1 623", "127.0.0.1 6231")
    conf = conf.replace("@BASE@", str(node)).replace("127.0.0.1 9602", "127.0.0.1 9201")
    (node / "lan.conf").write_text(conf.replace("127.0.0.1:9603", "127.0.0.1:9101"))
    return subprocess.Popen([*inside, "ipmi_sim", "-n", "-c", "lan.conf", "-f", TESTS / "metal/bmc.emu", "-s", "state"],
                            cwd=node, stdin=subprocess.DEVNULL, stdout=open(node / "sim.log", "w"),
                            stderr=subprocess.STDOUT)


def make_image(base, kernel, size, environment):
    """The test's tenant with random bytes behind it: nothing of it is a hole."""
    rows.sh(rows.TOP / "tests/images/tenant", kernel, base / "tenant.raw")
    with open(base / "tenant.raw", "r+b") as disk:
        disk.seek(0, os.SEEK_END)
        while disk.tell() < size:
            disk.write(os.urandom(1 << 20))
    rows.sh("qemu-img", "convert", "-O", "qcow2", base / "tenant.raw", base / "tenant.qcow2")
    (base / "metadata.yaml").write_text("architecture: x86_64\ncreation_date: 1700000000\n")
    rows.sh("tar", "-C", base, "-cJf", base / "metadata.tar.xz", "metadata.yaml")
    rows.sh("lxc", "image", "import", base / "metadata.tar.xz", base / "tenant.qcow2", "--alias", "big",
            env=environment)


def stages(server):
    """{stage: seconds} of the last deployment; each lasts until the next one begins."""
    line = server["timeline"]
    return {a["stage"]: (b["at_ns"] - a["at_ns"]) / 1e9 for a, b in zip(line, line[1:])}


def run(api, method, path, body=None):
    answer = api.ask(method, path, body)
    if answer["type"] == "async":
        answer = api.ask("GET", answer["operation"] + "/wait?timeout=600")
        if answer["metadata"]["status_code"] != 200:
            raise RuntimeError(answer["metadata"]["err"])
    elif answer["type"] == "error":
        raise RuntimeError(answer["error"])
    return answer["metadata"]


def disk_alone(base, inside, size):
    """Seconds for as many bytes, past the page cache, by dd in the server's rescue system."""
    command = f"dd if=/dev/zero of=/dev/vda bs=1M count={size >> 20} oflag=direct conv=fsync"
    end = time.monotonic() + 120
    while time.monotonic() < end:
        done = subprocess.run([*inside, "dbclient", "-y", "-i", base / "id", f"root@{ADDRESS}", command], text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        found = re.search(r"copied, ([0-9.]+) seconds", done.stdout)
        if found:
            return float(found[1])
        time.sleep(1)
    raise TimeoutError(done.stdout)


def deployment(options):
    size = QUICK_BYTES if options.quick else BYTES
    base = pathlib.Path(tempfile.mkdtemp(prefix="berth-bench."))
    base.chmod(0o711)
    space = base.name
    inside = ["nsenter", f"--net=/run/netns/{space}"]
    environment = {**os.environ, "LXD_DIR": str(base / "d"), "HOME": str(base)}
    rows.sh("ip", "netns", "add", space)
    started = []
    try:
        for words in ("link set lo up", "link add prov0 type bridge", "link set prov0 up",
                      "addr add 10.77.0.1/24 dev prov0", "addr add fd77::1/64 dev prov0 nodad",
                      "tuntap add node1 mode tap", "link set node1 master prov0 up"):
            rows.sh("ip", "-n", space, *words.split())
        started.append(make_node(base, inside, 2 * size))
        started.append(subprocess.Popen([*inside, rows.BUILD / "src/daemon/berthd", "--dir", base / "d"],
                                        stderr=open(base / "log", "w")))
        metal.wait_for((base / "d/unix.socket").exists, 20)
        api = metal.Daemon(base / "d/unix.socket")
        kernel = rows.sh(rows.TOP / "tests/images/kernel").strip()
        run(api, "PATCH", "/1.0", {"config": {"berth.metal.kernel": kernel, "berth.metal.interface": "prov0"}})
        metal.wait_for(lambda: "network boot is on" in (base / "log").read_text(), 30)
        make_image(base, kernel, size, environment)
        key = rows.sh("dropbearkey", "-t", "ed25519", "-f", base / "id")
        run(api, "POST", "/1.0/berth/servers", {
            "name": "m1", "driver": "ipmi", "address": "127.0.0.1", "port": 6231, "user": "admin", "password": "secret",
            "mac": "52:54:00:77:00:01"})
        run(api, "POST", "/1.0/instances", {
            "name": "db", "type": "bare-metal", "source": {"type": "image", "alias": "big"},
            "config": {"user.ssh-keys": re.search("^ssh-.*$", key, re.M)[0]}})
        took = stages(run(api, "GET", "/1.0/berth/servers/m1"))
        run(api, "POST", "/1.0/instances/db/rescue", {})
        alone = disk_alone(base, inside, size)
        for stage in ("deploy", "image", "settings"):
            yield rows.Row(f"stage {stage}", took.get(stage, 0), "s", None, None, None)
        total = sum(took.get(stage, 0) for stage in ("deploy", "image", "settings"))
        yield rows.Row(f"image of {size >> 20} MiB on the disk, with its settings", total, "s", "the disk alone", alone,
                       GOAL * alone)
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((base / "node1/pid").read_text()), 9)
        rows.sh("ip", "netns", "del", space)
        shutil.rmtree(base, ignore_errors=True)
