# SPDX-License-Identifier: Apache-2.0
"""The set `engine`: the software CPU beside native and beside QEMU's TCG.

A value is host CPU time of the monitor's process over native CPU time of the same command; what a
program's bare start costs is taken off both. Answers must be the same everywhere.
"""
import contextlib
import math
import statistics

from guests import Files, Guest, Host, Late
from rows import Row, own_turn

SUITE, CRYPTO, TEXT = "=/bench/suite", "=/bench/crypto", "/dev/shm/berth-bench-text"

# Name, group, command, count of a quick run (about 30 ms natively), what to run before.
ROWS = [
    ("int", "compute", f"{SUITE} int {{n}}", 4_000_000),
    ("sieve", "compute", f"{SUITE} sieve {{n}}", 10),
    ("qsort", "compute", f"{SUITE} qsort {{n}}", 40),
    ("call", "compute", f"{SUITE} call {{n}}", 500),
    ("dispatch", "compute", f"{SUITE} dispatch {{n}}", 100_000),
    ("chase_small", "compute", f"{SUITE} chase_small {{n}}", 4_000_000),
    ("chase_large", "compute", f"{SUITE} chase_large {{n}}", 400_000),
    ("memcpy", "compute", f"{SUITE} memcpy {{n}}", 60),
    ("rep_movsb", "compute", f"{SUITE} rep_movsb {{n}}", 20_000),
    ("nbody", "compute", f"{SUITE} nbody {{n}}", 400_000),
    ("mandelbrot", "compute", f"{SUITE} mandelbrot {{n}}", 2_000),
    ("x87", "compute", f"{SUITE} x87 {{n}}", 3_000_000),
    ("sgemm", "vector", f"{SUITE} sgemm {{n}}", 100),
    ("aes-128-gcm", "vector", f"{CRYPTO} aes-128-gcm {{n}}", 8_000),
    ("chacha20", "vector", f"{CRYPTO} chacha20 {{n}}", 6_000),
    ("sha256", "vector", f"{CRYPTO} sha256 {{n}}", 2_500),
    ("rsa-2048", "vector-integer", f"{CRYPTO} rsa {{n}} /bench/key.pem", 60),
    ("shell", "application", "i=0; while [ $i -lt {n} ]; do i=$((i+1)); done; echo $i", 15_000),
    ("gzip", "application", f"busybox head -c {{n}}000 {TEXT} | busybox gzip | busybox md5sum", 800),
    ("sha256sum", "application", f"busybox head -c {{n}}000 {TEXT} | busybox sha256sum", 6_000),
    ("md5sum", "application", f"busybox head -c {{n}}000 {TEXT} | busybox md5sum", 12_000),
    ("dd-bytes", "application", "busybox dd if=/dev/zero of=/dev/null bs=1 count={n} 2>/dev/null",
     60_000),
    ("fork-exec", "application",
     "i=0; while [ $i -lt {n} ]; do /bench/suite nothing 1 >/dev/null; i=$((i+1)); done", 40),
    ("dd-blocks", "system", "busybox dd if=/dev/zero of=/dev/null bs=1M count={n} 2>/dev/null", 400),
    ("getppid", "system", f"{SUITE} getppid {{n}}", 300_000),
    ("page_fault", "system", f"{SUITE} page_fault {{n}}", 80),
    ("fork", "system", f"{SUITE} fork {{n}}", 150),
    ("vfork_exec", "system", f"{SUITE} vfork_exec {{n}}", 100),
    ("pipe", "system", f"{SUITE} pipe {{n}}", 8_000),
    ("signal", "system", f"{SUITE} signal {{n}}", 20_000),
    ("xadd", "system", f"{SUITE} xadd {{n}}", 4_000_000),
    ("rewrite", "rewrite", f"{SUITE} rewrite {{n}}", 60_000),
]
# What two CPUs do to each other: what it is, row of the suite, count of a quick run.
TWO = [
    ("lock xadd by two CPUs", "xadd_two", 1_250_000),
    ("a spin lock that two CPUs want", "lock_two", 500_000),
    ("a word back and forth between two CPUs that spin", "turns_two", 50_000),
    ("a futex back and forth between two CPUs that sleep", "futex_two", 5_000),
    ("mprotect of pages that the other CPU reads", "shoot_two", 2_000),
]
# What issue 4's table asks of the geometric mean of a group; None: to be no slower than the peer.
GOALS = {"compute": 1.6, "application": 3, "vector": 2, "system": None, "rewrite": 20,
         "vector-integer": None}
