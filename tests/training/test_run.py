"""The life of a run: what it records, how it ends, and what it goes on from."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bnexp.cli import main
from bnexp.errors import UserError
from bnexp.registry import PROBES
from bnexp.runs.files import read_json
from bnexp.training import build, train
from bnexp.training import run as run_module
from bnexp.training.build import trainer_of
from bnexp.training.loop import Trainer

from .runs import (
    DLN,
    EVERY,
    VGG,
    assert_same_state,
    assert_same_tables,
    cut_off,
    every_kind_and_norm,
    finished,
    job,
    kinds,
    saved,
    tables,
)


def trainer(tmp_path: Path, *overrides: str) -> Trainer:
    return trainer_of(job(tmp_path, *overrides).config, torch.device("cpu"))[0]


# Nothing changes the numbers


@every_kind_and_norm
def test_neither_probes_nor_interruptions_change_the_numbers(
    tmp_path: Path, kind: tuple[str, ...], norm: str
) -> None:
    common = [*kind, f"norm={norm}", "steps=5", "optim.momentum=0.5"]
    whole = finished(tmp_path / "whole", *common, *EVERY)
    bare = finished(tmp_path / "bare", *common, "probes=none")
    assert_same_state(whole, bare)
    assert_same_tables(whole, bare, "train")

    broken = job(tmp_path / "broken", *common, *EVERY)
    cut_off(broken, at=4, saved_after=2)
    assert broken.state() == "failed"
    assert broken.directory.read_status()["reason"] == "RuntimeError: cut off"
    assert train(broken) == "done"
    log = broken.directory.log_file.read_text()
    assert re.findall(r"(?:started|resumed) at step (\d+)", log) == ["0", "3", "3"]
    assert_same_tables(whole, broken)
    assert_same_state(whole, broken)


@kinds
@pytest.mark.parametrize("lr", [None, 30.0], ids=["converging", "diverging"])
def test_how_often_losses_are_fetched_changes_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: tuple[str, ...], lr: float | None
) -> None:
    common = [*kind, "norm=none", "steps=20", "probes=paper", "measure.every=6"]
    common += [] if lr is None else [f"optim.lr={lr}"]
    each = finished(tmp_path / "each", *common)
    monkeypatch.setitem(build.SYNC_EVERY, "cpu", 7)
    some = finished(tmp_path / "some", *common)
    assert each.state() == some.state() == ("done" if lr is None else "diverged")
    assert_same_tables(each, some)


def test_the_same_seed_gives_the_same_run_and_another_one_another(tmp_path: Path) -> None:
    options = [*VGG, "norm=noisy_bn", "steps=1", "probes=none"]
    assert_same_tables(finished(tmp_path / "a", *options), finished(tmp_path / "b", *options))
    losses = {
        tables(finished(tmp_path, *options, f"seed={seed}"))["train"]["loss"][0]
        for seed in range(3)
    }
    assert len(losses) == 3, "seed 0 is one like any other"


def test_norms_share_start_and_order_at_a_seed_and_each_stream_has_its_own(tmp_path: Path) -> None:
    def start(*overrides: str) -> tuple[torch.Tensor, torch.Tensor]:
        made = trainer(tmp_path, *VGG, *overrides)
        model = made.setting.model
        return model.own_params[model.weight_name(2)], made.batches.at(5).inputs

    weight, order = start("norm=bn")
    for overrides, same in (
        (["norm=none"], (True, True)),
        (["norm=bn", "seed_init=1"], (False, True)),
        (["norm=bn", "seed_order=1"], (True, False)),
        (["norm=bn", "seed=1"], (False, False)),
    ):
        other = start(*overrides)
        assert (torch.equal(weight, other[0]), torch.equal(order, other[1])) == same, overrides


def test_compiled_steps_are_those_of_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps that capture nothing go through ``torch.compile``; here without its C++ compiler."""
    compiled: list[Any] = []
    real = torch.compile

    def traced(function: Any) -> Any:
        compiled.append(function)
        return real(function, backend="eager")

    monkeypatch.setattr(torch, "compile", traced)
    options = [*VGG, "norm=bn", "steps=2", "probes=none", "precision=float64"]
    plain = finished(tmp_path / "plain", *options)
    assert not compiled
    fast = finished(tmp_path / "fast", *options, "compile=true")
    assert len(compiled) == 1
    assert plain.id != fast.id
    left, right = tables(plain)["train"]["loss"], tables(fast)["train"]["loss"]
    np.testing.assert_allclose(left, right, rtol=1e-12)


