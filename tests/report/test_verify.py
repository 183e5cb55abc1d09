"""Committed numbers are made again and compared; runs are compared with reference runs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from bnexp.cli import main
from bnexp.commands import verify
from bnexp.commands.compare import compared
from bnexp.errors import UserError
from bnexp.report import generated
from bnexp.runs import find_runs

COMMITTED = Path(__file__).parents[2] / "results" / "cifar10"


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of results with one small set, verified by two figures to be quick."""
    shutil.copytree(COMMITTED / "runs", tmp_path / "results" / "small" / "runs")
    monkeypatch.setattr(verify, "figure_ids", lambda: ["2", "4"])
    assert main(["verify", str(tmp_path / "results"), "--write"]) == 0
    return tmp_path / "results"


def test_what_is_as_committed_passes_and_each_changed_number_is_named(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = results.parent / "page.md"
    document.write_text("<!-- generated: claims small 1.2 -->\n<!-- end -->\n", encoding="utf-8")
    command = ["verify", str(results), "--document", str(document)]
    assert main([*command, "--write"]) == 0
    assert main(command) == 0
    assert "test accuracy" in document.read_text(encoding="utf-8")
    capsys.readouterr()

    claims = results / "small" / "claims" / "claims.json"
    judged = json.loads(claims.read_text(encoding="utf-8"))
    judged[1]["parts"][0]["estimate"] += 0.01
    claims.write_text(json.dumps(judged), encoding="utf-8")
    numbers = results / "small" / "numbers.json"
    drawn = json.loads(numbers.read_text(encoding="utf-8"))
    drawn["4"][list(drawn["4"])[-1]][1] *= 1.001
    numbers.write_text(json.dumps(drawn), encoding="utf-8")
    coverage = pd.read_csv(results / "small" / "coverage.csv")
    coverage["inside"] *= 0.9
    coverage.to_csv(results / "small" / "coverage.csv", index=False)
    document.write_text(document.read_text(encoding="utf-8").replace("1.2 BN", "1.2 BM"))
    assert main(command) == 1
    problems = capsys.readouterr().err
    names = {"claims.json": "1.2", "numbers.json": "4", "coverage.csv": "inside"}
    for path, name in names.items():
        assert f"{path}: expected what the runs give; {name} differ" in problems
    assert "page.md" in problems


def test_a_changed_table_is_named(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    part = next((results / "small" / "runs").glob("*/tables/train/*.parquet"))
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    main(["verify", str(results)])
    assert part.name in capsys.readouterr().err


def test_the_accuracies_are_those_of_the_last_evaluation() -> None:
    text = generated("<!-- generated: accuracy cifar10 -->\n<!-- end -->", COMMITTED.parent)
    runs = [r for r in find_runs(COMMITTED) if (r.norm, r.lr, r.family) == ("bn", 0.1, "vgg")]
    assert len(runs) > 3  # under several probes
    last = sorted({r.seed: 100 * r.table("eval")["accuracy"].iloc[-1] for r in runs}.values())
    cells = [f"{last[1]:.1f}", f"{last[0]:.1f} to {last[2]:.1f}", "3"]
    assert f"| bn | 0.1 | 5000 | {' | '.join(cells)} |" in text


def test_a_mark_that_is_not_known_is_refused(tmp_path: Path) -> None:
    for mark in ("poem dln", "claims dln", "claims nowhere 1.1"):
        with pytest.raises(UserError, match="generated"):
            generated(f"<!-- generated: {mark} -->\n<!-- end -->", tmp_path)


def test_runs_compared_with_themselves_are_the_same_and_others_are_off() -> None:
    runs = find_runs(COMMITTED)
    rows = compared(runs, runs)
    assert rows
    assert {row["is"] for row in rows} == {"same"}
    bn = next(run for run in runs if (run.norm, run.family) == ("bn", "vgg"))
    other = next(run for run in runs if (run.norm, run.lr, run.seed) == ("none", bn.lr, bn.seed))
    other = replace(other, config={**other.config, "norm": bn.config["norm"]})
    losses = [row for row in compared([other], [bn]) if row["quantity"] == "train_loss"]
    assert [row["is"] for row in losses] == ["off"]
    finer = {**bn.config, "norm": {**bn.config["norm"], "eps": 1e-9}}
    assert compared([replace(bn, config=finer)], [bn]) == [], "the norm's options count"
