# SPDX-License-Identifier: Apache-2.0
"""The set deployment: from power-on to the tenant's system, stage by stage, and what of it is neither the firmware's nor a
kernel's time, beside what the disk alone takes for as many bytes. The server is real firmware, real network boot and IPMI in
front of a QEMU in a network namespace. Its processor is emulated and 20 to 50 times slower than a server's; so is its disk,
else it would be as if a server had one of 10 GB/s."""
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

BYTES, QUICK_BYTES = 512 << 20, 64 << 20
DISK_RATE = 8 << 20
NOT_OURS = {"power": ": the firmware", "network": ": the firmware loads the kernel, which starts",
            "load": ": the kernel reads and checks the next one", "kexec": ": the tenant's kernel and system"}
OURS = ("agent", "deploy", "image", "settings", "deployed", "active", "boot")
GOAL = 1.1
TESTS = rows.TOP / "tests/integration"
ADDRESS = "10.77.0.10"


def make_node(base, inside, size):
    node = base / "node1"
    (node / "state").mkdir(parents=True)
    shutil.copy(TESTS / "metal/chassis", node / "chassis")
    (node / "settings").write_text(
        f"NUMBER=1\nMAC=52:54:00:77:00:01\nMEMORY=512\nCPUS=2\nDISK_SIZE={size}\n"
        f"DISK_RATE={DISK_RATE}\nNICE=0\n")
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
    line, took = server["timeline"], {}
    for a, b in zip(line, line[1:]):
        took[a["stage"]] = took.get(a["stage"], 0) + (b["at_ns"] - a["at_ns"]) / 1e9
    return took


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
    command = ("cat /proc/uptime; "
               f"dd if=/dev/zero of=/dev/vda bs=1M count={size >> 20} oflag=direct conv=fsync; cat /proc/uptime")
    end = time.monotonic() + 120
    while time.monotonic() < end:
        done = subprocess.run([*inside, "dbclient", "-y", "-i", base / "id", f"root@{ADDRESS}", command], text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        found = re.findall(r"^([0-9.]+) [0-9.]+$", done.stdout, re.M)
        if len(found) == 2 and f"{size >> 20}+0 records out" in done.stdout:
            return float(found[1]) - float(found[0])
        time.sleep(1)
    raise TimeoutError(done.stdout)


def answers(inside):
    return subprocess.run([*inside, "curl", "-sf", "-m", "2", "--noproxy", "*", "-o", "/dev/null", f"http://{ADDRESS}/name"],
                          check=False).returncode == 0


def clean_up(base, space, started):
    for process in reversed(started):
        process.terminate()
        process.wait()
    with contextlib.suppress(OSError, ValueError):
        os.kill(int((base / "node1/pid").read_text()), 9)
    rows.sh("ip", "netns", "del", space)
    shutil.rmtree(base, ignore_errors=True)


def deployment(options):
    size = QUICK_BYTES if options.quick else BYTES
    base = pathlib.Path(tempfile.mkdtemp(prefix="berth-bench."))
    base.chmod(0o711)
    space = base.name
    inside = ["nsenter", f"--net=/run/netns/{space}"]
    environment = {**os.environ, "LXD_DIR": str(base / "d"), "HOME": str(base)}
    rows.sh("ip", "netns", "add", space)
    started = []
    with contextlib.ExitStack() as stack:
        turn = stack.enter_context(rows.own_turn())
        stack.callback(clean_up, base, space, started)
        for words in ("link set lo up", "link add prov0 type bridge", "link set prov0 up",
                      "addr add 10.77.0.1/24 dev prov0", "addr add fd77::1/64 dev prov0 nodad",
                      "tuntap add node1 mode tap", "link set node1 master prov0 up"):
            rows.sh("ip", "-n", space, *words.split())
        started.append(make_node(base, inside, size + (64 << 20)))
        turn(started[-1].pid)
        started.append(subprocess.Popen([*inside, rows.BUILD / "src/daemon/berthd", "--dir", base / "d"],
                                        stderr=open(base / "log", "w")))
        turn(started[-1].pid)
        metal.wait_for((base / "d/unix.socket").exists, 20)
        api = metal.Daemon(base / "d/unix.socket")
        kernel = rows.sh(rows.TOP / "tests/images/kernel").strip()
        run(api, "PATCH", "/1.0", {"config": {"berth.metal.kernel": kernel, "berth.metal.interface": "prov0",
                                            "berth.metal.warm": "false"}})
        metal.wait_for(lambda: "network boot is on" in (base / "log").read_text(), 30)
        make_image(base, kernel, size, environment)
        key = rows.sh("dropbearkey", "-t", "ed25519", "-f", base / "id")
        run(api, "POST", "/1.0/berth/servers", {
            "name": "m1", "driver": "ipmi", "address": "127.0.0.1", "port": 6231, "user": "admin", "password": "secret",
            "mac": "52:54:00:77:00:01"})
        metal.wait_for(lambda: run(api, "GET", "/1.0/berth/servers/m1")["power"] == "off", 60)
        run(api, "POST", "/1.0/instances", {
            "name": "db", "type": "bare-metal", "source": {"type": "image", "alias": "big"}, "start": True,
            "config": {"user.ssh-keys": re.search("^ssh-.*$", key, re.M)[0]}})
        metal.wait_for(lambda: answers(inside), 300)
        now = time.time_ns()
        server = run(api, "GET", "/1.0/berth/servers/m1")
        server["timeline"].append({"stage": "answers", "at_ns": now})
        took = stages(server)
        took.pop("deploying", None)  # the BMC is told what to boot: before power-on
        run(api, "PUT", "/1.0/instances/db/state", {"action": "stop", "force": True})
        run(api, "POST", "/1.0/instances/db/rescue", {})
        alone = disk_alone(base, inside, size)
        for stage, seconds in took.items():
            whose = "" if stage in OURS else NOT_OURS[stage]
            yield rows.Row(f"stage {stage}{whose}", seconds, "s", None, None, None)
        yield rows.Row("from power-on until it answers", sum(took.values()), "s", None, None, None)
        yield rows.Row(f"{size >> 20} MiB without firmware and kernels", sum(took.get(stage, 0) for stage in OURS), "s",
                       f"the disk alone, of {DISK_RATE >> 20} MiB/s", alone, None if options.quick else GOAL * alone)