# What is recorded


@pytest.mark.parametrize("steps", [5, 6])
def test_every_probe_records_its_columns_on_its_schedule(tmp_path: Path, steps: int) -> None:
    options = ["measure.every=2", "measure.eval_every=3", "probes.landscape.dense=2"]
    done = finished(tmp_path, *VGG, f"steps={steps}", *options)
    recorded = tables(done)
    rows = {name: sorted(set(table["step"])) for name, table in recorded.items()}
    scheduled = list(range(0, steps + 1, 2))
    assert rows == {
        "train": list(range(steps + 1)),
        "eval": sorted({*range(0, steps + 1, 3), steps}),  # and at the last step
        **dict.fromkeys(("landscape", "smoothness"), sorted({0, 1, *scheduled})),
        **dict.fromkeys(("gradient_shift", "moments", "activations", "curvature"), scheduled),
    }
    declared = {
        name: list(columns)
        for probe in PROBES.names()
        for name, columns in PROBES[probe].item.tables.items()
    }
    assert {name: list(table.columns) for name, table in recorded.items()} == {
        name: declared[name] for name in recorded
    }


def test_the_last_step_is_measured_but_makes_no_update(tmp_path: Path) -> None:
    short, long = (
        finished(tmp_path, *DLN, f"steps={n}", "optim.momentum=0.9", *EVERY) for n in (3, 4)
    )
    loss = tables(long)["train"]["loss"][3]
    assert tables(short)["train"]["loss"][3] == loss
    again = trainer(tmp_path, *DLN, "steps=3")
    again.setting.model.load_state_dict(saved(short)["model"])
    step = again.step(3, lambda rows: None)
    assert float(step.loss) == pytest.approx(loss, rel=1e-12), "the saved network is the measured"


def test_divergence_is_a_result_that_keeps_all_rows_up_to_it(tmp_path: Path) -> None:
    options = [*DLN, "steps=500", "optim.lr=100.0", "norm=none", "probes=none"]
    done = finished(tmp_path, *options)
    assert done.state() == "diverged"
    table, last = tables(done)["train"], done.directory.read_status()["step"]
    assert 0 < last < 500
    assert list(table["step"]) == list(range(last + 1))
    finite = np.isfinite(table[["loss", "grad_norm"]]).all(axis=1)
    assert finite[:-1].all()
    assert not finite.iloc[-1]


def test_a_run_that_has_its_result_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*DLN, "steps=2", "probes=none"]
    finished(tmp_path, *options)
    monkeypatch.setattr(Trainer, "step", None)
    assert train(job(tmp_path, *options)) == "done"


def test_nothing_is_written_when_a_setting_does_not_fit_the_data(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="batch_size"):
        finished(tmp_path, *VGG, "batch_size=100000", "steps=2")
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_come_by_time_by_steps_and_when_the_buffer_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parts(name: str, *options: str) -> list[str]:
        done = finished(tmp_path / name, *DLN, "steps=40", "probes=none", *options)
        return [e["name"][:9] for e in done.directory.read_status()["tables"]["train"]]

    assert parts("end") == ["000000000"]
    assert parts("steps", "checkpoint_steps=16") == ["000000000", "000000016", "000000032"]
    assert len(parts("time", "checkpoint_minutes=1e-9")) == 41
    monkeypatch.setattr(run_module, "BUFFERED_VALUES", 20)
    assert len(parts("full")) > 2


# Threads


