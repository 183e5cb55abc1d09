"""Tiny runs that the tests share, and what two runs must have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from bnexp.config import check, compose
from bnexp.registry import NORMS
from bnexp.runs import read_table
from bnexp.training import Interrupted, Job, identify, train
from bnexp.training import run as run_module
from bnexp.training.interrupts import Stop
from bnexp.training.loop import Trainer

VGG = ("model=vgg", "model.depth=11", "model.width=0.0625", "batch_size=16", "data=digits")
DLN = ("model=dln", "model.k=4", "model.d=3", "data.samples=20", "optim.lr=1e-3")
EVERY = (
    "probes=every",
    "measure.eval_every=3",
    # so few iterations that the sharpness shows where it started, at the eigenvector before
    "+probes.sharpness={every:2,dense:0,tolerance:1e-3,max_iterations:3}",
)
"""Every probe, at every step or every other one."""

kinds = pytest.mark.parametrize("kind", [VGG, DLN], ids=["vgg", "dln"])
every_norm = pytest.mark.parametrize("norm", NORMS.names())
every_kind_and_norm = pytest.mark.parametrize(
    ("kind", "norm"),
    [
        pytest.param(kind, norm, id=f"{name}-{norm}")
        for name, kind in (("vgg", VGG), ("dln", DLN))
        for norm in NORMS.names()
        if (name, norm) != ("dln", "instance")  # which is for images
    ],
)


def job(out: Path, *overrides: str) -> Job:
    return identify(check(compose(["progress=false", "device=cpu", f"out={out}", *overrides])))


def finished(out: Path, *overrides: str) -> Job:
    """A run that was trained to its end."""
    made = job(out, *overrides)
    train(made)
    return made


def tables(of: Job) -> dict[str, pd.DataFrame]:
    """What the run's status lists."""
    manifest = of.directory.read_status()["tables"]
    return {name: read_table(of.directory.tables_dir, name, manifest) for name in manifest}


def saved(of: Job) -> dict[str, Any]:
    """The state in the last checkpoint."""
    path = of.directory.path / "checkpoint.pt"
    return dict(torch.load(path, weights_only=True)["state"])


def assert_same_tables(one: Job, other: Job, *names: str) -> None:
    left, right = tables(one), tables(other)
    assert names or left.keys() == right.keys()
    for name in names or left:
        pd.testing.assert_frame_equal(left[name], right[name], check_exact=True)


def assert_same_state(one: Job, other: Job) -> None:
    """Parameters, running statistics, the optimiser's state and the random state, bit for bit."""
    left, right = saved(one), saved(other)
    for part in ("model", "optimizer", "random"):
        assert_same(left[part], right[part], part)


def assert_same(one: Any, other: Any, name: str) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys(), name
        for key, value in one.items():
            assert_same(value, other[key], f"{name}.{key}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), name
    else:
        assert one == other, name


def cut_off(of: Job, at: int, saved_after: int | None = None) -> None:
    """Train until step ``at`` fails; stopped and gone on with after step ``saved_after``."""
    stop, step = Stop(), Trainer.step

    def failing(self: Trainer, number: int, record: Any) -> Any:
        if number == at:
            raise RuntimeError("cut off")
        made = step(self, number, record)
        if number == saved_after:
            stop.ask(15)
        return made

    @contextmanager
    def watched() -> Iterator[Stop]:
        yield stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "step", failing)
        patch.setattr(run_module, "watched", watched)
        if saved_after is not None:
            with pytest.raises(Interrupted):
                train(of)
            stop.signum = None
        with pytest.raises(RuntimeError, match="cut off"):
            train(of)
