# SPDX-License-Identifier: Apache-2.0
"""The same guest under berth-vmm and under QEMU, and the host beside them: commands, CPU seconds, answers."""
import contextlib
import os
import pathlib
import resource
import select
import shutil
import subprocess
import tempfile
import time

from rows import BUILD, TOP, sh

GUEST = BUILD / "tests/bench/guest"
MODULES = ["virtio_pci", "virtio_blk", "virtio_net", "virtio_balloon", "vmw_vsock_virtio_transport"]
READY = b"the guest is up"


class Late(Exception):
    """The guest did not answer in time, or ended."""


def cpu_seconds(pid):
    """What all threads of a process and of its children have used, those that ended too."""
    children = set()
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            children |= set(map(int, (task / "children").read_text().split()))
    return sum(time.clock_gettime((~each << 3) | 2) for each in {pid, *children})


class Files:
    """Kernel, initial file system and the programs, for guests and for the host; made in their share of the processors."""

    def __init__(self, turn):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="berth-bench-", dir="/dev/shm"))
        taken = {"preexec_fn": lambda: turn(os.getpid())}
        self.kernel_dir = sh(TOP / "tests/images/kernel", **taken).strip()
        self.kernel = next(pathlib.Path(self.kernel_dir, "boot").glob("vmlinuz-*"))
        self.plain = self.dir / "plain.cpio"
        sh(TOP / "tests/images/initramfs", self.kernel_dir, BUILD / "src/agent/berth-agent",
           self.plain, *MODULES, **taken)
        self.bench = self.dir / "bench"
        self.bench.mkdir()
        for name in ("suite", "serve", "crypto", "disk", "net"):
            if (GUEST / name).exists():
                shutil.copy(GUEST / name, self.bench)
                sh("strip", self.bench / name)
        self.has_crypto = (self.bench / "crypto").exists()
        if self.has_crypto:
            (self.bench / "key.pem").write_text(
                sh("openssl", "genrsa", "2048", stderr=subprocess.DEVNULL))
        # A second archive behind the first: the kernel unpacks both.
        names = "\n".join(["bench"] + [f"bench/{p.name}" for p in self.bench.iterdir()])
        archive = subprocess.run(["busybox", "cpio", "-o", "-H", "newc"], input=names.encode(),
                                 cwd=self.dir, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                 check=True).stdout
        data = self.plain.read_bytes()
        self.initrd = self.dir / "bench.cpio"
        self.initrd.write_bytes(data + b"\0" * (-len(data) % 512) + archive)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.dir)


class Guest:
    """A machine that runs commands typed on its console. `kind` is "berth", "tcg" or "tcg-pci"."""

    def __init__(self, files, kind, turn, initrd=None, cpus=1, memory=512, more=(), execute=True,
                 inside=()):
        self.log = tempfile.TemporaryFile()
        append = "console=ttyS0 panic=-1 quiet" + (" berth.exec=/bench/serve" if execute else "")
        initrd = initrd or files.initrd
        if kind == "berth":
            words = [BUILD / "src/vmm/berth-vmm", "--cpus", cpus, "--memory", f"{memory}MiB",
                     "--cache", pathlib.Path.home() / ".cache/berth/unpacked", "--exit-on-reset",
                     "--kernel", files.kernel, "--initrd", initrd, "--append", append]
            if not any(str(word) == "--engine" for word in more):
                words += ["--engine", "soft"]
        else:
            machine = "microvm,acpi=off,rtc=on" if kind == "tcg" else "q35"
            words = ["qemu-system-x86_64", "-accel", "tcg", "-M", machine, "-cpu", "max",
                     "-smp", cpus, "-m", memory, "-nodefaults", "-no-reboot", "-display", "none",
                     "-serial", "stdio", "-kernel", files.kernel, "-initrd", initrd,
                     "-append", append]
        self.process = subprocess.Popen(
            [str(word) for word in [*inside, *words, *more]], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self.log, preexec_fn=lambda: turn(os.getpid()))
        self.pid = self.process.pid
        self.output = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.log):
            with contextlib.suppress(OSError):
                stream.close()

    def why(self):
        self.log.seek(0)
        return (self.output[-300:] + self.log.read()[-600:]).decode(errors="replace")

    def read_until(self, mark, seconds):
        """What came before the mark and the rest of its line."""
        end = time.monotonic() + seconds
        while True:
            at = self.output.find(mark)
            line_end = self.output.find(b"\n", at) if at >= 0 else -1
            if line_end >= 0:
                found = self.output[:at], self.output[at + len(mark):line_end]
                self.output = self.output[line_end + 1:]
                return found
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise Late(f"no {mark.decode()} in {seconds} s: {self.why()}")
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                raise Late(f"ended before {mark.decode()}: {self.why()}")
            self.output += data

    def boot_seconds(self, seconds=180):
        """CPU seconds from exec to the agent's line."""
        self.read_until(READY, seconds)
        return cpu_seconds(self.pid)

    def ready(self, seconds=180):
        self.read_until(b"@ready", seconds)

    def run(self, command, seconds=120):
        """(CPU seconds of the monitor, wall seconds, output)"""
        cpu, wall = cpu_seconds(self.pid), time.monotonic()
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()
        before, after = self.read_until(b"@end ", seconds)
        cpu, wall = cpu_seconds(self.pid) - cpu, time.monotonic() - wall
        if after.strip() != b"0":
            raise Late(f"{command}: status {after.decode()}: {before.decode(errors='replace')[-300:]}")
        return cpu, wall, before.decode(errors="replace").strip()


class Host:
    """The same commands without a machine around them."""

    def __init__(self, files, turn):
        self.files, self.turn = files, turn

    def run(self, command, seconds=120):
        command = command.replace("/bench/", f"{self.files.bench}/")
        words = (command[1:].split() if command.startswith("=")
                 else ["busybox", "sh", "-c", command])
        # busybox's shell prefers its own programs, as in the guest.
        before, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, timeout=seconds, check=True,
                              preexec_fn=lambda: self.turn(os.getpid()))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return cpu, time.monotonic() - wall, done.stdout.decode(errors="replace").strip()
