"""``bnexp theory``: what it prints where, its exit codes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bnexp.cli import main
from bnexp.runs import find_runs
from bnexp.theory import STATEMENTS, TITLES
from bnexp.theory.theorems import SIDES
from bnexp.training.checkpoint import reload
from tests.commands.test_cli import TINY, files


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("theory")
    assert main(["train", "-m", *TINY, "norm=none,bn,l1", f"out={out}"]) == 0
    return out


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, list[dict[str, Any]]]:
    capsys.readouterr()
    assert main(["theory", "--json", "--networks", "0", *arguments]) == 0
    plain = json.loads(capsys.readouterr().out)
    return {report["where"]: report["findings"] for report in plain["reports"]}


def test_the_table_names_every_theorem_and_its_verdicts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["theory", "--cases", "12", "--networks", "2"]) == 0
    out = capsys.readouterr().out
    assert "W* is no optimum of the BN network" in out
    assert len([line for line in out.splitlines() if line.split()[:1] == ["linear"]]) == 5
    assert all(f"{number} {title}" in out for number, title in TITLES.items())
    assert all(statement["text"] in out for statement in STATEMENTS)
    assert "DOES NOT HOLD" not in out
    assert "does not hold" in out


def test_runs_are_checked_and_left_as_they_are(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(made)
    arguments = ["--cases", "12", "--runs", str(made), "--layers", "3"]
    reports = printed(capsys, *arguments)
    assert files(made) == before
    assert len(reports) == 3  # random networks, none and bn
    for findings in reports.values():
        assert len(findings) == len(STATEMENTS)
        assert all(f["verdict"] == "holds" for f in findings if f["must"] and f["cases"])
        (failing,) = [f for f in findings if (f["theorem"], f["name"]) == ("4.4", "printed")]
        assert failing["verdict"] == "does not hold"
    assert printed(capsys, *arguments) == reports


def test_one_run_of_any_norm_and_layers_of_it(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (l1,) = [run for run in find_runs(made) if run.norm == "l1"]
    (where,) = printed(capsys, "--cases", "0", "--runs", str(l1.path), "--layers", "2")
    assert where.startswith(l1.id)
    assert where.endswith("layers 1,3")


def test_a_statement_that_must_hold_and_does_not_is_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SIDES, "4.1", lambda _: {"equality": (1.0, 0.9, 1.0)})
    assert main(["theory", "--cases", "12", "--networks", "0"]) == 1
    out, err = capsys.readouterr()
    assert "DOES NOT HOLD" in out
    assert "does not hold, but must: 4.1 (as corrected)" in err


def test_a_network_comes_back_as_it_was_saved(made: Path) -> None:
    (run,) = [run for run in find_runs(made) if run.norm == "bn"]
    loaded = reload(run.path, run.config)
    train = run.table("train")
    for model, row in ((loaded.model, -1), (loaded.initial, 0)):
        point = model.evaluate(loaded.objective, loaded.inputs, loaded.targets)
        assert float(point.loss) == pytest.approx(float(train["loss"].iloc[row]), rel=1e-12)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--cases", "-1"], "--cases"),
        (["--cases", "0"], "--cases"),
        (["--units", "0"], "--units"),
        (["--layers", "0"], "--layers"),
        (["--runs", "{made}/nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    made: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    capsys.readouterr()
    assert main(["theory", *(argument.replace("{made}", str(made)) for argument in arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert named in err
    assert len([line for line in err.splitlines() if line.startswith("bnexp:")]) == 1
