"""Which runs of a sweep share a process, and what becomes of them there."""

from __future__ import annotations

from pathlib import Path

import pytest

from bnexp.cli import main
from bnexp.commands.sweep import ask, grouped
from bnexp.config import expand
from bnexp.runs import find_runs
from tests.training.test_run import assert_same_tables
from tests.training.test_together import SMALL

LINEAR = [*SMALL, "steps=6", "device=cpu", "progress=false"]


def seeds_of(overrides: list[str], at_once: int) -> list[list[int]]:
    groups = grouped(ask(expand(overrides)), at_once)
    return [[run.job.config.run.seed for run in group] for group in groups]


def test_seeds_share_a_process_and_all_processes_have_some(tmp_path: Path) -> None:
    sweep = [*LINEAR, f"out={tmp_path}", "seed=range(5)"]
    assert seeds_of(sweep, 1) == [[0, 1, 2, 3, 4]]
    assert seeds_of(sweep, 2) == [[0, 1, 2], [3, 4]]
    assert seeds_of(sweep, 10**9) == [[0], [1], [2], [3], [4]]
    assert seeds_of([*sweep, "norm=none,bn"], 2) == [[0, 1, 2], [3, 4]] * 2


@pytest.mark.parametrize(
    "apart",
    ["together=false", "fail_fast=true", "batch_size=16"],
    ids=lambda o: o.partition("=")[0],
)
def test_what_cannot_be_joined_shares_none(tmp_path: Path, apart: str) -> None:
    found = seeds_of([*LINEAR, f"out={tmp_path}", "seed=0,1", apart], 1)
    assert found == [[0], [1]]


def test_convolutional_networks_share_none(tmp_path: Path) -> None:
    assert seeds_of(["model=vgg11", f"out={tmp_path}", "seed=0,1"], 1) == [[0], [1]]


def test_a_sweep_gives_what_single_runs_give(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = [*LINEAR, "norm=bn"]
    one, other = tmp_path / "one", tmp_path / "other"
    assert main(["train", "-m", *common, "seed=0,1,2", f"out={one}"]) == 0
    assert "3 runs: 3 done" in capsys.readouterr().err
    for seed in range(3):
        assert main(["train", *common, f"seed={seed}", f"out={other}"]) == 0
    for left, right in zip(
        *(ask(expand([*common, "seed=0,1,2", f"out={o}"])) for o in (one, other)), strict=True
    ):
        assert_same_tables(left.job, right.job)
    assert len(find_runs(one)) == 3


def test_of_runs_in_one_process_each_has_its_own_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = [*LINEAR, "norm=none", "optim.lr=0.0015", "steps=40", f"out={tmp_path}"]
    assert main(["train", "-m", *common, "seed=0,1,2"]) == 0
    told = capsys.readouterr().err
    assert "3 runs: 1 done, 2 diverged" in told
    assert main(["train", "-m", *common, "seed=0,1,2,3"]) == 0
    assert "3 skipped" in capsys.readouterr().err
