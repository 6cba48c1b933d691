# SPDX-License-Identifier: Apache-2.0
"""Of the set unikernels, without berthd: what a call, a start, memory and a served request cost, beside the same static program on Linux.

The peer of a served request is the same program in a network namespace behind a veth on the same bridge, which is how
a container of ours is connected; its client is in a namespace of its own on that bridge.
"""
import contextlib
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import tempfile
import time

from rows import BUILD, TOP, Row, middle_pair, own_turn, processors, sh

TENDER = BUILD / "src/tender/berth-tender"
CALLS = BUILD / "tests/bench/unikernel_calls"
NGINX = """daemon off; master_process off; error_log stderr error;
events { worker_connections 1000; }
http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000;
  server { listen 80; root /www; } }
"""


def build(work, program, *words, files=None):
    """The image of one program, and the directory it was made of."""
    root = work / (program.name + ".root")
    for name, text in (files or {}).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    root.mkdir(exist_ok=True)
    image = work / (program.name + ".img")
    sh(TENDER, "--build", root, program, image, *words)
    return image, root


def started_and_ended(words, count):
    """The median seconds from spawn to exit."""
    found = []
    for _ in range(count):
        begin = time.perf_counter()
        pid = os.posix_spawn(str(words[0]), [str(w) for w in words], os.environ)
        os.waitpid(pid, 0)
        found.append(time.perf_counter() - begin)
    return statistics.median(found)


