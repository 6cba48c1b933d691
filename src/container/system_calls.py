#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints { "name", number, 32-bit number }, of each system call, sorted: what filter.c includes.

usage: system_calls.py COMPILER...
"""
import re
import subprocess
import sys

# Newer than the headers of Debian 12, with one number on every architecture.
NEWER = {
    "cachestat": 451, "fchmodat2": 452, "map_shadow_stack": 453, "futex_wake": 454,
    "futex_wait": 455, "futex_requeue": 456, "statmount": 457, "listmount": 458,
    "lsm_get_self_attr": 459, "lsm_set_self_attr": 460, "lsm_list_modules": 461, "mseal": 462,
    "setxattrat": 463, "getxattrat": 464, "listxattrat": 465, "removexattrat": 466,
    "open_tree_attr": 467, "file_getattr": 468, "file_setattr": 469,
}


def numbers(header):
    """{name: number} of one header; empty if this architecture has none such."""
    done = subprocess.run(sys.argv[1:] + ["-E", "-dM", "-x", "c", "-"], text=True,
                          input=f"#include <{header}>\n", capture_output=True, check=False)
    found = dict(re.findall(r"^#define __NR_(\w+) (\d+)$", done.stdout, re.M))
    # What is newer than this list has been judged by nobody: it is no known call.
    known = {name: int(n) for name, n in found.items() if int(n) <= max(NEWER.values())}
    return known | NEWER if found else {}


native = numbers("asm/unistd_64.h") or numbers("asm/unistd.h")
compat = numbers("asm/unistd_32.h")
for name in sorted(native.keys() | compat.keys()):
    print(f'{{ "{name}", {native.get(name, -1)}, {compat.get(name, -1)} }},')
