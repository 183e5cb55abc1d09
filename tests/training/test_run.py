"""The life of a run: schedules, divergence, resuming, skipping, and running statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from bnexp.config import check, compose
from bnexp.norms import NORMS
from bnexp.runs import read_table, table_names
from bnexp.training import Interrupted, Job, identify, train
from bnexp.training import run as run_module
from bnexp.training.loop import Trainer

VGG = ["model=vgg11", "model.width=0.0625", "batch_size=16", "data=digits"]
DLN = ["model=dln", "model.k=4", "model.d=3", "data.samples=20", "optim.lr=1e-3"]
CURVATURE = [
    "+probes.curvature={every:2,dense:0}",
    "+probes.sharpness={every:2,dense:0,tolerance:1e-3,max_iterations:3}",
]
"""Beside the probes of ``probes=paper``."""
QUIET = ["progress=false", "measure.every=2", "measure.eval_every=3", "device=cpu"]


def job(out: Path, *overrides: str) -> Job:
    return identify(check(compose([*QUIET, f"out={out}", *overrides])))


def tables(done: Job) -> dict[str, pd.DataFrame]:
    folder = done.directory.tables_dir
    return {name: read_table(folder, name) for name in table_names(folder)}


def saved(done: Job) -> dict[str, Any]:
    return torch.load(done.directory.path / "checkpoint.pt", weights_only=True)


def assert_same_tables(one: Job, other: Job) -> None:
    left, right = tables(one), tables(other)
    assert left.keys() == right.keys()
    for name in left:
        pd.testing.assert_frame_equal(left[name], right[name], check_exact=True)


def assert_same_network(one: Job, other: Job) -> None:
    left, right = saved(one), saved(other)
    assert left["model"].keys() == right["model"].keys()
    for name, value in left["model"].items():
        assert torch.equal(value, right["model"][name]), name
    pairs = zip(
        left["optimizer"]["state"].values(), right["optimizer"]["state"].values(), strict=True
    )
    for a, b in pairs:
        for key, value in a.items():
            assert value is b[key] is None or torch.equal(value, b[key])
    assert torch.equal(left["random"], right["random"])


@pytest.mark.parametrize("steps", [5, 6])
def test_every_probe_records_on_its_schedule(tmp_path: Path, steps: int) -> None:
    done = job(tmp_path, *VGG, f"steps={steps}", "probes.landscape.dense=2")
    train(done)
    found = {name: sorted(set(t["step"])) for name, t in tables(done).items()}
    scheduled = list(range(0, steps + 1, 2))
    assert found["train"] == list(range(steps + 1))
    assert found["eval"] == sorted({*range(0, steps + 1, 3), steps}), "and at the last step"
    assert found["landscape"] == found["smoothness"] == sorted({0, 1, *scheduled})
    assert found["gradient_shift"] == found["moments"] == found["activations"] == scheduled


def test_moments_can_be_taken_at_successive_steps(tmp_path: Path) -> None:
    done = job(
        tmp_path, *DLN, "steps=9", "probes.moments.every=4", "probes.moments.successive=true"
    )
    train(done)
    assert sorted(set(tables(done)["moments"]["step"])) == [0, 1, 4, 5, 8, 9]


def test_columns_are_as_documented(tmp_path: Path) -> None:
    done = job(tmp_path, *VGG, "steps=2", *CURVATURE)
    train(done)
    assert {name: list(table.columns) for name, table in tables(done).items()} == {
        "train": ["step", "loss", "data_loss", "accuracy", "grad_norm"],
        "eval": ["step", "split", "loss", "accuracy"],
        "landscape": [
            "step",
            "eta",
            "loss",
            "predictiveness",
            "beta",
            "predictiveness_sum",
            "beta_sum",
        ],
        "smoothness": [
            "step",
            "loss_min",
            "loss_max",
            "lipschitz",
            "predictiveness_min",
            "predictiveness_max",
            "beta",
            "beta_eta",
        ],
        "gradient_shift": ["step", "layer", "l2", "cos", "grad_norm"],
        "moments": ["step", "layer", "unit", "mean", "var"],
        "activations": ["step", "layer", "unit", "values"],
        "curvature": [
            "step",
            "curvature",
            "beta_0",
            "weight_norm",
            "param_norm",
            "curvature_scaled",
            "beta_0_scaled",
        ],
        "sharpness": [
            "step",
            "sharpness",
            "sharpness_scaled",
            "iterations",
            "residual",
            "converged",
        ],
    }


@pytest.mark.parametrize("kind", [VGG, DLN], ids=["vgg", "dln"])
@pytest.mark.parametrize("norm", list(NORMS))
def test_probes_leave_no_trace_in_a_whole_run(tmp_path: Path, kind: list[str], norm: str) -> None:
    common = [*kind, f"norm={norm}", "steps=4", "optim.momentum=0.9"]
    on, off = (job(tmp_path, *common, f"probes={p}") for p in ("every", "none"))
    assert on.id != off.id
    train(on)
    train(off)
    assert_same_network(on, off)
    pd.testing.assert_frame_equal(tables(on)["train"], tables(off)["train"], check_exact=True)


def test_the_last_step_is_measured_but_makes_no_update(tmp_path: Path) -> None:
    short, long = (job(tmp_path, *DLN, f"steps={n}", "optim.momentum=0.9") for n in (3, 4))
    train(short)
    train(long)
    after_three = tables(long)["train"]["loss"][3]
    assert tables(short)["train"]["loss"][3] == after_three
    # the trained network that was saved is the one that was measured last
    trainer, _ = run_module.trainer_of(short)
    trainer.setting.model.load_state_dict(saved(short)["model"])
    assert float(trainer.step(3, lambda rows: None).loss) == after_three


@pytest.mark.parametrize("kind", [VGG, DLN], ids=["vgg", "dln"])
@pytest.mark.parametrize("norm", list(NORMS))
def test_a_resumed_run_gives_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: list[str], norm: str
) -> None:
    # so few iterations that the sharpness shows where it started, at the eigenvector before
    common = [*kind, f"norm={norm}", "steps=7", "optim.momentum=0.5"]
    common += CURVATURE
    whole, broken = job(tmp_path / "a", *common), job(tmp_path / "b", *common)
    train(whole)
    original = Trainer.step

    def interrupted(self: Trainer, number: int, record: Any) -> Any:
        if number == 4:
            raise RuntimeError("cut off")
        seen = original(self, number, record)
        if number == 2:  # saved after this step; what follows is done again
            stop.signum = 15
        return seen

    # First stretch: stopped by a signal after step 2. Second: dies at step 4. Third: to the end.
    stop = run_module.Stop()
    monkeypatch.setattr(Trainer, "step", interrupted)
    monkeypatch.setattr(run_module, "watched", lambda: _context(stop))
    with pytest.raises(Interrupted):
        train(broken)
    stop.signum = None
    with pytest.raises(RuntimeError):
        train(broken)
    assert broken.state() == "failed"
    assert "cut off" in broken.directory.read_status()["reason"]
    monkeypatch.setattr(Trainer, "step", original)
    assert train(broken) == "done"
    assert_same_tables(whole, broken)
    assert_same_network(whole, broken)


class _context:  # noqa: N801
    def __init__(self, value: Any) -> None:
        self.value = value

    def __enter__(self) -> Any:
        return self.value

    def __exit__(self, *error: object) -> None:
        return None


def test_a_finished_run_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = job(tmp_path, *DLN, "steps=2")
    assert train(done) == "done"
    monkeypatch.setattr(Trainer, "step", None)
    assert train(job(tmp_path, *DLN, "steps=2")) == "done"


def test_divergence_is_a_result_that_keeps_all_rows_up_to_it(tmp_path: Path) -> None:
    done = job(tmp_path, *DLN, "steps=500", "optim.lr=100.0", "norm=none")
    assert train(done) == "diverged"
    status, train_table = done.directory.read_status(), tables(done)["train"]
    last = status["step"]
    assert 0 < last < 500
    assert list(train_table["step"]) == list(range(last + 1))
    finite = np.isfinite(train_table[["loss", "grad_norm"]]).all(axis=1)
    assert finite[:-1].all()
    assert not finite.iloc[-1]
    assert train(job(tmp_path, *DLN, "steps=500", "optim.lr=100.0", "norm=none")) == "diverged"


def test_the_same_config_gives_the_same_numbers(tmp_path: Path) -> None:
    one, other = (job(tmp_path / name, *VGG, "norm=noisy_bn", "steps=3") for name in "ab")
    train(one)
    train(other)
    assert one.id == other.id
    assert_same_tables(one, other)


def test_seed_zero_is_a_seed_like_any_other(tmp_path: Path) -> None:
    first = {}
    for seed in (0, 1, 2):
        done = job(tmp_path, *VGG, "steps=1", f"seed={seed}")
        train(done)
        first[seed] = float(tables(done)["train"]["loss"][0])
    assert len(set(first.values())) == 3


def test_norms_share_their_start_and_data_order_at_a_seed(tmp_path: Path) -> None:
    starts = []
    for norm in ("none", "bn"):
        trainer, _ = run_module.trainer_of(job(tmp_path, *VGG, f"norm={norm}"))
        weights = {
            name: p
            for name, p in trainer.setting.model.named_parameters()
            if name.endswith("affine.weight")
        }
        starts.append((weights, trainer.batches.at(5).index))
    (one, batch), (other, same_batch) = starts
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(batch, same_batch)


def test_nothing_is_written_when_a_setting_does_not_fit_the_data(tmp_path: Path) -> None:
    from bnexp.errors import UserError

    with pytest.raises(UserError, match="batch_size"):
        train(job(tmp_path, *VGG, "batch_size=100000", "steps=2"))
    assert list(tmp_path.iterdir()) == []


def test_the_environment_is_recorded(tmp_path: Path) -> None:
    import json

    done = job(tmp_path, *DLN, "steps=1", "threads=1")
    before = torch.get_num_threads()
    try:
        train(done)
    finally:
        torch.set_num_threads(before)
    env = json.loads(done.directory.env_file.read_text())
    assert env["threads"] == 1
    assert env["device"] == "cpu"
    assert env["packages"]["torch"] == torch.__version__
    assert env["data_fingerprint"] == done.fingerprint
