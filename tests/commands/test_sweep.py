"""Sweeps: runs are shared between processes, and old results taken only when that is said."""

from __future__ import annotations

import threading
import time
from concurrent.futures import BrokenExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bnexp.cli import main
from bnexp.commands import launch, sweep
from bnexp.commands.sweep import make, planned, reused
from bnexp.config import expand
from bnexp.errors import UserError
from bnexp.training.run import Job
from tests.commands.test_cli import TINY


def jobs(out: Path, *more: str) -> list[Job]:
    return planned(expand([*TINY, f"out={out}", *more]))


def test_equal_runs_of_a_sweep_are_one(tmp_path: Path) -> None:
    assert len(jobs(tmp_path, "optim.lr=1e-6,0.000001", "seed=0,0,1")) == 2


def test_a_run_that_another_process_makes_is_passed_over_and_taken_up_when_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = jobs(tmp_path, "seed=0,1,2")
    order: list[int] = []
    original = launch.train

    def noted(job: Job, wait: bool = True) -> str:
        state = original(job, wait=wait)
        order.append(job.config.run.seed)
        return state

    monkeypatch.setattr(launch, "train", noted)
    monkeypatch.setattr(sweep, "PATIENCE", 0.05)
    held = threading.Event()

    def hold() -> None:
        runs[0].directory.path.mkdir(parents=True)
        with runs[0].directory.lock():
            held.set()
            while len(order) < 2:
                time.sleep(0.01)

    other = threading.Thread(target=hold)
    other.start()
    held.wait()
    code, paths = make(runs)
    other.join()
    assert code == 0
    assert order == [1, 2, 0]
    assert paths == [run.directory.path for run in runs]
    assert "1 runs are being made by others" in capsys.readouterr().err


def stale_jobs(tmp_path: Path, how: str) -> list[Job]:
    """A run that is not there, of whose config one by other code is."""
    old, new = (jobs(tmp_path, f"seed={seed}", f"stale={how}")[0] for seed in (0, 1))
    main(["train", *TINY, "seed=0", f"out={tmp_path}"])
    return [replace(new, stale=[old.id])]


def test_results_of_other_code_are_taken_only_when_told(tmp_path: Path) -> None:
    for how in ("reuse", "remake"):
        (job,) = stale_jobs(tmp_path, how)
        old = {job.id: job.directory.path.with_name(job.stale[0])}
        assert reused([job]) == (old if how == "reuse" else {})
    with pytest.raises(UserError, match="stale=reuse to take them or stale=remake"):
        reused(stale_jobs(tmp_path, "ask"))


def test_the_first_runs_config_of_a_sweep_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "-m", *TINY, "seed=5,6", "--cfg", f"out={tmp_path}"]) == 0
    out = capsys.readouterr().out
    assert "seed: 5" in out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("deadly", [True, False])
def test_a_worker_killed_before_any_run_has_begun_fails_at_most_its_own(
    tmp_path: Path, deadly: bool
) -> None:
    runs = jobs(tmp_path, "seed=0,1,2")
    asked: list[int] = []

    class Launcher:
        def launch(self, overrides: list[list[str]], _: int) -> list[Any]:
            asked.append(len(overrides))
            if len(overrides) > 1 or (deadly and len(asked) == 2):
                raise BrokenExecutor
            return [SimpleNamespace(return_value=launch.Outcome(tmp_path, "done"))]

    outcomes = launch._launch(Launcher(), runs, "out=x")  # type: ignore[arg-type]
    assert asked == [3, 1, 1, 1], "together, then each alone"
    failed = [run.id for run in runs if outcomes[run.id].state == "failed"]
    assert failed == [runs[0].id] * deadly
