"""Runs of several seeds made in one process: each as it is made alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bnexp.training import Interrupted, Job, train
from bnexp.training import run as run_module
from bnexp.training import together as together_module
from bnexp.training.loop import Trainer
from bnexp.training.together import Joined, joinable, train_together
from tests.training.test_run import DLN, VGG, assert_same_tables, job, saved, tables

SEEDS = (0, 1, 2)
SMALL = [*DLN, "model.k=6", "data.samples=50", "optim.momentum=0.5", "optim.weight_decay=0.1"]


def jobs(out: Path, *overrides: str) -> list[Job]:
    return [job(out, *overrides, f"seed={seed}") for seed in SEEDS]


def assert_close(one: Job, other: Job) -> None:
    left, right = tables(one), tables(other)
    assert left.keys() == right.keys()
    for name, expected in left.items():
        assert list(right[name]["step"]) == list(expected["step"])
        for column in expected.select_dtypes("number"):
            np.testing.assert_allclose(
                right[name][column], expected[column], rtol=1e-9, atol=1e-12, err_msg=column
            )


@pytest.mark.parametrize("norm", ["none", "bn", "l1", "l2", "linf"])
@pytest.mark.parametrize("probes", ["paper", "none"])
def test_each_seed_is_as_alone(tmp_path: Path, norm: str, probes: str) -> None:
    common = [*SMALL, f"norm={norm}", f"probes={probes}", "steps=12", "measure.every=5"]
    together, alone = jobs(tmp_path / "a", *common), jobs(tmp_path / "b", *common)
    assert train_together(together) == ["done"] * 3
    for one, other in zip(alone, together, strict=True):
        train(one)
        assert_close(one, other)
        for name, value in saved(one)["model"].items():
            np.testing.assert_allclose(
                saved(other)["model"][name], value, rtol=1e-9, atol=1e-12, err_msg=name
            )


def test_the_passes_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone each seed makes only the steps that read activations, and the last."""
    alone: list[int] = []
    passed = Trainer._passed

    def counted(self: Trainer, *batch: Any) -> Any:
        alone.append(self.setting.seed)
        return passed(self, *batch)

    monkeypatch.setattr(Trainer, "_passed", counted)
    train_together(jobs(tmp_path, *SMALL, "steps=12", "probes=paper", "measure.every=5"))
    assert len(alone) == 4 * len(SEEDS)


def test_one_that_diverges_leaves_the_others_be(tmp_path: Path) -> None:
    common = [*SMALL, "norm=none", "optim.lr=0.004", "steps=40", "probes=none"]
    alone = jobs(tmp_path / "b", *common)
    states = [train(one) for one in alone]
    together = jobs(tmp_path / "a", *common)
    assert train_together(together) == states
    assert {"done", "diverged"} == set(states), "or the test tests nothing"
    for one, other in zip(alone, together, strict=True):
        assert one.directory.read_status()["step"] == other.directory.read_status()["step"]
        if one.state() == "done":
            assert_close(one, other)


def test_cut_off_at_different_steps_they_meet_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = [*SMALL, "norm=bn", "steps=12", "probes=none"]
    alone, together = jobs(tmp_path / "b", *common), jobs(tmp_path / "a", *common)
    for one in alone:
        train(one)
    step = Trainer.step
    stop = run_module.Stop()

    def stopping(self: Trainer, number: int, record: Any) -> Any:
        stop.signum = 15 if number == 2 + self.setting.seed else None
        return step(self, number, record)

    class Context:
        def __enter__(self) -> Any:
            return stop

        def __exit__(self, *error: object) -> None:
            return None

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", stopping)
        patch.setattr(run_module, "watched", Context)
        for one in together[:2]:
            with pytest.raises(Interrupted):
                train(one)
    assert train_together(together) == ["done"] * 3
    for one, other in zip(alone, together, strict=True):
        assert_close(one, other)


def test_finished_runs_stay_as_they_are(tmp_path: Path) -> None:
    common = [*SMALL, "steps=5", "probes=none"]
    asked = jobs(tmp_path, *common)
    train(asked[1])
    before = tables(asked[1])["train"]
    assert train_together([*reversed(asked), asked[0]]) == ["done"] * 4
    assert before.equals(tables(asked[1])["train"])


@pytest.mark.parametrize("kind", [VGG, [*SMALL, "norm=noisy_bn"], [*SMALL, "batch_size=10"]])
def test_what_cannot_be_joined_is_made_one_by_one(tmp_path: Path, kind: list[str]) -> None:
    common = [*kind, "steps=3", "probes=none"]
    trainers = [run_module.trainer_of(one)[0] for one in jobs(tmp_path, *common)]
    assert not joinable(trainers)
    with pytest.raises(ValueError, match="cannot be joined"):
        Joined(trainers)
    together, alone = jobs(tmp_path / "a", *common), jobs(tmp_path / "b", *common)
    train_together(together)
    for one, other in zip(alone, together, strict=True):
        train(one)
        assert_same_tables(one, other)


def test_joined_parameters_are_still_the_optimisers(tmp_path: Path) -> None:
    trainers = [run_module.trainer_of(one)[0] for one in jobs(tmp_path, *SMALL)]
    before = [[id(p) for p in one.setting.model.parameters()] for one in trainers]
    values = [[p.detach().clone() for p in one.setting.model.parameters()] for one in trainers]
    Joined(trainers)
    for one, ids, old in zip(trainers, before, values, strict=True):
        assert [id(p) for p in one.setting.model.parameters()] == ids
        held = [p for group in one.optimizer.param_groups for p in group["params"]]
        assert [id(p) for p in held] == ids
        assert all(torch.equal(p, v) for p, v in zip(held, old, strict=True))


def test_asked_to_stop_every_run_saves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    common = [*SMALL, "norm=bn", "steps=12", "probes=none"]
    asked, step, stop = jobs(tmp_path, *common), Trainer.step, run_module.Stop()

    class Context:
        def __enter__(self) -> Any:
            return stop

        def __exit__(self, *error: object) -> None:
            return None

    def stopping(self: Trainer, number: int, record: Any) -> Any:
        if (number, self.setting.seed) == (4, 1):
            stop.signum = 15
        return step(self, number, record)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", stopping)
        patch.setattr(together_module, "watched", Context)
        with pytest.raises(Interrupted):
            train_together(asked)
    # those that had made the step before another one was asked to stop made one more
    expected = [6 if one.id < asked[1].id else 5 for one in asked]
    assert [saved(one)["step"] for one in asked] == expected
    stop.signum = None
    assert train_together(asked) == ["done"] * 3


def test_one_that_fails_leaves_the_others_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = [*SMALL, "norm=bn", "steps=8", "probes=none"]
    alone, asked = jobs(tmp_path / "b", *common), jobs(tmp_path / "a", *common)
    step = Trainer.step

    def failing(self: Trainer, number: int, record: Any) -> Any:
        if (number, self.setting.seed) == (4, 1):
            raise RuntimeError("cut off")
        return step(self, number, record)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", failing)
        with pytest.raises(RuntimeError, match="cut off"):
            train_together(asked)
    assert [one.state() for one in asked] == ["done", "failed", "done"]
    assert train_together(asked) == ["done"] * 3
    for one, other in zip(alone, asked, strict=True):
        train(one)
        assert_close(one, other)
