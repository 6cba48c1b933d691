# SPDX-License-Identifier: Apache-2.0
"""The set `containers`: how fast berthd starts, runs and lists containers."""
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import tarfile
import tempfile
import time

from rows import BUILD, Row, sh


class Daemon:
    """A private berthd in a network namespace and a directory of its own."""

    def __enter__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="berth-bench-"))
        self.log = open(self.dir / "log", "w")
        self.process = subprocess.Popen(
            ["unshare", "-n", "--", "sh", "-c", 'ip link set lo up; exec "$@"', "sh",
             BUILD / "src/daemon/berthd", "--dir", self.dir / "berth"],
            stderr=self.log, stdout=self.log)
        self.socket = self.dir / "berth/unix.socket"
        for _ in range(200):
            if self.socket.exists() or self.process.poll() is not None:
                break
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        subprocess.run(["rm", "-rf", self.dir])

    def client(self, *words):
        """{key: [seconds, ...]} of tests/bench/api_client."""
        found = {}
        for line in sh(BUILD / "tests/bench/api_client", self.socket, *words).splitlines():
            key, ns = line.split()
            found.setdefault(key, []).append(int(ns) / 1e9)
        return found

    def api(self, method, path, body=None, file=None):
        words = ["curl", "-sS", "--unix-socket", self.socket, "-X", method, f"http://berth{path}"]
        if body is not None:
            words += ["-d", json.dumps(body)]
        if file is not None:
            words += ["-H", "Content-Type: application/octet-stream", "--data-binary", f"@{file}"]
        answer = json.loads(sh(*words))
        if answer["type"] == "error":
            raise SystemExit(f"{method} {path}: {answer['error']}")
        if answer["type"] == "async":
            answer = json.loads(sh("curl", "-sS", "--unix-socket", self.socket,
                                   f"http://berth{answer['operation']}/wait"))
            if answer["metadata"]["status_code"] != 200:
                raise SystemExit(f"{method} {path}: {answer['metadata']['err']}")
        return answer["metadata"]

    def import_image(self, alias):
        """The smallest image: berth-measure as /sbin/init and as /bin/true."""
        tree = self.dir / "image"
        for folder in ("rootfs/sbin", "rootfs/bin", "rootfs/etc", "rootfs/proc", "rootfs/sys",
                       "rootfs/dev", "rootfs/tmp"):
            (tree / folder).mkdir(parents=True)
        shutil.copy(BUILD / "src/measure/berth-measure", tree / "rootfs/sbin/init")
        shutil.copy(BUILD / "tests/bench/static_true", tree / "rootfs/bin/true")
        (tree / "metadata.yaml").write_text(
            "architecture: x86_64\ncreation_date: 1700000000\n"
            "properties:\n  description: the smallest image\n")
        with tarfile.open(self.dir / "image.tar", "w") as archive:
            for name in ("metadata.yaml", "rootfs"):
                archive.add(tree / name, name)
        metadata = self.api("POST", "/1.0/images", file=self.dir / "image.tar")["metadata"]
        self.api("POST", "/1.0/images/aliases", {"name": alias, "target": metadata["fingerprint"]})
        return tree / "rootfs"


def smaps(pid, key="Pss"):
    """KiB of `key` in /proc/PID/smaps_rollup."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(rf"^{key}: +(\d+) kB", text, re.M).group(1))


def runners(daemon):
    """The runners of this daemon's instances."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if f"{daemon.dir}/berth/instances/".encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            pass
    return found


def floor_seconds(root, count):
    """Seconds of the bare clone3 + pivot_root + execve, each run timed by the floor program itself."""
    text = sh(BUILD / "tests/bench/floor", root, str(count))
    return statistics.median(int(line.split()[1]) / 1e9 for line in text.splitlines())


def crun_start_rate(root, work, count):
    """Containers a second that `crun run -d` starts, eight at a time."""
    bundle = work / "bundle"
    bundle.mkdir()
    sh("crun", "spec", cwd=bundle)
    config = json.loads((bundle / "config.json").read_text())
    config["root"] = {"path": str(root), "readonly": False}
    config["process"]["terminal"] = False
    config["process"]["args"] = ["/sbin/init"]
    config["process"].pop("rlimits", None)
    config["process"]["capabilities"] = {}
    config["linux"]["resources"] = {}
    (bundle / "config.json").write_text(json.dumps(config))
    names = [f"berth-bench-{os.getpid()}-{i}" for i in range(count)]
    # crun refuses a v2 tree with controllers beside v1; without that tree it runs.
    alone = ["unshare", "-m", "sh", "-c",
             '! [ -d /sys/fs/cgroup/unified ] || umount /sys/fs/cgroup/unified; exec "$@"', "sh"]
    started = time.monotonic()
    try:
        # Some fail when so many start at once; only those that run are counted.
        subprocess.run(alone + ["xargs", "-P8", "-I{}", "crun", "run", "-d", "{}"], cwd=bundle,
                       input="\n".join(names), text=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        took = time.monotonic() - started
        return sum(name in names for name in sh("crun", "list", "-q").split()) / took
    finally:
        for name in names:
            subprocess.run(alone + ["crun", "delete", "-f", name], stderr=subprocess.DEVNULL)


def containers(options):
    count, many = (10, 100) if options.quick else (60, 1000)
    with Daemon() as daemon:
        root = daemon.import_image("bench")
        floor_ms = floor_seconds(root, count) * 1e3
        launch = daemon.client("launch", "bench", count)
        first_ms = statistics.median(launch["request_to_first_instruction"]) * 1e3
        yield Row("create + start to the first instruction", first_ms, "ms", "floor", floor_ms,
                  floor_ms + 10)

        daemon.client("fill", "bench", 1)
        exec_ms = statistics.median(daemon.client("exec", "many0", count * 2)["exec"]) * 1e3
        yield Row("exec of true", exec_ms, "ms", "LXD 5.0.2", 78, 5)
        daemon.client("empty", 1)

        together = daemon.client("parallel", "bench", 100)
        yield Row("100 started at once", 100 / together["all_first_instructions"][0], "1/s",
                  "crun run -d", crun_start_rate(root, daemon.dir, 100), 200, at_least=True)

        daemon.client("fill", "bench", many)
        listed = statistics.median(daemon.client("list", 10)["list"]) * 1e3
        yield Row(f"list of {many}, all state", listed, "ms", None, None, 50)
        yield Row(f"berthd with {many} running, RSS", smaps(daemon.process.pid, "Rss") / 1e3, "MB",
                  None, None, 40)
        pss = statistics.median(smaps(pid) for pid in runners(daemon))
        yield Row("monitor of a container, PSS", pss, "kB", "LXD's monitor", 11600, 500)
        answered = daemon.client("check", many)["all_answered"][0]
        yield Row(f"exec of true in each of {many}", answered / many * 1e3, "ms", "LXD 5.0.2", 78, 78)
        daemon.client("empty", many)
        yield Row("runners left behind", len(runners(daemon)), "", None, None, 0)
