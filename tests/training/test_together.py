"""Runs of several seeds made in one process: each as it is made alone, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bnexp.models import captured
from bnexp.norms import frozen_statistics
from bnexp.objective import Objective
from bnexp.training import Interrupted, Job, train
from bnexp.training import run as run_module
from bnexp.training import together as together_module
from bnexp.training.joined import Joined, joinable
from bnexp.training.loop import Trainer
from bnexp.training.together import train_together
from tests.training.test_run import (
    DLN,
    VGG,
    assert_same_network,
    assert_same_tables,
    job,
    saved,
    tables,
)  # fmt: skip

SEEDS = (0, 1, 2)
SMALL = [
    *DLN,
    "model.k=6",
    "model.d=4",
    "data.samples=64",
    "optim.lr=3e-4",
    "optim.momentum=0.5",
    "optim.weight_decay=0.1",
]


def jobs(out: Path, *overrides: str) -> list[Job]:
    return [job(out, *overrides, f"seed={seed}") for seed in SEEDS]


DIRECT = "together=false"


def needs_joinable(asked: list[Job]) -> list[Trainer]:
    """Trainers of these runs; the test is skipped where no passes are joined."""
    trainers = [run_module.trainer_of(one)[0] for one in asked]
    if not joinable(trainers):
        pytest.skip("here a product's last bits depend on where it lies in memory")
    return trainers


def assert_close(one: Job, other: Job, rtol: float = 1e-9, atol: float = 1e-12) -> None:
    left, right = tables(one), tables(other)
    assert left.keys() == right.keys()
    for name, expected in left.items():
        assert list(right[name]["step"]) == list(expected["step"])
        for column in expected.select_dtypes("number"):
            np.testing.assert_allclose(
                right[name][column], expected[column], rtol=rtol, atol=atol, err_msg=column
            )


@pytest.mark.parametrize("norm", ["none", "bn", "l1", "l2", "linf"])
@pytest.mark.parametrize("probes", ["paper", "none"])
def test_each_seed_is_as_alone(tmp_path: Path, norm: str, probes: str) -> None:
    """Bit for bit; and as by the network's own forward pass but for rounding."""
    common = [*SMALL, f"norm={norm}", f"probes={probes}", "steps=12", "measure.every=5"]
    together, alone = jobs(tmp_path / "a", *common), jobs(tmp_path / "b", *common)
    direct = jobs(tmp_path / "c", *common, "together=false")
    assert train_together(together) == ["done"] * 3
    for one, other, own in zip(alone, together, direct, strict=True):
        train(one)
        assert_same_tables(one, other)
        train(own)
        assert_close(own, other)
        for name, value in saved(one)["model"].items():
            assert torch.equal(value, saved(other)["model"][name]), name
        for name, value in saved(own)["model"].items():
            np.testing.assert_allclose(
                saved(other)["model"][name], value, rtol=1e-9, atol=1e-12, err_msg=name
            )


