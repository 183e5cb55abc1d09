"""Freed memory is kept: the next pass finds it without asking the system for pages."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from bnexp.training.memory import DEFAULT, keep_freed_memory

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")


COUNTING = """
import resource, statistics, sys
import torch
from bnexp.training.memory import keep_freed_memory
assert keep_freed_memory(*map(int, sys.argv[1:]))
seen = []
for _ in range(11):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(1 << 22)
    seen.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(statistics.median(seen))
"""


def faults(*threshold: int) -> int:
    """Pages that the system hands out while 16 MB are asked for, written and freed: the median.

    In a process of its own: what other tests left in memory would count. Now and then the system
    takes pages back that nobody used for a while, hence the median.
    """
    asked = [sys.executable, "-c", COUNTING, *map(str, threshold)]
    return int(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)


@glibc
def test_memory_that_was_freed_is_there_again() -> None:
    assert faults() * 10 < faults(DEFAULT)


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False


@glibc
def test_a_run_keeps_it() -> None:
    """``bnexp train`` asks for it before its first step."""
    code = (
        "import bnexp.training.run as run\n"
        "told = []\n"
        "run.keep_freed_memory = lambda: told.append(True)\n"
        "from bnexp.config import check, compose\n"
        "import tempfile\n"
        "with tempfile.TemporaryDirectory() as out:\n"
        "    overrides = ['model=dln', 'model.k=2', 'steps=1', 'progress=false', f'out={out}']\n"
        "    assert run.train(run.identify(check(compose(overrides)))) == 'done'\n"
        "assert told == [True]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
