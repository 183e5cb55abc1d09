"""Everything that may happen to a run, as functions; and what of its values comes out otherwise.

A run is trained once in peace and again by processes that meet `FAULTS` at random moments. Then it
is brought to its end, and its tables and last checkpoint are compared bit for bit with those made
in peace. ``scripts/soak.py`` does this for many minutes, ``test_nothing_lost.py`` a few times.
"""

from __future__ import annotations

import contextlib
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
VGG = ("model=vgg", "model.depth=11", "model.width=0.0625", "batch_size=16", "data=digits")
DLN = ("model=dln", "model.k=4", "model.d=3", "data.samples=20", "optim.lr=1e-3")
KINDS = {"vgg": (*VGG, "steps=20"), "dln": (*DLN, "steps=90")}
NORMS = ("none", "bn", "noisy_bn", "noise_only", "l1", "l2", "linf")

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["bnexp.commands.train", "bnexp.commands.sweep"])


class Command(PROCESSES.Process):  # type: ignore[name-defined, misc]
    """A ``bnexp`` command in a process of its own, killed at the end of the block."""

    def __init__(self, *arguments: str) -> None:
        file, name = tempfile.mkstemp()
        os.close(file)
        self._file = Path(name)
        super().__init__(target=_run, args=(arguments, name))

    def __enter__(self) -> Command:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()
        self.join()
        self._file.unlink()

    @property
    def output(self) -> str:
        """What it has printed so far, on stdout and stderr."""
        return self._file.read_text()

    def signal(self, number: int) -> None:
        if self.is_alive():
            os.kill(self.pid, number)

    def until(self, happened: Callable[[], Any]) -> bool:
        """Wait until something ``happened``; false if the process ended first."""
        deadline = time.monotonic() + 240
        while not happened():
            if not self.is_alive():
                return False
            assert time.monotonic() < deadline, f"no progress: {self.output}"
            time.sleep(0.0005)
        return True

    def code(self) -> int:
        """Its exit code, once it has ended; negative if a signal ended it."""
        self.until(lambda: False)
        return int(self.exitcode)


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
        return Command("train", *self.overrides, f"out={self.run.path.parents[1]}")

    def finish(self, code: int = 0, word: str = "") -> None:
        """Bring it to its end, or have it refused with ``code`` and ``word``."""
        with self.start() as command:
            assert (command.code(), word in command.output) == (code, True), command.output


def make(out: Path, *overrides: str) -> Case:
    """A run made in peace; what is disturbed lies beside it."""
    with Command("train", *overrides, f"out={out / 'whole'}") as command:
        assert command.code() == 0, command.output
        path = Path(command.output.splitlines()[-1])
    return Case(overrides, RunDirectory(path), RunDirectory(out / "soak" / "runs" / path.name))


def under_way(command: Command, case: Case, rng: random.Random) -> bool:
    """Wait until the process makes steps, and then for a random time; false if it ended first."""
    before = case.run.read_status()
    if not command.until(lambda: case.run.read_status() not in ({}, before)):
        return False
    time.sleep(rng.uniform(0, 0.5))
    return bool(command.is_alive())


# Each fault returns whether it happened in time.


def stopped(number: int, pattern: str = "") -> Callable[[Case, random.Random], bool]:
    """The fault of a signal; with ``pattern``, while such a file is being written."""

    def act(case: Case, rng: random.Random) -> bool:
        with case.start() as command:
            alive = under_way(command, case, rng)
            if alive and pattern:
                alive = command.until(lambda: any(case.run.path.glob(pattern)))
            command.signal(number)
            return command.code() != 0 and alive

    return act


kill = stopped(signal.SIGKILL)


def killed(case: Case, rng: random.Random) -> Path | None:
    """The last of two checkpoints of the run, which was killed; None if it has no two."""
    last, before = (case.run.path / f"checkpoint{name}.pt" for name in ("", "-before"))
    return last if kill(case, rng) and before.exists() and last.exists() else None


