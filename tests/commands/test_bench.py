"""``bnexp bench``: what it measures, writes and refuses. How fast things are is not tested."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bnexp.bench import Row
from bnexp.bench import comparisons as module
from bnexp.bench.machine import operations
from bnexp.bench.timing import side_by_side
from bnexp.cli import main
from bnexp.commands import bench


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks so small that all of it takes seconds."""
    real = module.make_trainer
    sizes = {"vgg16": ("model=vgg11", "model.width=0.0625", "batch_size=8"), "dln": ("model.k=3",)}

    def make(*overrides: str) -> object:
        asked = [o for o in overrides if not o.startswith(("model.width", "batch_size", "model.k"))]
        kind = "vgg16" if "model=vgg16" in overrides else "dln"
        kept = [o for o in asked if o != "model=vgg16" and "layers=[" not in o]
        return real(*kept, *sizes[kind])

    monkeypatch.setattr(module, "make_trainer", make)


@pytest.mark.usefixtures("small")
def test_the_table_and_the_json_say_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, before = tmp_path / "bench.json", torch.get_num_threads()
    try:
        assert main(["bench", "--seconds", "0.01", "--threads", "1", "--out", str(out)]) == 0
    finally:
        torch.set_num_threads(before)
    found = json.loads(out.read_text())
    printed = capsys.readouterr().out
    assert {row["setting"] for row in found["rows"]} == {
        *(f"{model} {norm}" for model in ("vgg16", "dln") for norm in ("none", "bn")),
        "-",
    }
    whats = {row["what"].split(",")[0] for row in found["rows"]}
    assert whats >= {"bare training step", "data", "landscape", "gradient_shift"}
    for row in found["rows"]:
        ratio = row["seconds"] / (row["against_seconds"] * row["share"])
        assert row["ratio"] == pytest.approx(ratio)
        assert f"{ratio:.3f}" in printed
        assert row["reached"] is (None if row["reach"] is None else ratio <= row["reach"])
    assert found["machine"]["threads"] == 1
    assert len(found["growth"]) == 15
    assert found["products_per_second"]["float64"] > 0


def test_things_take_turns() -> None:
    calls: list[str] = []
    found = side_by_side(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, seconds=0, least=3
    )
    assert calls == ["a", "b"] * 4
    assert found.keys() == {"a", "b"}


def test_operations_are_those_of_the_products() -> None:
    a, b = torch.zeros(3, 5), torch.zeros(5, 7)
    assert operations(lambda: a @ b) == 2 * 3 * 5 * 7


def test_a_row_that_does_not_reach_says_so() -> None:
    row = Row("dln bn", "what", "against", seconds=3.0, against_seconds=1.0, reach=1.0, share=2.0)
    assert row.ratio == 1.5
    assert row.reached is False
    assert "NO" in bench.table([row])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--device", "tpu"], "--device"),
        (["--seconds", "0"], "--seconds"),
        (["--threads", "0"], "--threads"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "--out", str(tmp_path / "x.json"), *arguments]) == 2
    err = capsys.readouterr().err
    assert named in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
