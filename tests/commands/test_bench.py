"""``bnexp bench``: what it measures, writes and refuses. How fast things are is not tested."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from bnexp.bench import Row, more, seeds, tried
from bnexp.bench import comparisons as module
from bnexp.bench.document import BLOCK, SECTIONS, filled
from bnexp.bench.machine import operations
from bnexp.bench.memory import peak
from bnexp.bench.timing import side_by_side
from bnexp.cli import main
from bnexp.commands import bench
from bnexp.errors import UserError


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

    for room in (module, more, tried):
        monkeypatch.setattr(room, "make_trainer", make)
    # other processes, and a compiler
    monkeypatch.setattr(more, "peak", lambda overrides, probes: (10 << 20, 8 << 20))
    monkeypatch.setattr(tried, "pace", lambda overrides, keep: {"landscape": 1.0 - keep / 4})
    monkeypatch.setattr(seeds, "step_seconds", lambda *given: 1.0)
    monkeypatch.setattr(tried, "_compiled", lambda bench: bench.one_pass)


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
    assert whats >= {"writing tables", "peak memory"}
    for row in found["rows"]:
        ratio = row["seconds"] / (row["against_seconds"] * row["share"])
        assert row["ratio"] == pytest.approx(ratio)
        assert f"{ratio:.3f}" in printed
        assert row["unit"] == (
            "bytes" if "memory" in row["what"] or "of it" in row["what"] else "s"
        )
        assert row["reached"] is (None if row["reach"] is None else ratio <= row["reach"])
    assert found["machine"]["threads"] == 1
    assert len(found["growth"]) == 15
    assert {trial["what"] for trial in found["trials"]} >= {"foreach update", "landscape, joined"}
    for trial in found["trials"]:
        assert trial["ratio"] == pytest.approx(trial["seconds"] / trial["against_seconds"])
        assert trial["what"] in printed
    document = tmp_path / "page.md"
    sections = SECTIONS.keys() - {"measurements", "accuracies"}
    document.write_text("".join(f"<!-- bench bench.json {s} -->\n<!-- end -->\n" for s in sections))
    assert main(["bench", "--document", str(document)]) == 0
    page = document.read_text()
    for row in found["rows"]:
        assert f"| {row['ratio']:.3g} |" in page
    assert main(["bench", "--document", str(document)]) == 0
    assert document.read_text() == page
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
        (["--document", "/nowhere/page.md"], "--document"),
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


@pytest.mark.parametrize(
    ("block", "named"),
    [
        ("<!-- bench none.json rows -->\n<!-- end -->", "none.json"),
        ("<!-- bench other.json rows -->\n<!-- end -->", "other.json"),
        ("<!-- bench other.json colours -->\n<!-- end -->", "colours"),
    ],
)
def test_a_table_that_cannot_be_made_is_named(block: str, named: str, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(UserError, match=named):
        filled(block, tmp_path)


def test_more_memory_is_seen(tmp_path: Path) -> None:
    """By a process of its own: one step's activations and gradients, with probes and without."""
    asked = ("model=dln", "data.samples=200000", "model.k=4")
    (most, before), (bare, bare_before) = (peak(asked, probes) for probes in (True, False))
    values = 200_000 * 10 * 8  # bytes of what is between two layers
    assert bare - bare_before > 4 * values
    assert most - before > 1.3 * (bare - bare_before)


ROOT = Path(__file__).resolve().parents[2]


def test_the_page_on_performance_is_made_from_the_committed_numbers() -> None:
    page = ROOT / "docs" / "performance.md"
    text = page.read_text()
    assert filled(text, page.parent) == text
    prose = BLOCK.sub("", text).replace("Definition 2.1", "")
    assert len(BLOCK.findall(text)) == 6
    assert not re.search(r"\d+\.\d|\d ?%|\d ?(times|ms|MB)\b", prose)


def test_seeds_are_made_in_so_many_processes() -> None:
    asked = ["model=dln", "model.k=3", "model.d=4", "data.samples=64", "device=cpu"]
    assert 0.0 < seeds.step_seconds(asked, 3, 2, 0.05) < 60.0
