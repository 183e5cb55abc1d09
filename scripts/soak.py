"""Does everything to runs that may happen to them, and counts the values that come out otherwise.

    python scripts/soak.py [--minutes 10] [--seed 0] [--out DIR]

Every normalisation, in a tiny VGG-11 and in a tiny deep linear network, is trained once in peace
and again and again by processes that meet faults at random moments (`FAULTS`). Then the run is
brought to its end, and its tables and last checkpoint are compared bit for bit with those made in
peace. Prints one line of figures; leaves with 1 if a value differs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bnexp.cli import main as bnexp
from bnexp.runs import RunDirectory, read_table

COMMON = (
    *("probes=every", "measure.eval_every=5", "optim.momentum=0.5", "device=cpu", "threads=1"),
    "+probes.sharpness={every:2,dense:0,tolerance:1e-3,max_iterations:3}",
    *("progress=false", "checkpoint_minutes=0.0005"),  # 30 ms: after almost every step
)
KINDS = {
    "vgg": (
        *("model=vgg", "model.depth=11", "model.width=0.0625", "batch_size=16", "data=digits"),
        "steps=20",
    ),
    "dln": ("model=dln", "model.k=4", "model.d=3", "data.samples=20", "optim.lr=1e-3", "steps=90"),
}
NORMS = ("none", "bn", "noisy_bn", "noise_only", "l1", "l2", "linf")

PATIENCE = 240.0
"""Seconds after which a process that neither ends nor gets under way is given up."""

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["bnexp.commands.train", "bnexp.commands.sweep"])


class Command:
    """A ``bnexp`` command in a process of its own, killed at the end of the block."""

    def __init__(self, *arguments: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._output = Path(self._folder.name) / "output"
        self.process = PROCESSES.Process(target=_run, args=(arguments, str(self._output)))

    def __enter__(self) -> Command:
        self.process.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.join()
        self._folder.cleanup()

    @property
    def output(self) -> str:
        """What it has printed so far, on stdout and stderr."""
        return self._output.read_text() if self._output.exists() else ""

    def signal(self, number: int) -> None:
        """Send it a signal; one that ended is let be."""
        if self.process.is_alive() and self.process.pid is not None:
            os.kill(self.process.pid, number)

    def until(self, happened: Callable[[], Any]) -> bool:
        """Wait until something ``happened``; false if the process ended first."""
        deadline = time.monotonic() + PATIENCE
        while not happened():
            if not self.process.is_alive():
                return False
            if time.monotonic() > deadline:
                raise TimeoutError(f"no progress in {PATIENCE:.0f} s: {self.output}")
            time.sleep(0.0005)
        return True

    def code(self) -> int:
        """Its exit code; negative if a signal ended it."""
        self.process.join(PATIENCE)
        if self.process.exitcode is None:
            raise TimeoutError(f"no end in {PATIENCE:.0f} s: {self.output}")
        return self.process.exitcode


def _run(arguments: Sequence[str], output: str) -> None:
    with Path(output).open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    code = bnexp(list(arguments))
    if loky := sys.modules.get("joblib.externals.loky"):
        loky.get_reusable_executor().shutdown()  # its idle workers would be waited for, 5 minutes
    sys.exit(code)


@dataclass(frozen=True)
class Case:
    """One run: how to ask for it, and its directory when made in peace and when disturbed."""

    overrides: tuple[str, ...]
    whole: RunDirectory
    run: RunDirectory

    def start(self) -> Command:
        """Start, or go on with, the run that is disturbed."""
        return Command("train", *self.overrides, f"out={self.run.path.parents[1]}")

    def finish(self, code: int = 0, word: str = "") -> None:
        """Bring it to its end, or have it refused with ``code`` and ``word``."""
        with self.start() as command:
            if command.code() != code or word not in command.output:
                raise SystemExit(f"soak: expected {code} {word}: {self.run.path}: {command.output}")

    def checkpoints(self) -> tuple[Path, Path]:
        """The last one and the one before it."""
        return self.run.path / "checkpoint.pt", self.run.path / "checkpoint-before.pt"


def make(out: Path, *overrides: str) -> Case:
    """A run made in peace; what is disturbed lies beside it."""
    with Command("train", *overrides, f"out={out / 'whole'}") as command:
        if command.code() != 0:
            raise SystemExit(f"soak: {command.output}")
        path = Path(command.output.splitlines()[-1])
    return Case(overrides, RunDirectory(path), RunDirectory(out / "soak" / "runs" / path.name))


def under_way(command: Command, case: Case, rng: random.Random, seconds: float = 0.5) -> bool:
    """Wait until the process makes steps, and then for a random time; false if it ended first."""

    def written() -> int:
        return case.run.status_file.stat().st_mtime_ns if case.run.status_file.exists() else 0

    before = written()
    if not command.until(lambda: written() not in (0, before)):
        return False
    time.sleep(rng.uniform(0, seconds))
    return command.process.is_alive()


def stopped(number: int, pattern: str | None = None) -> Callable[[Case, random.Random], bool]:
    """The fault of a signal; with ``pattern``, while such a file is being written."""

    def act(case: Case, rng: random.Random) -> bool:
        with case.start() as command:
            alive = under_way(command, case, rng)
            if alive and pattern is not None:
                alive = command.until(lambda: any(case.run.path.glob(pattern)))
            command.signal(number)
            return command.code() != 0 and alive

    return act


kill = stopped(signal.SIGKILL)


def damaged(case: Case, rng: random.Random) -> bool:
    """Killed, and the last checkpoint is damaged: the one before it serves."""
    last, before = case.checkpoints()
    if not (kill(case, rng) and before.exists() and last.exists()):
        return False
    data = bytearray(last.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    last.write_bytes(rng.choice([data, data[: len(data) // 2], b""]))
    return True


def removed(case: Case, rng: random.Random) -> bool:
    """Killed, and a table part goes missing: refused by its name until it is back."""
    last, _ = case.checkpoints()
    if not (kill(case, rng) and last.exists()):
        return False
    tables = torch.load(last, weights_only=True)["tables"]
    table = rng.choice(sorted(tables))
    part = case.run.tables_dir / table / rng.choice(tables[table])["name"]
    data = part.read_bytes()
    part.unlink()
    case.finish(2, part.name)
    part.write_bytes(data)
    return True


def foreign(case: Case, rng: random.Random) -> bool:
    """Killed, and a checkpoint of another run lies there: refused until the right one is back."""
    last, _ = case.checkpoints()
    if not (kill(case, rng) and last.exists()):
        return False
    data = last.read_bytes()
    torch.save({**torch.load(last, weights_only=True), "run": "another"}, last)
    case.finish(2, "it is of run another")
    last.write_bytes(data)
    return True


def deleted(case: Case, rng: random.Random) -> bool:
    """The directory is deleted in mid-run: the process ends, and nothing says that it is done."""
    with case.start() as command:
        alive = under_way(command, case, rng)
        aside = case.run.path.with_name("deleted")
        case.run.path.rename(aside)
        shutil.rmtree(aside)
        if command.code() == 0 and alive and case.run.path.exists():
            raise SystemExit(f"soak: {case.run.path}: done after it was deleted")
    shutil.rmtree(case.run.path, ignore_errors=True)
    return alive


def two_at_once(case: Case, rng: random.Random) -> bool:
    """Two processes are asked for the run; one is killed."""
    with case.start() as one, case.start() as other:
        alive = under_way(one, case, rng)
        rng.choice([one, other]).signal(signal.SIGKILL)
        if (codes := {one.code(), other.code()}) - {0, -signal.SIGKILL}:
            raise SystemExit(f"soak: {codes}: {one.output} {other.output}")
    return alive


def copied(case: Case, rng: random.Random) -> bool:
    """The directory is copied while it is written: the copy is gone on with or refused."""
    target = RunDirectory(case.run.path.parents[2] / "copy" / "runs" / case.run.path.name)
    shutil.rmtree(target.path, ignore_errors=True)
    with case.start() as command:
        alive = under_way(command, case, rng)
        with contextlib.suppress(shutil.Error):  # files that were renamed meanwhile
            shutil.copytree(case.run.path, target.path, ignore=shutil.ignore_patterns("lock"))
        command.signal(signal.SIGKILL)
    copy = Case(case.overrides, case.whole, target)
    with copy.start() as command:
        code = command.code()
        if code not in (0, 2) or (code == 0 and differences(copy)[1]):
            raise SystemExit(f"soak: {target.path}: {code}: {command.output}")
    return alive


FAULTS: dict[str, Callable[[Case, random.Random], bool]] = {
    "SIGKILL": kill,
    "SIGKILL in a table": stopped(signal.SIGKILL, "tables/*/.*.tmp"),
    "SIGKILL in a checkpoint": stopped(signal.SIGKILL, ".checkpoint*.tmp"),
    "SIGTERM": stopped(signal.SIGTERM),
    "SIGINT": stopped(signal.SIGINT),
    "damaged checkpoint": damaged,
    "removed part": removed,
    "checkpoint of another run": foreign,
    "deleted in mid-run": deleted,
    "two at once": two_at_once,
    "copied in mid-run": copied,
}


def numbers(run: RunDirectory) -> dict[str, np.ndarray[Any, Any]]:
    """All values of the run's tables and of its last checkpoint, by name."""
    manifest = run.read_status()["tables"]
    values: dict[str, np.ndarray[Any, Any]] = {}
    for name in manifest:
        for column, series in read_table(run.tables_dir, name, manifest).items():
            array = series.to_numpy()
            if array.dtype == object and not isinstance(array[0], str):
                values[f"{name}.lengths"] = np.array([len(row) for row in array])
                array = np.concatenate(array)
            values[f"{name}.{column}"] = array
    checkpoint = torch.load(run.path / "checkpoint.pt", weights_only=True)
    return values | dict(_leaves("checkpoint", [checkpoint["step"], checkpoint["state"]]))


