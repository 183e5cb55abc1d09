"""``bnexp theory``: what it prints where, its exit codes, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch

from bnexp.cli import main
from bnexp.runs import find_runs
from bnexp.theory import THEOREMS, Sides
from bnexp.training.reload import reload
from tests.commands.test_cli import TINY, files

SWEEP = ["train", "-m", *TINY, "norm=none,bn,l1", "progress=false"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("theory")
    assert main([*SWEEP, f"out={out}"]) == 0
    return out


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, list[dict]]:
    capsys.readouterr()
    assert main(["theory", "--json", "--networks", "0", *arguments]) == 0
    plain = json.loads(capsys.readouterr().out)
    return {
        report["where"]: [{"id": f"{f['theorem']} {f['name']}", **f} for f in report["findings"]]
        for report in plain["reports"]
    }


def test_the_table_names_every_theorem_and_its_verdicts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["theory", "--cases", "12", "--networks", "2"]) == 0
    out = capsys.readouterr().out
    assert "W* is no optimum of the BN network" in out
    assert len([line for line in out.splitlines() if "(B-2)/(B-3)" in line]) == 5
    for theorem in THEOREMS.values():
        assert f"{theorem.id} {theorem.title}" in out
        for form in theorem.forms.values():
            assert form.statement in out
    assert "DOES NOT HOLD" not in out
    assert "does not hold" in out


def test_json_has_the_numbers_of_every_form(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(made)
    reports = printed(capsys, "--cases", "12", "--runs", str(made), "--layers", "all")
    assert files(made) == before, "nothing is written"
    assert len(reports) == 3  # random networks, none and bn
    forms = {f"{t.id} {name}" for t in THEOREMS.values() for name in t.forms}
    for findings in reports.values():
        assert {f["id"] for f in findings} == forms
        assert all(f["verdict"] == "holds" for f in findings if f["form"]["must"] and f["cases"])
        (failing,) = [f for f in findings if f["id"] == "4.4 printed"]
        assert failing["verdict"] == "does not hold"
        assert failing["against"] > 0
    again = printed(capsys, "--cases", "12", "--runs", str(made), "--layers", "all")
    assert again == reports


def test_one_run_and_layers_of_it(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (l1,) = [run for run in find_runs(made) if run.norm == "l1"]
    reports = printed(
        capsys, "--cases", "0", "--runs", str(made), "--run", l1.id[:-4], "--layers", "2"
    )
    (where,) = reports
    assert l1.id in where
    assert where.endswith("layers 2")


def test_a_statement_that_must_hold_and_does_not_is_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    theorem = THEOREMS["4.1"]

    def off(unit: object) -> dict[str, Sides]:
        found = theorem.sides(unit)  # type: ignore[arg-type]
        return {k: dataclasses.replace(v, right=0.9 * v.right) for k, v in found.items()}

    monkeypatch.setitem(THEOREMS, "4.1", dataclasses.replace(theorem, sides=off))
    assert main(["theory", "--cases", "12", "--networks", "0"]) == 1
    out, err = capsys.readouterr()
    assert "DOES NOT HOLD" in out
    assert "does not hold, but must: 4.1 (as corrected)" in err


def test_a_network_comes_back_as_it_was_saved(made: Path) -> None:
    (run,) = [run for run in find_runs(made) if run.norm == "bn"]
    state = torch.get_rng_state()
    loaded = reload(run.path, run.config)
    assert torch.equal(torch.get_rng_state(), state)
    saved = torch.load(run.path / "checkpoint.pt", weights_only=True)["model"]
    for name, value in loaded.model.state_dict().items():
        assert torch.equal(value, saved[name].to(value.dtype))
    assert loaded.step == run.steps
    train = run.table("train")
    for model, row in ((loaded.model, -1), (loaded.initial, 0)):
        point = model.evaluate(loaded.objective, loaded.inputs, loaded.targets)
        assert float(point.loss) == pytest.approx(float(train["loss"].iloc[row]), rel=1e-12)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--cases", "-1"], "--cases"),
        (["--cases", "0"], "--cases"),
        (["--seed", "-1"], "--seed"),
        (["--units", "0"], "--units"),
        (["--networks", "-1"], "--networks"),
        (["--layers", "x"], "--layers"),
        (["--layers", "0"], "--layers"),
        (["--run", "dln"], "--run"),
        (["--runs", "{made}", "--run", "nothing"], "--run"),
        (["--runs", "{made}", "--run", "dln"], "--run"),
        (["--runs", "{made}", "--layers", "4"], "--layers"),
        (["--runs", "{made}/nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    made: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    capsys.readouterr()
    given = [argument.replace("{made}", str(made)) for argument in arguments]
    assert main(["theory", *given]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err
    assert len([line for line in err.splitlines() if line.startswith("bnexp:")]) == 1


def test_runs_without_a_checkpoint_are_refused(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run,) = [run for run in find_runs(made) if run.norm == "bn"]
    copy = tmp_path / "runs" / run.id
    shutil.copytree(run.path, copy)
    for file in copy.glob("checkpoint*"):
        file.unlink()
    capsys.readouterr()
    assert main(["theory", "--cases", "0", "--runs", str(tmp_path)]) == 2
    assert "expected a checkpoint" in capsys.readouterr().err
