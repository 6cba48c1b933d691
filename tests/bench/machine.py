# SPDX-License-Identifier: Apache-2.0
"""The set `machine`: what the monitor itself costs, and disk and network beside QEMU with the same guest.

Throughput is the best of several runs, taken in turns: others on the machine can only slow one down.
"""
import contextlib
import os
import pathlib
import re
import select
import statistics
import subprocess

from guests import GUEST, Files, Guest, Late, cpu_seconds
from rows import BUILD, Row, own_turn, sh

VMM = BUILD / "src/vmm/berth-vmm"
DISK_MIB, BLOCK = 256, 1 << 20
PORT, HOST_ADDRESS, PREFIX = 7001, "10.83.1.1", 24


def wanted(options, *names):
    return not options.only or any(name in options.only for name in names)


def anonymous_mib(pid):
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Anonymous: +(\d+) kB", text, re.M).group(1)) / 1024


@contextlib.contextmanager
def empty_rooms():
    """{name: descriptor} of namespaces with nothing in them, as the daemon has them for its monitors."""
    enter = ("mount -t tmpfs -o ro,size=4096,nr_inodes=2,mode=555 none /mnt && cd /mnt && exec python3 -c "
             "'import ctypes, os; c = ctypes.CDLL(None); "
             "assert c.syscall(155, b\".\", b\".\") == 0 and c.umount2(b\".\", 2) == 0; "
             "os.write(1, b\"!\"); os.read(0, 1)'")
    first = subprocess.Popen(["unshare", "--net", "--mount", "--ipc", "--uts", "sh", "-c", enter],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    if first.stdout.read(1) != b"!":
        raise OSError("no empty namespaces")
    kinds = {"network": "net", "mounts": "mnt", "ipc": "ipc", "uts": "uts"}
    rooms = {name: os.open(f"/proc/{first.pid}/ns/{kind}", os.O_RDONLY) for name, kind in kinds.items()}
    first.communicate(b"!")
    try:
        yield rooms
    finally:
        for fd in rooms.values():
            os.close(fd)


def first_instruction(files, turn, engine, rooms):
    """(CPU seconds from exec to the guest's first instruction, MiB of anonymous memory then)"""
    words = [VMM, "--engine", engine, "--memory", "256MiB", "--kernel", GUEST / "first.elf",
             "--disk", files.dir / "disk", "--vsock", f"3,{files.dir}", "--balloon",
             "--uid", "65534"]
    # Nothing runs in the child before exec, which would count as the monitor's.
    process = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               pass_fds=rooms.values(),
                               env={**os.environ, "BERTH_FDS": ",".join(
                                   f"{name}={fd}" for name, fd in rooms.items())})
    try:
        turn(process.pid)
        if not select.select([process.stdout], [], [], 20)[0] or not process.stdout.read(1):
            raise Late(f"{engine}: the first instruction does not come")
        seconds = cpu_seconds(process.pid)
        return seconds, anonymous_mib(process.pid)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        with contextlib.suppress(OSError):
            (files.dir / "vsock").unlink()


def costs(files, turn, options):
    count = 10 if options.quick else 40
    for engine in ("kvm", "soft"):
        if engine == "kvm" and not pathlib.Path("/dev/kvm").exists():
            print("# no /dev/kvm here: what the monitor costs is measured under soft alone")
            continue
        with empty_rooms() as rooms:
            found = [first_instruction(files, turn, engine, rooms) for _ in range(count)]
        seconds, mib = (statistics.median(x) for x in zip(*found))
        is_goal = engine == "kvm"
        yield Row(f"exec to the first guest instruction, {engine}", seconds * 1e3, "CPU ms",
                  "Firecracker", 8, 3 if is_goal else None)
        yield Row(f"anonymous memory beyond the guest's, {engine}", mib, "MiB", "Firecracker", 5,
                  3 if is_goal else None)


def instructions(options):
    rounds = 3_000_000 if options.quick else 20_000_000
    for engine, called in (("soft-interpreter", "interpreted"), ("soft", "translated")):
        for line in sh(BUILD / "tests/bench/bench_soft", rounds, engine).splitlines():
            name, rate, _ = line.split()
            kind = name.rpartition("_")[2]
            goal = 100 if engine == "soft-interpreter" and kind != "vectors" else None
            yield Row(f"{called} instructions a second, {kind}", int(rate) / 1e6, "M/s", None, None,
                      goal, at_least=True)