def damaged(case: Case, rng: random.Random) -> bool:
    """Killed, and the last checkpoint is damaged: the one before it serves."""
    if last := killed(case, rng):
        data = bytearray(last.read_bytes())
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        last.write_bytes(rng.choice([data, data[: len(data) // 2], b""]))
    return last is not None


def removed(case: Case, rng: random.Random) -> bool:
    """Killed, and a table part goes missing: refused by its name until it is back."""
    if last := killed(case, rng):
        tables = torch.load(last, weights_only=True)["tables"]
        table = rng.choice(sorted(tables))
        part = case.run.tables_dir / table / rng.choice(tables[table])["name"]
        part.rename(case.run.path / "aside")
        case.finish(2, part.name)
        (case.run.path / "aside").rename(part)
    return last is not None


def foreign(case: Case, rng: random.Random) -> bool:
    """Killed, and a checkpoint of another run lies there: refused until the right one is back."""
    if last := killed(case, rng):
        data = last.read_bytes()
        torch.save({**torch.load(last, weights_only=True), "run": "another"}, last)
        case.finish(2, "it is of run another")
        last.write_bytes(data)
    return last is not None


def deleted(case: Case, rng: random.Random) -> bool:
    """The directory is deleted in mid-run: the process ends, and nothing says that it is done."""
    with case.start() as command:
        alive = under_way(command, case, rng)
        shutil.rmtree(case.run.path.rename(case.run.path.with_name("deleted")))
        assert command.code() != 0 or not alive or not case.run.path.exists(), command.output
    shutil.rmtree(case.run.path, ignore_errors=True)
    return alive


def two_at_once(case: Case, rng: random.Random) -> bool:
    """Two processes are asked for the run; one is killed."""
    with case.start() as one, case.start() as other:
        alive = under_way(one, case, rng)
        rng.choice([one, other]).signal(signal.SIGKILL)
        assert {one.code(), other.code()} <= {0, -signal.SIGKILL}, one.output + other.output
    return alive


def copied(case: Case, rng: random.Random) -> bool:
    """The directory is copied while it is written: the copy is gone on with or refused."""
    target = RunDirectory(case.run.path.parents[2] / "copy" / "runs" / case.run.path.name)
    shutil.rmtree(target.path, ignore_errors=True)
    with case.start() as command:
        alive = under_way(command, case, rng)
        with contextlib.suppress(shutil.Error):  # files that were renamed meanwhile
            shutil.copytree(case.run.path, target.path, ignore=shutil.ignore_patterns("lock"))
    with Case(case.overrides, case.whole, target).start() as command:
        code = command.code()
        assert code == 2 or (code == 0 and not differing(numbers(case.whole), numbers(target)))
    return alive


FAULTS = {
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
    tables = [read_table(run.tables_dir, name, manifest).to_dict("list") for name in manifest]
    checkpoint = torch.load(run.path / "checkpoint.pt", weights_only=True)
    return dict(_leaves("", [tables, checkpoint["step"], checkpoint["state"]]))


def _leaves(name: str, value: Any) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Every number, text and tensor in nested dicts and lists, by name."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(f"{name}.{key}", item)
    else:
        yield name, np.asarray(value)


def differing(whole: Mapping[str, Any], run: Mapping[str, Any]) -> int:
    """How many values the cells and tensors have that the two do not share, bit for bit."""
    one, other = (
        {(name, array.dtype, array.shape, array.tobytes()) for name, array in values.items()}
        for values in (whole, run)
    )
    both = {**run, **whole}
    return sum(max(1, both[name].size) for name in {name for name, *_ in one ^ other})


def soak(case: Case, faults: Sequence[str], rng: random.Random) -> tuple[Counter[str], int, int]:
    """Do ``faults`` to the run in turn and end it: what happened, values, values that differ."""
    shutil.rmtree(case.run.path.parents[1], ignore_errors=True)
    happened = Counter(name for name in faults if FAULTS[name](case, rng))
    case.finish()
    whole = numbers(case.whole)
    values = sum(array.size for array in whole.values())
    return happened, values, differing(whole, numbers(case.run))