SAYS = {"compute": "compute suite, geometric mean", "application": "applications, geometric mean",
        "vector": "vector and crypto, geometric mean", "system": "system, geometric mean",
        "rewrite": "self-modifying code", "vector-integer": "RSA-2048 signatures"}
BOOT_GOAL = 1.5
# A text that packs like one, made the same way on both sides.
MAKE_TEXT = (f"i=0; while [ $i -lt 300 ]; do echo $i the quick brown fox $((i*i*7919)) jumps over "
             f"$((i*31337)) lazy dogs; i=$((i+1)); done >{TEXT}.1; "
             f"for i in 1 2 3 4 5 6 7 8 9 10; do busybox cat {TEXT}.1; done >{TEXT}.2; "
             f"i=0; while [ $i -lt 80 ]; do busybox cat {TEXT}.2; i=$((i+1)); done >{TEXT}; "
             f"busybox rm {TEXT}.1 {TEXT}.2")


def mean(values):
    """The geometric mean; None if one is missing."""
    if not values or None in values:
        return None
    return math.exp(sum(math.log(value) for value in values) / len(values))


class Place:
    """Where a row runs: the host or a guest; what its bare start costs; what went wrong."""

    def __init__(self, runs, quick):
        self.runs, self.is_gone, self.base = runs, False, {}
        count = 5 if quick else 9
        for kind, command in (("=", f"{SUITE} nothing 1"), ("", ":")):
            self.base[kind] = statistics.median(runs.run(command)[0] for _ in range(count))

    def seconds(self, command):
        cpu, _, answer = self.runs.run(command)
        return max(cpu - self.base["=" if command.startswith("=") else ""], 1e-5), answer


def sample(name, key, guest, command, answer):
    """Seconds of one run in a guest, or None if it went wrong."""
    if guest.is_gone:
        return None
    try:
        seconds, said = guest.seconds(command)
    except Late as late:
        print(f"# {name}: {key}: {late}", flush=True)
        guest.is_gone = True
        return None
    if said == answer:
        return seconds
    print(f"# {name}: {key} answers {said!r}, the host {answer!r}", flush=True)
    return None


