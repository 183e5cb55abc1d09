"""``bnexp claims`` from runs on the disk: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bnexp.claims import all_claims
from bnexp.cli import main
from bnexp.runs import RunDirectory, TableWriter
from tests.claims.worlds import EVERY, GRID, STEPS, USUAL, table

CLAIMS = all_claims()


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Four seeds of the DLN with and without BN; BN's loss band is the narrower."""
    for seed in range(4):
        for norm in ("none", "bn"):
            directory = RunDirectory(tmp_path / "runs" / f"dln-{norm}-{seed}")
            schedule = {"every": EVERY, "dense": 0}
            config: dict[str, Any] = {
                "model": {"name": "dln", "k": 25, "d": 10},
                "norm": {"name": norm},
                "data": {"name": "gaussian", "label": "Gaussian", "samples": 1000},
                "optim": {"name": "sgd", "lr": 1e-6},
                "probes": {"landscape": {**schedule, "etas": GRID["dln"], "direction": "gradient"}},
                "batch_size": None, "steps": STEPS, "seed": seed, "preset": "cpu",
            }  # fmt: skip
            directory.create(config, {})
            knobs = {**USUAL, "loss_band": 1.0 if norm == "none" else 0.3}
            writer = TableWriter(directory.tables_dir)
            rng = np.random.default_rng([seed, len(norm)])
            for name in ("train", "smoothness"):
                writer.add(name, table(name, knobs, "dln", 1e-6, rng))
            writer.flush()
            directory.write_status(state="done", step=STEPS, steps=STEPS)
    return tmp_path


def test_text_says_the_verdict_the_numbers_and_what_to_run(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["claims", "--runs", str(runs)]) == 0
    out = capsys.readouterr().out
    for name, claim in CLAIMS.items():
        assert f"{name:5} " in out
        assert claim.source.split(",")[0] in out
    block = next(b for b in out.split("\n\n") if b.startswith("4.7 "))
    assert block.startswith("4.7   HOLDS")
    assert "4 seeds" in block
    assert "paper    1.07" in block
    assert "the paper's own curves contradict it in part (whole run)" in block
    assert "DLN 25×10, Gaussian, full batch, 600 steps, not the paper's scale" in block
    assert f"{len(CLAIMS)} claims: " in out
    assert f"bnexp train -m experiment=fig1 preset=quick seed=0,1,2,3,4,5 out={runs}" in out
    assert f"bnexp train -m experiment=fig5b preset=cpu seed=0,1,2,3,4,5 out={runs}" in out


def test_json_is_all_of_it(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", "4.7", "--runs", str(runs), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["id"] == "4.7"
    assert found["verdict"] == "holds"
    assert found["the_papers_curves"] == "mixed"
    assert found["holds_if"] == "> 0"
    assert [part["seeds"] for part in found["parts"]] == [4, 4]
    first = found["parts"][0]
    assert sorted(first["effects"]) == ["0", "1", "2", "3"]
    assert first["low"] < first["estimate"] < first["high"]
    assert first["estimate"] == pytest.approx(0.7, abs=0.02)
    assert first["paper"] == pytest.approx(1.066, abs=0.001)


def test_out_gets_table_numbers_and_figure(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "judged"
    assert main(["claims", "--runs", str(runs), "--out", str(out), "--format", "png"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["claims.json", "claims.md", "claims.png"]
    page = (out / "claims.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    parts = sum(len(claim.parts) for claim in CLAIMS.values())
    assert len(rows) == parts + 2
    assert len({row.replace("\\|", "").count("|") for row in rows}) == 1
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert main(["claims", "--runs", str(runs), "--out", str(out), "--format", "png"]) == 0
    assert before == {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.mark.parametrize("given", ["4", "E1", "e1"])
def test_a_claim_of_the_paper_is_all_its_statements(
    given: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["claims", given, "--runs", str(runs), "--json"]) == 0
    ids = [one["id"] for one in json.loads(capsys.readouterr().out)]
    assert ids == [name for name in CLAIMS if name.split(".")[0] == given.upper()]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["claims", "99"], "claims: expected"),
        (["claims", "--runs", "nowhere"], "nowhere"),
        (["claims", "--format", "bmp"], "--format"),
        (["claims", "--jason"], "--jason"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], named: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = arguments if "--runs" in arguments else [*arguments, "--runs", str(runs)]
    assert main(given) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert named in said.err
