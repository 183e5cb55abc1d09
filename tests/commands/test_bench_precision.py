"""The report on lower precision: what it holds, and that it is right where that can be told."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bnexp.bench import precision as module
from bnexp.bench.document import filled
from bnexp.runs.files import read_json
from scripts import precision as script

SMALL = ("model=vgg11", "model.width=0.0625", "data=digits", "batch_size=16")


def test_a_difference_is_relative() -> None:
    assert module.difference([3.0, 4.0], [3.0, 4.0]) == (0.0, 0.0)
    assert module.difference([0.5, 0.0], [0.0, 0.0]) == (0.5, 0.5)
    rms, largest = module.difference([3.0, 5.0], [3.0, 4.0])
    assert (rms, largest) == (pytest.approx(1 / 5), pytest.approx(1 / 4))


@pytest.fixture(scope="module")
def found() -> dict[str, object]:
    return module.report(
        "cpu", steps=12, warm_up=3, seconds=0.01, norms=("bn", "l1"), network=SMALL
    )


def test_every_measurement_is_compared(found: dict[str, list[dict[str, object]]]) -> None:
    rows = found["measurements"]
    assert {(row["norm"], row["precision"]) for row in rows} == {
        (norm, precision) for norm in ("bn", "l1") for precision in ("float64", "bf16")
    }
    columns = {(row["table"], row["column"]) for row in rows}
    assert columns >= {
        *(("train", name) for name in ("loss", "data_loss", "accuracy", "grad_norm")),
        *(("landscape", name) for name in ("loss", "predictiveness", "beta")),
        *(("smoothness", name) for name in ("beta", "lipschitz")),
        *(("gradient_shift", name) for name in ("l2", "cos", "grad_norm")),
        *(("moments", name) for name in ("mean", "var")),
        *(("eval", name) for name in ("loss", "accuracy")),
    }
    assert json.loads(json.dumps(found)) == found


def test_float64_is_nearer_to_float32_than_bf16_is(
    found: dict[str, list[dict[str, float]]],
) -> None:
    error = {
        (row["norm"], row["precision"], row["table"], row["column"]): row["rms"]
        for row in found["measurements"]
    }
    for norm in ("bn", "l1"):
        for column in ("loss", "grad_norm"):
            fine, coarse = (error[norm, p, "train", column] for p in ("float64", "bf16"))
            assert 0 < fine < 1e-5
            assert 2.0**-16 < coarse < 0.2
        assert 2.0**-12 < error[norm, "bf16", "moments", "mean"] < 2.0**-5


def test_the_runs_learn(found: dict[str, list[dict[str, float]]]) -> None:
    assert len(found["runs"]) == 6
    for row in found["runs"]:
        assert 0.15 < row["train_accuracy"] <= 1
        assert 0 <= row["test_accuracy"] <= 1
        assert row["seconds_per_step"] > 0


def test_the_script_prints_and_writes_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    found: dict[str, list[dict[str, float]]],
) -> None:
    out = tmp_path / "precision.json"
    monkeypatch.setattr(script, "report", lambda device, steps: found)
    monkeypatch.setattr(sys, "argv", ["precision.py", "--out", str(out), "--device", "cpu"])
    assert script.main() == 0
    assert read_json(out) == found
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == len(found["measurements"]) + len(found["runs"]) + 3
    assert "gradient_shift.cos" in printed


def test_a_page_is_made_from_it(tmp_path: Path, found: dict[str, list[dict[str, float]]]) -> None:
    (tmp_path / "precision.json").write_text(json.dumps(found))
    names = ("machine", "measurements", "accuracies")
    page = "".join(f"<!-- bench precision.json {s} -->\n<!-- end -->\n" for s in names)
    made = filled(page, tmp_path)
    for row in found["measurements"]:
        assert f" {row['rms']:.1e} |" in made
        assert f"| {row['table']}.{row['column']} |" in made
    for row in found["runs"]:
        assert f"| {row['train_accuracy']:.3f} | {row['test_accuracy']:.3f} |" in made