def affordable(row, host, guests, options):
    """A count that takes the slowest guest a few seconds, found with a small one."""
    name, _, command, count = row
    pilot, most = max(count // 8, 1), 3 if options.quick else 5
    command = command.format(n=pilot)
    answer = host.seconds(command)[1]
    took = max(sample(name, key, guest, command, answer) or 0 for key, guest in guests.items())
    whole = count if options.quick else 2 * count
    return max(min(whole, int(pilot * most / max(took, 1e-3))), pilot)


def measure(row, host, guests, options):
    """({place: times native}, native seconds) of one row."""
    command = row[2].format(n=affordable(row, host, guests, options))
    answer = host.seconds(command)[1]
    natives, times = [], {key: [] for key in guests}
    for _ in range(1 if options.quick else 3):
        natives += [host.seconds(command)[0] for _ in range(2)]
        for key, guest in guests.items():
            times[key].append(sample(row[0], key, guest, command, answer))
    native = statistics.median(natives)
    return {key: None if None in found else statistics.median(found) / native
            for key, found in times.items()}, native


def wanted(options, *names):
    return not options.only or any(name in options.only for name in names)


def boots(files, turn, options):
    samples = 1 if options.quick else 3
    found = {"berth": [], "tcg": []}
    for _ in range(samples):
        for key in found:
            if key == "tcg" and options.no_peer:
                continue
            more = options.vmm_option if key == "berth" else []
            with Guest(files, key, turn, initrd=files.plain, more=more, execute=False) as guest:
                found[key].append(guest.boot_seconds())
    ours, peer = (statistics.median(x) if x else None for x in found.values())
    yield Row("Debian's cloud kernel, exec to agent ready", ours, "CPU s", "TCG", peer, BOOT_GOAL)


def groups(host, guests, options):
    values = {}
    for row in ROWS:
        name, group, command, _ = row
        if not wanted(options, name, group) or (CRYPTO in command and not host.runs.files.has_crypto):
            continue
        times, native = measure(row, host, guests, options)
        values.setdefault(group, []).append(times)
        yield Row(f"{name} ({group}, {native * 1e3:.0f} ms natively)", times["berth"], "x native",
                  "TCG", times.get("tcg"), None)
    for group, found in values.items():
        ours, peer = (mean([times.get(key) for times in found]) for key in ("berth", "tcg"))
        goal = GOALS[group] or peer
        yield Row(f"**{SAYS[group]}**", ours, "x native", "TCG", peer, goal)


def two_cpus(files, turn, options, stack):
    """The host and guests with two CPUs each; QEMU's microvm has one without ACPI, and does not boot with it."""
    places = {"host": Host(files, turn)}
    for key, kind in (("berth", "berth"), ("tcg", "tcg-pci")):
        if key == "tcg" and options.no_peer:
            continue
        more = options.vmm_option if key == "berth" else []
        places[key] = stack.enter_context(Guest(files, kind, turn, cpus=2, more=more))
        places[key].ready()
    for key, place in places.items():
        count = place.run("busybox nproc")[2]
        if count != "2":
            raise SystemExit(f"{key} has {count} CPUs, for rows of two CPUs")
    return places


def sampled(places, name, count, rounds):
    """{place: [(CPU seconds, wall seconds)]} of a row of the suite; answers must be the same."""
    found = {key: [] for key in places}
    for _ in range(rounds):
        answers = set()
        for key, place in places.items():
            cpu, wall, answer = place.run(f"{SUITE} {name} {count}")
            found[key].append((cpu, wall))
            answers.add(answer)
        if len(answers) != 1:
            print(f"# {name}: answers {answers}", flush=True)
    return found


def scaling(files, turn, options):
    """Two busy loops on two CPUs over one, as much longer as they take in the guest and not on the host,
    where others want the processors, too; the least of several. And what two CPUs do to each other."""
    rounds = 4 if options.quick else 8
    count = 3_000_000 if options.quick else 10_000_000
    with contextlib.ExitStack() as stack:
        places = two_cpus(files, turn, options, stack)
        one, both = (sampled(places, name, count, rounds) for name in ("int", "spin_two"))
        longer = {key: min(wall for _, wall in both[key]) / min(wall for _, wall in one[key])
                  for key in places}
        yield Row("two busy loops on two CPUs over one, wall time over the host's",
                  longer["berth"] / longer["host"], "x", "TCG",
                  longer.get("tcg") and longer["tcg"] / longer["host"], 1.1)
        for says, name, count in TWO:
            found = sampled(places, name, count if options.quick else 2 * count, rounds)
            cpu = {key: statistics.median(cpu for cpu, _ in took) * 1e3
                   for key, took in found.items()}
            yield Row(f"{says} ({cpu['host']:.0f} ms natively)", cpu["berth"], "CPU ms", "TCG",
                      cpu.get("tcg"), cpu.get("tcg"))


def engine(options):
    with own_turn() as turn, Files(turn) as files:
        if wanted(options, "boot"):
            yield from boots(files, turn, options)
        kinds = ["berth"] + ([] if options.no_peer else ["tcg"])
        machines = [Guest(files, kind, turn, more=options.vmm_option if kind == "berth" else [])
                    for kind in kinds]
        try:
            for guest in machines:
                guest.ready()
            host = Place(Host(files, turn), options.quick)
            guests = dict(zip(kinds, (Place(guest, options.quick) for guest in machines)))
            if wanted(options, "application", *(row[0] for row in ROWS if TEXT in row[2])):
                for place in [host, *guests.values()]:
                    place.runs.run(MAKE_TEXT)
            yield from groups(host, guests, options)
        finally:
            for guest in machines:
                guest.__exit__()
            Host(files, turn).run(f"busybox rm -f {TEXT}")
        if wanted(options, "scaling"):
            yield from scaling(files, turn, options)