def test_the_threads_recorded_are_those_that_work_and_a_resumed_run_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work: list[int] = []
    step = Trainer.step

    def counting(self: Trainer, number: int, record: Any) -> Any:
        at_work.append(torch.get_num_threads())
        return step(self, number, record)

    monkeypatch.setattr(Trainer, "step", counting)
    options = [*DLN, "steps=2", "probes=none", "checkpoint_steps=1"]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        halfway = job(tmp_path, *options)
        cut_off(halfway, at=2)
        torch.set_num_threads(1)
        assert train(halfway) == "done"
        assert read_json(halfway.directory.env_file)["threads"] == 2
        assert set(at_work) == {2}
        assert torch.get_num_threads() == 1, "the process has its own number again"
        # In a sweep each run has what it asks for, whatever the run before it asked for.
        at_work.clear()
        sweep = ["train", "-m", *options, "progress=false", "device=cpu", f"out={tmp_path}"]
        assert main([*sweep, "seed=1", "threads=2,1"]) == 0
        assert main([*sweep, "seed=2,3"]) == 0
        assert at_work == [2, 2, 2] + [1, 1, 1] * 2, "threads do not make another run"
        found = [read_json(path)["threads"] for path in tmp_path.glob("runs/*/env.json")]
        assert sorted(found) == [1, 1, 2, 2]
    finally:
        torch.set_num_threads(before)


# What does not belong to the run (issue: a trial from outside)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    one, other = (job(tmp_path, *DLN, "steps=6", "probes=none", f"seed={i}") for i in (0, 1))
    for run in (one, other):
        cut_off(run, at=4, saved_after=2)
    shutil.copyfile(*(run.directory.path / "checkpoint.pt" for run in (other, one)))
    with pytest.raises(UserError, match=f"expected a checkpoint of run {one.id}; .* {other.id}"):
        train(one)
    # nor does the name of a folder make a run of it
    one.directory.path.rename(tmp_path / "aside")
    other.directory.path.rename(one.directory.path)
    with pytest.raises(UserError, match=f"of run {one.id}; it is of run {other.id}"):
        train(one)


@pytest.mark.parametrize("what", ["a part", "a table"])
@pytest.mark.parametrize("ended", [False, True])
def test_what_lacks_of_the_tables_is_named(tmp_path: Path, what: str, ended: bool) -> None:
    run = job(tmp_path, *DLN, "steps=6", "probes=none", "checkpoint_steps=2")
    if ended:
        train(run)
    else:
        cut_off(run, at=5)
    part = run.directory.tables_dir / "train" / "000000002-000000003.parquet"
    if what == "a part":
        part.unlink()
    else:
        shutil.rmtree(part.parent)
    with pytest.raises(UserError, match=f"table train: part {part.name} is missing"):
        train(run)


def test_a_part_copied_twice_is_no_part_of_the_run(tmp_path: Path) -> None:
    options = [*DLN, "steps=6", "probes=none", "checkpoint_steps=2"]
    run, whole = job(tmp_path / "a", *options), finished(tmp_path / "b", *options)
    cut_off(run, at=5)
    part = run.directory.tables_dir / "train" / "000000002-000000003.parquet"
    shutil.copyfile(part, part.with_name("000000004-000000005.parquet"))
    assert train(run) == "done"
    assert_same_tables(run, whole)
    extra = part.with_name("000000007-000000008.parquet")
    shutil.copyfile(part, extra)
    with pytest.raises(UserError, match=f"part {extra.name} does not belong to it"):
        train(run)


def test_a_directory_deleted_in_mid_run_is_not_made_again_without_its_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = job(tmp_path, *DLN, "steps=6", "probes=none", "checkpoint_steps=2")
    step = Trainer.step

    def deleting(self: Trainer, number: int, record: Any) -> Any:
        if number == 3:
            shutil.rmtree(run.directory.path)
        return step(self, number, record)

    monkeypatch.setattr(Trainer, "step", deleting)
    with pytest.raises(UserError, match="the directory was deleted"):
        train(run)
    assert not run.directory.path.exists()
