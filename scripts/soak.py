"""Kills runs with SIGKILL, resumes them, and counts the values that come out otherwise: none may.

    python scripts/soak.py [--kills 20] [--seed 0] [--out DIR]

Every normalisation, in a tiny VGG-11 and in a tiny deep linear network, is trained once in peace
and once by processes that are killed: at random moments, in the middle of writing a table, and in
the middle of writing a checkpoint. All tables and the final checkpoints are compared bit for bit.
Prints one line of figures; leaves with 1 if a value differs.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bnexp.norms import NORMS
from bnexp.runs import RunDirectory, read_table, table_names

COMMON = (
    "probes=every",
    "measure.eval_every=5",
    "optim.momentum=0.5",
    "device=cpu",
    "threads=1",
    "progress=false",
    "checkpoint_minutes=0.0005",  # 30 ms: after almost every step
)
KINDS = {
    "vgg": ("model=vgg11", "model.width=0.0625", "batch_size=16", "data=digits", "steps=20"),
    "dln": ("model=dln", "model.k=4", "model.d=3", "data.samples=20", "optim.lr=1e-3", "steps=120"),
}
SECONDS = 1.0
"""A process is killed at most so long after its run is under way, or after a file is next begun."""

PATIENCE = 180.0
"""Seconds after which a process that neither ends nor gets under way is given up."""

WRITING = {
    "at any moment": None,
    "in a table": "tables/*/.*.tmp",
    "in a checkpoint": ".checkpoint*.tmp",
}
"""What lies in the run directory while it is being written."""


@dataclass(frozen=True)
class Case:
    """One run: how to ask for it, and its directory when made in peace and when killed."""

    overrides: tuple[str, ...]
    whole: RunDirectory
    killed: RunDirectory

    def start(self) -> subprocess.Popen[str]:
        """Start, or go on with, the run that is killed."""
        return bnexp(*self.overrides, f"out={self.killed.path.parents[1]}")


@dataclass
class Figures:
    """What was done and found."""

    kills: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    resumes: int = 0
    values: int = 0
    differing: int = 0

    def __add__(self, other: Figures) -> Figures:
        pairs = ((getattr(self, one.name), getattr(other, one.name)) for one in fields(self))
        return Figures(*(mine + its for mine, its in pairs))

    def __str__(self) -> str:
        table, checkpoint = self.kills["in a table"], self.kills["in a checkpoint"]
        return (
            f"{self.kills.total()} kills ({table} in a table, {checkpoint} in a checkpoint), "
            f"{self.resumes} resumes, {self.runs} runs, {self.values} values compared, "
            f"{self.differing} differing values"
        )


def bnexp(*arguments: str) -> subprocess.Popen[str]:
    """``bnexp train`` with these arguments, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "bnexp.cli", "train", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """What ``process`` prints on stdout; one that fails ends the soak with what it said."""
    out, err = process.communicate(timeout=PATIENCE)
    if process.returncode != 0:
        raise SystemExit(f"soak: exit code {process.returncode} of {process.args}: {err.strip()}")
    return out


def cases(out: Path, kind: str, norms: Sequence[str]) -> list[Case]:
    """The runs of ``kind`` with ``norms``, made in peace in one sweep."""
    common = (*KINDS[kind], *COMMON)
    whole = out / "whole"
    printed = finish(bnexp("-m", *common, f"norm={','.join(norms)}", f"out={whole}"))
    return [
        Case(
            (*common, f"norm={norm}"),
            RunDirectory(Path(line)),
            RunDirectory(out / "killed" / "runs" / Path(line).name),
        )
        for norm, line in zip(norms, printed.splitlines(), strict=True)
    ]


