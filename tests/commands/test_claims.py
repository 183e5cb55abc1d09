"""``bnexp claims`` from runs on the disk: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bnexp.claims import all_claims
from bnexp.cli import main
from bnexp.runs import RunDirectory, TableWriter
from tests.claims.worlds import GRID, STEPS, USUAL, config_of, table

CLAIMS = {name: claim for name, claim in all_claims().items() if not claim.optional}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seeds of the DLN with and without BN; BN's loss band is the narrower."""
    root = tmp_path_factory.mktemp("claims")
    for seed, norm in ((seed, norm) for seed in range(4) for norm in ("none", "bn")):
        directory = RunDirectory(root / "runs" / f"dln-{norm}-{seed}")
        config = config_of("dln", norm, 1e-6, seed, GRID["dln"]) | {"preset": "cpu"}
        directory.create(config, {})
        knobs = {**USUAL, "loss_band": 1.0 if norm == "none" else 0.3}
        writer, rng = TableWriter(directory.tables_dir), np.random.default_rng([seed, len(norm)])
        for name in ("train", "smoothness"):
            writer.add(name, table(name, knobs, "dln", 1e-6, rng))
        writer.flush()
        directory.write_status(state="done", step=STEPS, steps=STEPS)
    return root


def test_text_says_the_verdict_the_numbers_and_what_to_run(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["claims", "--runs", str(runs)]) == 0
    out = capsys.readouterr().out
    assert all(f"{name:5} " in out for name in CLAIMS)
    line = next(line for line in out.splitlines() if line.startswith("4.7 "))
    assert "HOLDS" in line
    assert "1.07 " in line  # the paper's
    assert "the paper's own curves contradict it in part (whole run)" in line
    assert "DLN 25×10, digits, batch 128, 600 steps, not the paper's scale" in out
    assert f"bnexp train -m experiment=fig1 preset=quick seed=0,1,2,3,4,5 out={runs}" in out
    assert f"bnexp train -m experiment=fig5b preset=cpu seed=0,1,2,3,4,5 out={runs}" in out


def test_where_chooses_the_runs(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["claims", "4.7", "--runs", str(runs), "--json", "--where", "seed=1,3"]
    assert main(command) == 0
    (claim,) = json.loads(capsys.readouterr().out)
    assert sorted(claim["parts"][0]["effects"]) == ["1", "3"]


@pytest.mark.parametrize("given", ["4.7", "4", "e1"])
def test_json_is_all_of_what_is_asked_for(
    given: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["claims", given, "--runs", str(runs), "--json"]) == 0
    claims = {claim["id"]: claim for claim in json.loads(capsys.readouterr().out)}
    assert list(claims) == [n for n in CLAIMS if given.upper() in (n, n.split(".")[0])]
    if "4.7" in claims:
        assert (claims["4.7"]["verdict"], claims["4.7"]["the_papers_curves"]) == ("holds", "mixed")
        first = claims["4.7"]["parts"][0]
        assert sorted(first["effects"]) == ["0", "1", "2", "3"]
        assert first["low"] < first["estimate"] < first["high"]
        assert first["estimate"] == pytest.approx(0.7, abs=0.02)


def test_out_gets_table_and_numbers(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "judged"
    assert main(["claims", "--runs", str(runs), "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["claims.json", "claims.md", "claims.png"]
    page = (out / "claims.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert len(rows) == sum(len(claim.parts) for claim in CLAIMS.values()) + 2
    assert len({row.replace("\\|", "").count("|") for row in rows}) == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["99"], "claims: expected"),
        (["--runs", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], named: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["claims", "--runs", str(runs), *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert named in err