def private_kb(words):
    """What a process that says it is ready has for itself alone."""
    with subprocess.Popen([str(w) for w in words], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        text = pathlib.Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        process.kill()
    return sum(int(n) for n in re.findall(r"^Private_\w+: +(\d+)", text, re.M))


@contextlib.contextmanager
def network():
    """A bridge with a client's namespace, a tap, and the peer's namespace behind a veth: (client, peer, bridge)."""
    mark = os.getpid()
    client, peer, bridge = f"bc{mark}", f"bp{mark}", f"bb{mark}"
    ip = lambda *words: sh("ip", *words)
    try:
        for space in (client, peer, bridge):
            ip("netns", "add", space)
            ip("-n", space, "link", "set", "lo", "up")
        ip("-n", bridge, "link", "add", "br0", "type", "bridge")
        ip("-n", bridge, "link", "set", "br0", "up")
        for space, address in ((client, "10.9.0.1/24"), (peer, "10.9.0.3/24")):
            ip("-n", bridge, "link", "add", f"v{space}", "type", "veth", "peer", "name", "eth0", "netns", space)
            ip("-n", bridge, "link", "set", f"v{space}", "master", "br0", "up")
            ip("-n", space, "addr", "add", address, "dev", "eth0")
            ip("-n", space, "link", "set", "eth0", "up")
        ip("-n", bridge, "tuntap", "add", "tap0", "mode", "tap", "vnet_hdr")
        ip("-n", bridge, "link", "set", "tap0", "master", "br0", "up")
        yield client, peer, bridge
    finally:
        for space in (client, peer, bridge):
            subprocess.run(["ip", "netns", "del", space], stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def serving(words, log):
    with open(log, "w") as to:
        process = subprocess.Popen(["taskset", "-c", processors()[0], *(str(w) for w in words)], stdin=subprocess.DEVNULL, stdout=to, stderr=to)
    try:
        time.sleep(1)
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def requests(client, programs, address, count, pipeline):
    """{command: requests a second}"""
    text = sh("taskset", "-c", processors()[1], "ip", "netns", "exec", client, programs / "redis-benchmark", "-h", address, "-t", "get,set", "-n", count,
              "-P", pipeline, "-c", 50, "--csv")
    return {m[1]: float(m[2]) for m in re.finditer(r'^"(GET|SET)","([\d.]+)"', text, re.M)}


def pages(client, address, seconds):
    text = sh("taskset", "-c", processors()[1], "ip", "netns", "exec", client, "wrk", "-t", 1, "-c", 32, "-d", f"{seconds}s", f"http://{address}/")
    return float(re.search(r"Requests/sec: +([\d.]+)", text)[1])


def in_turn(i, measure):
    """[of the unikernel, of its peer], measured one after the other, each time in the other order."""
    addresses = ["10.9.0.2", "10.9.0.3"]
    found = {address: measure(address) for address in (addresses if i % 2 == 0 else addresses[::-1])}
    return [found[address] for address in addresses]


def redis_rows(work, programs, quick, client, peer, bridge):
    image, _ = build(work, programs / "redis-server")
    words = ["redis-server", "--save", "", "--bind", "0.0.0.0", "--protected-mode", "no"]
    sizes = ((1, 20000 if quick else 100000), (16, 200000 if quick else 1000000))
    total = 0
    found = {}
    with serving(["ip", "netns", "exec", bridge, TENDER, f"--root={image}", "--verbose", "--net=tap0",
                  "--address=10.9.0.2/24", "--", *words], work / "log"), \
            serving(["ip", "netns", "exec", peer, programs / "redis-server", *words[1:]], work / "native.log"):
        for i in range(1 if quick else 5):
            for pipeline, count in sizes:
                pair = in_turn(i, lambda address, count=count, pipeline=pipeline: requests(
                    client, programs, address, count, pipeline))
                for command in ("GET", "SET"):
                    found.setdefault((command, pipeline), []).append([one[command] for one in pair])
                total += 2 * count
        sh("ip", "netns", "exec", client, programs / "redis-cli", "-h", "10.9.0.2", "set", "a", "b")
        subprocess.run(["ip", "netns", "exec", client, str(programs / "redis-cli"), "-h", "10.9.0.2", "shutdown", "nosave"])
        time.sleep(1)
    for (command, pipeline), pairs in found.items():
        own, native = middle_pair(pairs)
        yield Row(f"redis {command}, pipelined by {pipeline}", own / 1000, "k/s", "native behind a veth",
                  native / 1000, native / 1000, at_least=True)
    traps = re.search(r"(\d+) system calls trapped", (work / "log").read_text())
    # Each 16 requests are at least a read and a write.
    calls = total / 16 * 2
    yield Row("redis: calls that trap, of a million", int(traps[1]) / calls * 1e6 if traps else None, "", None, None, 100)


def nginx_rows(work, programs, quick, client, peer, bridge):
    files = {"etc/nginx/nginx.conf": NGINX, "www/index.html": "x" * 612, "run/.keep": "",
             "etc/passwd": "nobody:x:65534:65534::/:/bin/sh\n", "etc/group": "nogroup:x:65534:\n"}
    image, root = build(work, programs / "nginx", files=files)
    shutil.copy(programs / "nginx", root / "nginx")
    for name in ("dev", "run", "etc/nginx"):
        (root / name).mkdir(exist_ok=True)
    (root / "dev/null").write_text("")
    with serving(["ip", "netns", "exec", bridge, TENDER, f"--root={image}", "--net=tap0", "--address=10.9.0.2/24"],
                 work / "log"), \
            serving(["ip", "netns", "exec", peer, "chroot", root, "/nginx"], work / "native.log"):
        pairs = [in_turn(i, lambda address: pages(client, address, 2 if quick else 3)) for i in range(1 if quick else 5)]
    own, native = middle_pair(pairs)
    yield Row("nginx, a page of 612 bytes", own / 1000, "k/s", "native behind a veth", native / 1000, native / 1000,
              at_least=True)


def first_words(words, count):
    """The median seconds from spawn to the first output of a program that waits for a line."""
    found = []
    for _ in range(count):
        begin = time.perf_counter()
        with subprocess.Popen([str(w) for w in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            process.stdin.write(b"go\n")
            process.stdin.flush()
            process.stdout.readline()
            found.append(time.perf_counter() - begin)
            process.kill()
    return statistics.median(found)


def snapshot_rows(work, programs, quick):
    """Python with its imports ready: started anew, and from a snapshot of one that waits."""
    root = work / "python3.root"
    (root / "usr/lib").mkdir(parents=True)
    shutil.copytree("/usr/lib/python3.11", root / "usr/lib/python3.11", symlinks=True,
                    ignore=shutil.ignore_patterns("config-*", "test", "__pycache__"))
    image, _ = build(work, programs / "python3", "PYTHONHOME=/usr", "python3", "-c",
                     "import json, http.server, sys; sys.stdin.readline(); print(json.dumps([1]), flush=True)")
    file, count = work / "python3.snapshot", 5 if quick else 50
    with subprocess.Popen([str(TENDER), f"--root={image}", f"--snapshot={file}"], stdin=subprocess.PIPE) as process:
        process.wait(60)
    ready = first_words([TENDER, f"--root={image}", f"--from={file}"], count)
    anew = first_words([TENDER, f"--root={image}"], max(count // 5, 3))
    yield Row("python3 with its imports ready, from a snapshot", ready * 1e3, "ms", "started anew", anew * 1e3, 5)


def call_rows(image, quick):
    """Rewritten calls beside the same on Linux: one that is answered at once, and some that do what they do there."""
    for name, row, goal in (("getppid", "getppid", 10), ("fcntl", "fcntl(F_GETFD)", None),
                            ("eventfd", "write and read of an eventfd", None), ("pipe", "a byte through a pipe", None),
                            ("futex", "futex, waking nobody", None)):
        ways = [[TENDER, f"--root={image}", "--", "calls", name], [CALLS, name]]
        pairs = []
        for i in range(3 if quick else 9):
            found = [float(sh(*words)) for words in (ways if i % 2 == 0 else ways[::-1])]
            pairs.append(found if i % 2 == 0 else found[::-1])
        own, native = middle_pair(pairs)
        yield Row(f"{row}, rewritten", own, "ns", "native", native, goal)


def alone(options):
    programs = pathlib.Path(sh(TOP / "tests/acceptance/programs/build", "redis", "nginx", "python").strip().splitlines()[-1])
    quick = options.quick
    with own_turn() as take, tempfile.TemporaryDirectory(prefix="berth-bench-") as folder:
        take(os.getpid())
        work = pathlib.Path(folder)
        image, _ = build(work, CALLS)
        yield from call_rows(image, quick)
        hello, _ = build(work, BUILD / "tests/bench/static_true")
        count = 50 if quick else 500
        stub = started_and_ended([BUILD / "tests/bench/unikernel_stub"], count)
        started = started_and_ended([TENDER, f"--root={hello}", "--mem=64"], count)
        yield Row("spawn to exit of an empty program", started * 1e3, "ms", "a stub with a filter", stub * 1e3, stub * 2e3)
        mine = private_kb([TENDER, f"--root={image}", "--mem=64", "--", "calls", "pause"])
        yield Row("memory beyond the program's own", (mine - private_kb([CALLS, "pause"])) / 1024, "MiB", None, None, 2)
        yield from snapshot_rows(work, programs, quick)
        with network() as spaces:
            yield from redis_rows(work, programs, quick, *spaces)
            yield from nginx_rows(work, programs, quick, *spaces)
