"""Kills and full disks: what is read is what was written."""

from __future__ import annotations

import errno
import itertools
import os
import random
import resource
import signal
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bnexp.runs import RunDirectory, TableWriter, find_runs, read_table

from .conftest import forked

STEPS = 400


def rows(step: int) -> dict[str, dict[str, object]]:
    made = {"train": {"step": step, "x": step / 7}}
    if step % 5 == 0:
        made["moments"] = {"step": step, "layer": 1, "unit": [0, 1], "mean": [step, -step]}
    return made


def train(path: Path, stop: int, pipe: Connection) -> None:
    """Makes a run, or goes on with it from where its status says; a checkpoint every 3 steps."""
    with RunDirectory(path).lock() as run:
        run.create({"steps": STEPS}, {})
        status = run.read_status()
        writer = TableWriter(run.tables_dir, run.check)
        writer.restore(status.get("tables", {}))
        pipe.send("under way")
        for step in range(status.get("step", -1) + 1, stop):
            for table, columns in rows(step).items():
                writer.add(table, columns)
            if step % 3 == 2 or step == stop - 1:
                run.write_status(state="running", step=step, tables=writer.flush())
        run.write_status(state="done", step=stop - 1, tables=writer.flush())
    pipe.send("done")


def check(path: Path, count: int | None = None) -> int:
    """Every step there is has its values, none is missing or doubled; returns how many."""
    (run,) = find_runs(path)
    train = run.table("train")
    count = len(train) if count is None else count
    assert train["step"].tolist() == [*range(count)]
    assert train["x"].tolist() == [step / 7 for step in range(count)]
    moments = run.table("moments")
    assert moments["mean"].tolist() == [m for s in range(0, count, 5) for m in (s, -s)]
    assert run.state == "running" or run.verify() == []
    return count


def test_twenty_kills_at_random_moments_change_nothing(tmp_path: Path) -> None:
    path, draw, reached = tmp_path / "run", random.Random(0), 0
    for number in range(20):
        with forked(train, path, 10**9) as (pid, pipe):
            assert pipe.recv() == "under way"
            while number % 2 and find_runs(path)[0].status.get("step", 0) <= reached:
                time.sleep(0.001)
            time.sleep(draw.uniform(0, 0.03))
            if find_runs(path)[0].status:
                check(path)  # a reader beside the writer sees whole rows without gaps, too
            os.kill(pid, signal.SIGKILL)
        if RunDirectory(path).read_status():
            reached = check(path)
            assert find_runs(path)[0].state == "interrupted"
    with forked(train, path, reached + 10) as (_, pipe):
        assert [pipe.recv(), pipe.recv()] == ["under way", "done"]
    assert check(path, reached + 10) > 20
    assert find_runs(path)[0].state == "done"
    assert not [*path.rglob("*.tmp")]


class Killed(BaseException):
    """Stands for the end of the process at one call of the system."""


@pytest.mark.parametrize("allowed", range(7))
def test_going_back_killed_anywhere_can_be_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: int
) -> None:
    manifests = []
    writer = TableWriter(tmp_path)
    for step in range(4):
        for table in ("eval", "train"):
            writer.add(table, {"step": step})
        manifests.append(writer.flush())
    real, calls = Path.unlink, itertools.count()

    def unlink(self: Path, missing_ok: bool = False) -> None:
        if next(calls) >= allowed:
            raise Killed
        real(self, missing_ok)

    with monkeypatch.context() as patch, suppress(Killed):
        patch.setattr(Path, "unlink", unlink)
        TableWriter(tmp_path).restore(manifests[0])
    for manifest in (manifests[0], None):
        read = read_table(tmp_path, "train", manifests[0])
        assert read["step"].tolist() == [0]
        TableWriter(tmp_path).restore(manifests[0])
        assert read_table(tmp_path, "train", manifest)["step"].tolist() == [0]


def fill(path: Path, pipe: Connection) -> None:
    """Writes tables under a limit on the size of files, and again without it."""
    writer = TableWriter(path)
    values = np.random.default_rng(0).normal(size=2000)
    for table in ("small", "train", "other"):
        columns = {"step": 0, "x": values[:1] if table == "small" else values}
        writer.add(table, columns)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        writer.flush()
    except OSError as error:
        pipe.send((error.errno, sorted(str(file.relative_to(path)) for file in path.rglob("*.*"))))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    writer.flush()
    pipe.send(writer.buffered)


def test_a_full_disk_loses_no_row_and_writes_none_twice(tmp_path: Path) -> None:
    with forked(fill, tmp_path) as (_, pipe):
        number, there = pipe.recv()
        assert number == errno.EFBIG
        assert there == ["small/000000000-000000000.parquet"]
        assert pipe.recv() == 0
    values = np.random.default_rng(0).normal(size=2000)
    for table in ("train", "other"):
        expected = pd.DataFrame({"step": 0, "x": values})
        pd.testing.assert_frame_equal(read_table(tmp_path, table), expected, check_exact=True)
    assert len(read_table(tmp_path, "small")) == 1