def until(process: subprocess.Popen[str], happened: Callable[[], bool]) -> bool:
    """Wait until something ``happened``; false if ``process`` ended first."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        if process.poll() is not None:
            return False
        if time.monotonic() > deadline:
            raise SystemExit(f"soak: no progress in {PATIENCE:.0f} s: {process.args}")
        time.sleep(0.0002)
    return True


def strike(case: Case, moment: str, delay: float) -> str | None:
    """Start the run and kill it ``delay`` seconds after it is under way, then at ``moment``.

    Returns what was being written when it died, None if the run ended before.
    """
    run = case.killed

    def written() -> int:
        return run.status_file.stat().st_mtime_ns if run.status_file.exists() else 0

    def writing(moment: str) -> bool:
        pattern = WRITING[moment]
        return pattern is not None and any(run.path.glob(pattern))

    before = written()
    with case.start() as process:
        try:
            alive = until(process, lambda: written() != before)
            if alive:
                time.sleep(delay)
                alive = WRITING[moment] is None or until(process, lambda: writing(moment))
        finally:
            process.kill()
        _, err = process.communicate()
    if process.returncode > 0:
        raise SystemExit(f"soak: exit code {process.returncode} of {process.args}: {err.strip()}")
    if not alive or process.returncode == 0:
        return None
    found = [name for name in WRITING if writing(name)]
    return found[0] if found else "at any moment"


def numbers(run: RunDirectory) -> dict[str, np.ndarray[Any, Any]]:
    """All values of the run's tables and of its last checkpoint, by name."""
    found: dict[str, np.ndarray[Any, Any]] = {}
    for name in table_names(run.tables_dir):
        for column, values in read_table(run.tables_dir, name).items():
            array = values.to_numpy()
            if name == "activations" and column == "values":
                found[f"{name}.lengths"] = np.array([len(row) for row in array])
                array = np.concatenate(array)
            found[f"{name}.{column}"] = array
    state = torch.load(run.path / "checkpoint.pt", weights_only=True)
    return found | dict(leaves("checkpoint", state))


def leaves(name: str, value: Any) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Every number and tensor in nested dicts and lists, by name."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(f"{name}.{key}", item)
    elif isinstance(value, list):
        yield from leaves(name, dict(enumerate(value)))
    else:
        yield name, value.numpy() if isinstance(value, torch.Tensor) else np.array(value)


def differing(one: np.ndarray[Any, Any] | None, other: np.ndarray[Any, Any] | None) -> int:
    """How many values of the two are not the same, bit for bit."""
    if one is None or other is None or one.shape != other.shape or one.dtype != other.dtype:
        return max(1, *(array.size for array in (one, other) if array is not None))
    if one.dtype == object:
        return int(np.sum(one != other))
    bits = [np.ascontiguousarray(array).reshape(-1, 1).view(np.uint8) for array in (one, other)]
    return int(np.sum(np.any(bits[0] != bits[1], axis=1)))


def compare(case: Case, figures: Figures) -> None:
    """Add to ``figures`` what the two runs of ``case`` came to."""
    whole, killed = numbers(case.whole), numbers(case.killed)
    figures.runs += 1
    figures.resumes += case.killed.log_file.read_text().count("resumed at")
    figures.values += sum(array.size for array in whole.values())
    figures.differing += sum(
        differing(whole.get(name), killed.get(name)) for name in whole.keys() | killed.keys()
    )


def soak(found: Sequence[Case], kills: int, seed: int) -> Figures:
    """Kill the runs ``found`` in turn, ``kills`` times in all, resume and compare them."""
    rng, figures, moments = random.Random(seed), Figures(), cycle(WRITING)
    for place, case in enumerate(found):
        quota = kills * (place + 1) // len(found)  # what one run misses the next makes up for
        while figures.kills.total() < quota:
            moment = strike(case, next(moments), rng.uniform(0, SECONDS))
            if moment is None:
                break
            figures.kills[moment] += 1
        finish(case.start())
        compare(case, figures)
        print(f"{case.killed.path.name:28} {figures}", file=sys.stderr)
    return figures


def main() -> int:
    """Soak every norm in both kinds of network; returns the exit code."""
    options = argparse.ArgumentParser(description="Kills runs and compares what comes of them.")
    options.add_argument("--kills", type=int, default=20, help="default: 20")
    options.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    options.add_argument("--out", type=Path, help="where to make the runs (default: kept nowhere)")
    given = options.parse_args()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as nowhere:
        out = given.out or Path(nowhere)
        if (out / "killed").exists():
            options.error(f"--out {out}: expected a folder without such runs")
        share = [given.kills // 2, given.kills - given.kills // 2]
        with ThreadPoolExecutor(len(KINDS)) as side_by_side:  # processes of one thread each
            soaked = side_by_side.map(
                lambda kind, kills: soak(cases(out, kind, list(NORMS)), kills, given.seed),
                KINDS,
                share,
            )
            figures = sum(soaked, Figures())
    print(f"{figures}, {time.monotonic() - begin:.0f} s")
    return 0 if not figures.differing and figures.kills.total() >= given.kills else 1


if __name__ == "__main__":
    sys.exit(main())
