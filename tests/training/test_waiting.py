"""Losses looked at later: the same tables and the same end as when every step is looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bnexp.probes import base
from bnexp.runs.tables import TableWriter
from bnexp.training import Interrupted, Job, train, waiting
from bnexp.training import run as run_module
from bnexp.training.loop import Trainer
from tests.training.test_run import (
    DLN,
    VGG,
    _context,
    assert_same_network,
    assert_same_tables,
    job,
    tables,
)

KINDS = pytest.mark.parametrize("kind", [VGG, DLN], ids=["vgg", "dln"])


def looking_every(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    monkeypatch.setitem(run_module.LOOK_EVERY, "cpu", steps)


def twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int, *overrides: str
) -> tuple[Job, Job]:
    """The run with a look at every step, and with one every ``steps`` steps."""
    at_once, later = (job(tmp_path / name, *overrides) for name in ("at_once", "later"))
    train(at_once)
    looking_every(monkeypatch, steps)
    train(later)
    return at_once, later


def end(done: Job) -> tuple[Any, Any]:
    status = done.directory.read_status()
    return status["state"], status["step"]


@KINDS
@pytest.mark.parametrize("norm", ["none", "noisy_bn"])
@pytest.mark.parametrize("probes", ["every", "paper", "none"])
def test_the_tables_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: list[str], norm: str, probes: str
) -> None:
    common = [*kind, f"norm={norm}", f"probes={probes}", "steps=9", "measure.every=4"]
    at_once, later = twice(tmp_path, monkeypatch, 5, *common)
    assert_same_tables(at_once, later)
    assert_same_network(at_once, later)


@pytest.mark.parametrize("probes", ["paper", "none"])
@pytest.mark.parametrize("looks", [2, 3, 7, 1000])
@pytest.mark.parametrize(
    "kind",
    [
        [*DLN, "norm=none", "optim.lr=100.0", "optim.momentum=0.9"],
        [*DLN, "norm=none", "optim.lr=0.02", "measure.every=13", "probes.moments.every=5"],
        [*VGG, "norm=none", "optim.lr=300.0", "measure.every=13"],
    ],
    ids=["dln", "dln, slowly", "vgg"],
)
def test_a_run_that_diverges_ends_where_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: list[str], looks: int, probes: str
) -> None:
    if probes == "none":
        kind = [one for one in kind if not one.startswith("probes.")]
    at_once, later = twice(tmp_path, monkeypatch, looks, *kind, f"probes={probes}", "steps=60")
    assert end(at_once) == end(later)
    state, last = end(later)
    assert state == "diverged"
    assert 0 < last < 60
    assert_same_tables(at_once, later)
    assert tables(later)["train"]["step"].iloc[-1] == last


def test_no_row_of_a_step_after_the_end_is_ever_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = [*DLN, "norm=none", "optim.lr=100.0", "probes=none", "steps=60"]
    added: list[int] = []
    add = TableWriter.add

    def watched(self: TableWriter, table: str, columns: Any) -> None:
        added.extend(columns["step"])
        add(self, table, columns)

    monkeypatch.setattr(TableWriter, "add", watched)
    looking_every(monkeypatch, 50)
    done = job(tmp_path, *kind)
    assert train(done) == "diverged"
    assert max(added) == end(done)[1] < 49


def test_a_diverged_state_is_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is saved was looked at: a run cut off after it diverged unseen diverges again."""
    kind = [*DLN, "norm=none", "optim.lr=100.0", "probes=none", "steps=60"]
    whole = job(tmp_path / "whole", *kind)
    train(whole)
    last = end(whole)[1]
    looking_every(monkeypatch, 50)
    done = job(tmp_path / "cut", *kind, f"checkpoint_steps={last}")
    step = Trainer.step

    def cut_off(self: Trainer, number: int, record: Any) -> Any:
        if number == last + 1:
            raise RuntimeError("cut off")
        return step(self, number, record)

    monkeypatch.setattr(Trainer, "step", cut_off)
    with pytest.raises(RuntimeError):
        train(done)
    saved = torch.load(done.directory.path / "checkpoint.pt", weights_only=True)
    assert saved["step"] == last
    monkeypatch.setattr(Trainer, "step", step)
    assert train(done) == "diverged"
    assert end(done) == end(whole)
    assert_same_tables(done, whole)


@KINDS
def test_a_stopped_run_has_all_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: list[str]
) -> None:
    common = [*kind, "steps=7", "probes=none"]
    whole, stopped = job(tmp_path / "a", *common), job(tmp_path / "b", *common)
    train(whole)
    looking_every(monkeypatch, 100)
    stop, step = run_module.Stop(), Trainer.step

    def asked(self: Trainer, number: int, record: Any) -> Any:
        stop.signum = 15 if number == 4 else None
        return step(self, number, record)

    monkeypatch.setattr(Trainer, "step", asked)
    monkeypatch.setattr(run_module, "watched", lambda: _context(stop))
    with pytest.raises(Interrupted):
        train(stopped)
    assert list(tables(stopped)["train"]["step"]) == [0, 1, 2, 3, 4]
    assert train(stopped) == "done"
    assert_same_tables(whole, stopped)
    assert_same_network(whole, stopped)


def test_between_two_looks_nothing_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetches: list[int] = []

    def counted(values: Any) -> list[float]:
        if values:
            fetches.append(number)
        return base.fetched(values)

    monkeypatch.setattr(waiting, "fetched", counted)
    looking_every(monkeypatch, 10)
    trainer, _ = run_module.trainer_of(job(tmp_path, *DLN, "steps=50", "probes=none"))
    trainer.probes = [probe for probe in trainer.probes if probe.name == "train"]
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "item", None)
        patch.setattr(torch.Tensor, "__float__", None)
        patch.setattr(torch.Tensor, "__bool__", None)
        for number in range(25):
            trainer.step(number, lambda rows: None)
    assert set(fetches) == {0, 10, 20}
