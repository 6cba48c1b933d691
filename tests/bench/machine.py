# SPDX-License-Identifier: Apache-2.0
"""The set `machine`."""


def machine(options):
    yield from ()
