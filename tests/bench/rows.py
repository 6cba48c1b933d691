# SPDX-License-Identifier: Apache-2.0
"""What all sets share: a row of a table, the table in doc/benchmarks.md, processes that get their turn."""
import contextlib
import os
import pathlib
import re
import subprocess
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BERTH_BUILD", TOP / "build")).resolve()
DOC = TOP / "doc/benchmarks.md"
HEAD = ["row", "value", "unit", "peer", "peer value", "ratio", "goal", ""]


class Row:
    """One figure beside its peer's. `goal` is the largest value (or smallest, for at_least) that is ok;
    None: it is only told, and counts in another row. A value of None did not come to an end."""

    def __init__(self, row, value, unit, peer, peer_value, goal, at_least=False):
        self.cells = [row, value, unit, peer, peer_value]
        self.ratio = value / peer_value if value is not None and peer_value else None
        self.goal = "-" if goal is None else f"{'>=' if at_least else '<='}{goal:.3g}"
        self.is_ok = value is not None and (
            goal is None or (value >= goal if at_least else value <= goal))
        self.word = "" if goal is None and self.is_ok else "ok" if self.is_ok else "short"

    def texts(self):
        row, value, unit, peer, peer_value = self.cells
        number = lambda x: "-" if x is None else f"{x:.3g}" if x < 100 else f"{x:.0f}"
        return [row, number(value), unit, peer or "-", number(peer_value), number(self.ratio),
                self.goal, self.word]


def middle_pair(pairs):
    """Of pairs that were measured one right after the other, that with the middle ratio: a busy moment meets both, or is not it."""
    return sorted(pairs, key=lambda pair: pair[0] / pair[1])[(len(pairs) - 1) // 2]


def sh(*words, **options):
    return subprocess.run([str(w) for w in words], check=True, text=True,
                          stdout=subprocess.PIPE, **options).stdout


def processors():
    """(the one for what is measured, those for who measures), as lists of taskset; the same if there is but one.

    Processors are not alike: one has the interrupts. What is compared runs on the same one.
    """
    all_of_them = sorted(os.sched_getaffinity(0))
    return str(all_of_them[-1]), ",".join(map(str, all_of_them[:-1] or all_of_them))


@contextlib.contextmanager
def own_turn():
    """A function that moves a process into a cgroup with a large share of the processors."""
    name = f"berth-bench-{os.getpid()}"
    for root, key, value in (("/sys/fs/cgroup/cpu", "cpu.shares", "65536"),
                             ("/sys/fs/cgroup", "cpu.weight", "10000")):
        folder = pathlib.Path(root, name)
        try:
            if not pathlib.Path(root, "cgroup.procs").exists():
                continue
            folder.mkdir()
            (folder / key).write_text(value)
        except OSError:
            with contextlib.suppress(OSError):
                folder.rmdir()
            continue
        try:
            yield lambda pid: (folder / "cgroup.procs").write_text(str(pid))
        finally:
            for _ in range(100):
                with contextlib.suppress(OSError):
                    for pid in (folder / "cgroup.procs").read_text().split():
                        pathlib.Path(root, "cgroup.procs").write_text(pid)
                    folder.rmdir()
                    break
                time.sleep(0.05)
        return
    yield lambda pid: None


def write_doc(name, command, rows):
    """Replaces the table of one set and leaves the others."""
    text = DOC.read_text() if DOC.exists() else "# Benchmarks\n"
    machine = f"{os.cpu_count()} cores, Linux {os.uname().release}, {time.strftime('%Y-%m-%d')}"
    table = [f"## {name}", "", f"`{command}` on {machine}", "",
             "| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    table += ["| " + " | ".join(row.texts()) + " |" for row in rows]
    section = re.compile(rf"^## {name}\n.*?(?=^## |\Z)", re.M | re.S)
    body = "\n".join(table) + "\n\n"
    text = section.sub(lambda _: body, text) if section.search(text) else text + "\n" + body
    DOC.write_text(text.rstrip() + "\n")