def _leaves(name: str, value: Any) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Every number and tensor in nested dicts and lists, by name."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(f"{name}.{key}", item)
    elif isinstance(value, list):
        yield from _leaves(name, dict(enumerate(value)))
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


def differences(case: Case) -> tuple[int, int]:
    """How many values the run has, and how many are not those of the run made in peace."""
    whole, run = numbers(case.whole), numbers(case.run)
    return sum(array.size for array in whole.values()), sum(
        differing(whole.get(name), run.get(name)) for name in whole.keys() | run.keys()
    )


def soak(case: Case, faults: Sequence[str], rng: random.Random) -> tuple[Counter[str], int, int]:
    """Do ``faults`` to the run in turn and end it: what happened, values, values that differ."""
    shutil.rmtree(case.run.path.parents[1], ignore_errors=True)
    happened = Counter(name for name in faults if FAULTS[name](case, rng))
    case.finish()
    return happened, *differences(case)


def main() -> int:
    """Soak every norm in both kinds of network; returns the exit code."""
    options = argparse.ArgumentParser(description="Disturbs runs and compares what comes of them.")
    options.add_argument("--minutes", type=float, default=10, help="default: 10")
    options.add_argument("--seed", type=int, default=0, help="of faults and moments")
    options.add_argument("--out", type=Path, help="where to make the runs (default: kept nowhere)")
    given = options.parse_args()
    begin, rng, total = time.monotonic(), random.Random(given.seed), Counter[str]()
    cases: dict[tuple[str, str], Case] = {}
    with tempfile.TemporaryDirectory() as nowhere:
        out = given.out or Path(nowhere)
        while time.monotonic() - begin < 60 * given.minutes:
            kind, norm = rng.choice([*KINDS]), rng.choice(NORMS)
            if (kind, norm) not in cases:
                options = (*KINDS[kind], *COMMON, f"norm={norm}")
                cases[kind, norm] = make(out / f"{kind}-{norm}", *options)
            faults, values, wrong = soak(cases[kind, norm], rng.choices([*FAULTS], k=4), rng)
            total.update({"runs": 1, "values": values, "differing": wrong, **faults})
            print(f"{kind} {norm}: {wrong} values differ after {dict(faults)}", file=sys.stderr)
    print(json.dumps({"seconds": round(time.monotonic() - begin), **total}))
    return 1 if total["differing"] else 0


if __name__ == "__main__":
    sys.exit(main())