class Network:
    """A namespace with a tap for each machine and a server for all of them."""

    def __init__(self):
        self.name = f"berth-bench-{os.getpid()}"

    def __enter__(self):
        sh("ip", "netns", "add", self.name)
        try:
            for i, tap in enumerate(("berth0", "qemu0")):
                sh("ip", "-n", self.name, "tuntap", "add", "dev", tap, "mode", "tap", "vnet_hdr")
                sh("ip", "-n", self.name, "addr", "add", f"10.83.{i + 1}.1/{PREFIX}", "dev", tap)
                sh("ip", "-n", self.name, "link", "set", tap, "up")
            self.server = subprocess.Popen(
                self.inside(GUEST / "net", "serve", PORT), stdout=subprocess.PIPE)
            self.server.stdout.readline()
        except BaseException:
            sh("ip", "netns", "del", self.name)
            raise
        return self

    def inside(self, *words):
        return [str(word) for word in ("nsenter", f"--net=/run/netns/{self.name}", *words)]

    def __exit__(self, *_):
        self.server.kill()
        self.server.wait()
        self.server.stdout.close()
        sh("ip", "netns", "del", self.name)


# Name, command for the guest, units of one run (MiB or operations), unit.
TRANSFERS = [
    ("sequential read", "=/bench/disk /dev/vda read sequential 1048576 {n} 2", 1024, "MiB/s"),
    ("sequential write", "=/bench/disk /dev/vda write sequential 1048576 {n} 2", 1024, "MiB/s"),
    ("random read of 4 KiB, 8 at once", "=/bench/disk /dev/vda read random 4096 {n} 8", 16000, "1/s"),
    ("random write of 4 KiB, 8 at once", "=/bench/disk /dev/vda write random 4096 {n} 8", 16000,
     "1/s"),
    ("random read of 4 KiB, one by one", "=/bench/disk /dev/vda read random 4096 {n} 1", 4000, "1/s"),
    ("write and flush of 4 KiB, one by one", "=/bench/disk /dev/vda flush random 4096 {n} 1", 2000,
     "1/s"),
    ("network, guest to host", "=/bench/net send {host} 7001 {n}000000", 192, "MB/s"),
    ("network, host to guest", "=/bench/net receive {host} 7001 {n}000000", 192, "MB/s"),
]


def machines(files, turn, network, options):
    """{place: started guest}"""
    image = lambda name: files.dir / name
    for name in ("disk-berth", "disk-qemu"):
        with open(image(name), "wb") as file:
            for _ in range(DISK_MIB):
                file.write(b"\xa5" * BLOCK)
    inside = network.inside()
    found = {"berth": Guest(files, "berth", turn, inside=inside, more=options.vmm_option + [
        "--disk", image("disk-berth"), "--tap", "berth0,mac=02:00:00:00:00:51"])}
    if not options.no_peer:
        found["tcg"] = Guest(files, "tcg-pci", turn, inside=inside, more=[
            "-drive", f"file={image('disk-qemu')},format=raw,if=none,id=d,aio=io_uring,discard=unmap",
            "-device", "virtio-blk-pci,drive=d",
            "-netdev", "tap,id=n,ifname=qemu0,script=no,downscript=no,vhost=off",
            "-device", "virtio-net-pci,netdev=n,mac=02:00:00:00:00:52"])
    return found


def transfers(files, turn, options):
    with Network() as network:
        guests = machines(files, turn, network, options)
        try:
            for i, guest in enumerate(guests.values()):
                guest.ready()
                guest.run(f"busybox ip link set eth0 up; "
                          f"busybox ip addr add 10.83.{i + 1}.2/{PREFIX} dev eth0")
            for name, command, count, unit in TRANSFERS:
                if wanted(options, "disk" if "/disk " in command else "network", name.split()[0]):
                    yield compare(guests, name, command, count, unit, options)
        finally:
            for guest in guests.values():
                guest.__exit__()


def compare(guests, name, command, count, unit, options):
    count = count // 4 if options.quick else count
    best, cpu = {}, {}
    for _ in range(3 if options.quick else 5):
        for i, (key, guest) in enumerate(guests.items()):
            line = command.format(n=count, host=f"10.83.{i + 1}.1")
            used, wall, _ = guest.run(line)
            best[key] = max(best.get(key, 0), count / wall)
            cpu[key] = min(cpu.get(key, 1e9), used)
    peer = best.get("tcg")
    spent = " and ".join(f"{cpu[key] * 1e3:.0f}" for key in cpu)
    return Row(f"{name} (CPU ms: {spent})", best["berth"], unit, "QEMU TCG", peer, peer,
               at_least=True)


def machine(options):
    with own_turn() as turn, Files(turn) as files:
        with open(files.dir / "disk", "wb") as file:
            file.truncate(BLOCK * 16)
        os.chmod(files.dir, 0o777)
        if wanted(options, "costs"):
            yield from costs(files, turn, options)
        if wanted(options, "instructions"):
            yield from instructions(options)
        if wanted(options, "disk", "network", *(row[0].split()[0] for row in TRANSFERS)):
            yield from transfers(files, turn, options)
