"""How much memory a process needs to train: asked of a process of its own."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

STEPS = 3
_RESET = "5"  # of /proc/self/clear_refs: forget the greatest memory so far


def peak(overrides: Sequence[str], probes: bool) -> tuple[int, int]:
    """The most bytes in use at once in a few training steps, and those in use before them.

    Args:
        overrides: of the config, as for ``bnexp train``.
        probes: whether all of the paper's probes measure at each of the steps.
    """
    done = subprocess.run(
        [sys.executable, "-m", "bnexp.bench.memory", json.dumps([*overrides]), str(int(probes))],
        capture_output=True,
        text=True,
        check=True,
    )
    greatest, before = done.stdout.split()[-2:]
    return int(greatest), int(before)


def measured(overrides: Sequence[str], probes: bool) -> tuple[int, int]:
    """`peak`, in this process."""
    from bnexp.bench.comparisons import make_trainer
    from bnexp.training.memory import keep_freed_memory

    keep_freed_memory()
    trainer = make_trainer(*overrides)
    if not probes:
        trainer.probes = []
    on_cuda = next(trainer.setting.model.parameters()).is_cuda
    before = _reset(on_cuda)
    for number in range(STEPS):
        trainer.step(number, lambda rows: None)  # noqa: ARG005
    return _greatest(on_cuda), before


def _reset(on_cuda: bool) -> int:
    """Forget the greatest memory so far; returns the bytes in use now."""
    if on_cuda:
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text(_RESET, encoding="ascii")
    return _greatest(on_cuda=False)


def _greatest(on_cuda: bool) -> int:
    """The most bytes that were in use at once."""
    if on_cuda:
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    kilobytes = sys.platform != "darwin"  # there it is bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << (10 if kilobytes else 0)


if __name__ == "__main__":
    print(*measured(json.loads(sys.argv[1]), sys.argv[2] == "1"))
