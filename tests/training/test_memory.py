"""Freed memory is kept: the next pass finds it without asking the system for pages."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys

import pytest
import torch

from bnexp.training.memory import DEFAULT, keep_freed_memory

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")


def faults(threshold: tuple[int, ...]) -> int:
    """Pages that the system hands out while 16 MB are asked for, written and freed ten times."""
    assert keep_freed_memory(*threshold)
    torch.ones(1 << 22)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(1 << 22)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@glibc
def test_memory_that_was_freed_is_there_again() -> None:
    given_back = faults((DEFAULT,))
    kept = faults(())
    assert kept * 10 < given_back


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