def test_in_float32_each_seed_is_as_by_its_own_pass(tmp_path: Path) -> None:
    common = [*SMALL, "norm=bn", "precision=float32", "probes=none", "steps=3"]
    together, direct = jobs(tmp_path / "a", *common), jobs(tmp_path / "b", *common, DIRECT)
    train_together(together)
    for one, own in zip(together, direct, strict=True):
        train(own)
        assert_close(own, one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", ["none", "bn", "l1"])
def test_the_activations_are_those_of_the_networks_own_pass(tmp_path: Path, norm: str) -> None:
    common = [*SMALL, f"norm={norm}", "probes=paper"]
    trainers = [run_module.trainer_of(one)[0] for one in jobs(tmp_path, *common)]
    layers = trainers[0].setting.model.layers.numbers()
    expected = []
    for one in trainers:
        with captured(one.setting.model, layers) as found, frozen_statistics(one.setting.model):
            one.setting.model(one.batches.at(0).inputs)
        expected.append(found)
    Joined(trainers)
    for one, theirs in zip(trainers, expected, strict=True):
        assert one.joined is not None
        activations = one.joined(0).activations
        assert activations.keys() == theirs.keys()
        for number, value in theirs.items():
            torch.testing.assert_close(activations[number], value, rtol=1e-9, atol=1e-9)


def test_all_passes_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_joinable(jobs(tmp_path, *SMALL))
    own, joint = [], []
    passed, passes_of = Trainer._passed, Objective.passes_of

    def counted(self: Trainer, *batch: Any) -> Any:
        own.append(self.setting.seed)
        return passed(self, *batch)

    def jointly(self: Objective, *args: Any, **options: Any) -> Any:
        joint.append(len(args[-1]))
        return passes_of(self, *args, **options)

    monkeypatch.setattr(Trainer, "_passed", counted)
    monkeypatch.setattr(Objective, "passes_of", jointly)
    train_together(jobs(tmp_path, *SMALL, "steps=12", "probes=none", "measure.every=5"))
    assert (own, joint[4:]) == ([], [3] * 13), "after a trial together and one by one"
    train(jobs(tmp_path, *SMALL, "steps=3", "probes=none", "together=false")[0])
    assert own == [0] * 4


def test_a_run_goes_on_with_the_passes_it_began_with(tmp_path: Path) -> None:
    """Whatever ``together`` says when it is resumed, as for ``threads``."""
    common = [*SMALL, "norm=bn", "steps=12", "probes=none"]
    for began, after in (("true", "false"), ("false", "true")):
        whole = job(tmp_path / f"whole-{began}", *common, f"together={began}")
        train(whole)
        cut = job(tmp_path / f"cut-{began}", *common, f"together={began}")
        with pytest.MonkeyPatch.context() as patch:
            stop_at(patch, {0: 5})
            with pytest.raises(Interrupted):
                train(cut)
        train(job(tmp_path / f"cut-{began}", *common, f"together={after}"))
        assert_same_tables(whole, cut)


def test_one_that_diverges_leaves_the_others_be(tmp_path: Path) -> None:
    common = [*SMALL, "norm=none", "optim.lr=0.0015", "steps=40", "probes=none"]
    alone = jobs(tmp_path / "b", *common)
    states = [train(one) for one in alone]
    together = jobs(tmp_path / "a", *common)
    assert train_together(together) == states
    assert {"done", "diverged"} == set(states), "or the test tests nothing"
    for one, other in zip(alone, together, strict=True):
        assert one.directory.read_status()["step"] == other.directory.read_status()["step"]
        assert_same_tables(one, other)


def stop_at(patch: pytest.MonkeyPatch, steps: dict[int, int], where: Any = run_module) -> None:
    """The run of each seed of ``steps`` is asked to stop at its step, and those beside it."""
    step, stop = Trainer.step, run_module.Stop()

    def stopping(self: Trainer, number: int, record: Any) -> Any:
        if number == steps.get(self.setting.seed):
            stop.signum = 15
        return step(self, number, record)

    @contextmanager
    def watched() -> Iterator[run_module.Stop]:
        stop.signum = None
        yield stop

    patch.setattr(Trainer, "step", stopping)
    patch.setattr(where, "watched", watched)


def test_cut_off_at_different_steps_they_meet_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = [*SMALL, "norm=bn", "steps=12", "probes=none"]
    alone, together = jobs(tmp_path / "b", *common), jobs(tmp_path / "a", *common)
    for one in alone:
        train(one)
    with monkeypatch.context() as patch:
        stop_at(patch, {0: 2, 1: 3})
        for one in together[:2]:
            with pytest.raises(Interrupted):
                train(one)
    assert [saved(one)["step"] for one in together[:2]] == [3, 4]
    assert train_together(together) == ["done"] * 3
    for one, other in zip(alone, together, strict=True):
        assert_same_tables(one, other)
        assert_same_network(one, other)


def test_finished_runs_stay_as_they_are(tmp_path: Path) -> None:
    common = [*SMALL, "steps=5", "probes=none"]
    asked = jobs(tmp_path, *common)
    train(asked[1])
    before = tables(asked[1])["train"]
    assert train_together([*reversed(asked), asked[0]]) == ["done"] * 4
    assert before.equals(tables(asked[1])["train"])


@pytest.mark.parametrize("norm", ["none", "bn", "l1"])
def test_at_the_papers_size_no_bit_changes(tmp_path: Path, norm: str) -> None:
    common = ["model=dln", "preset=paper", f"norm={norm}", "steps=2"]
    together, alone = jobs(tmp_path / "a", *common), jobs(tmp_path / "b", *common)
    needs_joinable(together)
    train_together(together)
    for one, other in zip(alone, together, strict=True):
        train(one)
        assert_same_tables(one, other)


def test_where_bits_would_change_runs_are_made_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = [*SMALL, "norm=bn", "steps=3", "probes=none"]
    trainers = needs_joinable(jobs(tmp_path, *common))
    passes_of = Objective.passes_of

    def rounded(self: Objective, *args: Any, **options: Any) -> Any:
        done = passes_of(self, *args, **options)
        return done if len(args[-1]) == 1 else replace(done, loss=done.loss * (1 + 1e-15))

    monkeypatch.setattr(Objective, "passes_of", rounded)
    assert not joinable(trainers)
    together, alone = jobs(tmp_path / "a", *common), jobs(tmp_path / "b", *common)
    train_together(together)
    for one, other in zip(alone, together, strict=True):
        train(one)
        assert_same_tables(one, other)


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
        assert_same_network(one, other)


def test_one_run_is_set_up_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, trainer_of = [], run_module.trainer_of

    def counted(one: Job) -> Any:
        made.append(one.id)
        return trainer_of(one)

    monkeypatch.setattr(run_module, "trainer_of", counted)
    for kind in ([*VGG, "steps=1"], [*SMALL, "steps=2"]):
        (one, *_) = jobs(tmp_path, *kind, "probes=none")
        assert train_together([one]) == ["done"]
    assert len(made) == len(set(made)) == 2


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
    asked = jobs(tmp_path, *common)
    with monkeypatch.context() as patch:
        stop_at(patch, {1: 4}, together_module)
        assert [type(found) for found in train_together(asked)] == [Interrupted] * 3
    # those that had made the step before another one was asked to stop made one more
    expected = [6 if one.id < asked[1].id else 5 for one in asked]
    assert [saved(one)["step"] for one in asked] == expected
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
        found = train_together(asked)
    assert [str(one) for one in found] == ["done", "cut off", "done"]
    assert [one.state() for one in asked] == ["done", "failed", "done"]
    assert train_together(asked) == ["done"] * 3
    for one, other in zip(alone, asked, strict=True):
        train(one)
        assert_same_tables(one, other)
