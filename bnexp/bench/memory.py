"""Memory: what it takes to train, and what keeping it saves; asked of processes of their own."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

STEPS = 3
PACED = "landscape", "gradient_shift"
_RESET = "5"  # of /proc/self/clear_refs: forget the greatest memory so far


def peak(overrides: Sequence[str], probes: bool) -> tuple[int, int]:
    """The most bytes in use at once in a few training steps, and those in use before them.

    Args:
        overrides: of the config, as for ``bnexp train``.
        probes: whether all of the paper's probes measure at each of the steps.
    """
    greatest, before = _asked("peak", overrides, probes)
    return int(greatest), int(before)


def pace(overrides: Sequence[str], keep: bool) -> dict[str, float]:
    """Seconds that probes take in a process that keeps the memory it frees, or does not."""
    return dict(zip(PACED, map(float, _asked("pace", overrides, keep)), strict=True))


def _asked(what: str, overrides: Sequence[str], flag: bool) -> list[str]:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "bnexp.bench.memory",
            what,
            json.dumps([*overrides]),
            str(int(flag)),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()[-2:]


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


def paced(overrides: Sequence[str], keep: bool) -> list[float]:
    """`pace`, in this process."""
    from bnexp.bench.comparisons import Bench, make_trainer
    from bnexp.bench.timing import side_by_side
    from bnexp.training.memory import keep_freed_memory

    if keep:
        keep_freed_memory()
    bench = Bench(make_trainer(*overrides))
    found = side_by_side({name: bench.measure(name) for name in PACED}, seconds=1.0)
    return [found[name] for name in PACED]


if __name__ == "__main__":
    answer = {"peak": measured, "pace": paced}[sys.argv[1]]
    print(*answer(json.loads(sys.argv[2]), sys.argv[3] == "1"))
