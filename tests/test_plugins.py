"""What a user registers works wherever the built-in things do: one file each, plus YAML."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import nn

from bnexp import registry
from bnexp.cli import main
from bnexp.errors import UserError
from bnexp.runs import find_runs
from tests.helpers import registries_restored

PLUGINS = Path(__file__).parent / "plugins"
MODULES = sorted(path.stem for path in PLUGINS.glob("*.py"))
NAMED = f"plugins=[{','.join(MODULES)}]"


@pytest.fixture(autouse=True)
def _plugins_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In the plug-ins' folder; what they register is gone afterwards."""
    monkeypatch.chdir(PLUGINS)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with registries_restored(PLUGINS):
        yield


def sweep(out: Path, *more: str) -> list[str]:
    common = [f"out={out}", "progress=false", "threads=1", NAMED]
    return ["train", "-m", "experiment=weights", *common, *more]


def test_a_recipe_of_ones_own_with_ones_own_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Norm, probe, model, data set, figure and claim, through the commands."""
    assert main(sweep(tmp_path)) == 0, capsys.readouterr().err
    runs = {run.norm: run for run in find_runs(tmp_path)}
    assert sorted(runs) == ["bn", "gn"]
    for run in runs.values():
        assert (run.model, run.family, run.data, run.state) == (
            "perceptron",
            "perceptron",
            "stripes",
            "done",
        )
        weights = run.table("weights")
        assert weights.step.tolist() == [s for s in (0, 2, 4, 6) for _ in range(3)]
        assert weights.layer.tolist() == [1, 2, 3] * 4
        assert (weights.norm > 0).all()
    first = [run.table("weights").norm[0] for run in runs.values()]
    assert first[0] == pytest.approx(first[1]), "they start from the same weights"
    capsys.readouterr()

    shown = ["--runs", str(tmp_path), "--plugins", ",".join(MODULES)]
    assert main(["figures", "weights", *shown, "--format", "png"]) == 0, capsys.readouterr().err
    assert (tmp_path / "figures" / "weights.png").stat().st_size > 5000
    capsys.readouterr()
    assert main(["claims", "X1", "--json", *shown]) == 0
    claims = capsys.readouterr().out
    assert '"X1"' in claims
    losses = [runs[norm].table("train").data_loss.iloc[-1] for norm in ("gn", "bn")]
    assert json.loads(claims)  # one seed: a number and no verdict
    assert losses[0] != losses[1]


def test_a_norm_of_ones_own_on_a_built_in_network_with_every_probe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --config-dir, and from another folder than the plug-in's configs."""
    tiny = [
        "model=vgg", "model.depth=11", "model.width=0.0625", "data=digits", "batch_size=8",
        "steps=2", "probes=every", "norm=gn", "norm.groups=2", "threads=1", "progress=false",
    ]  # fmt: skip
    code = main(
        ["train", "--config-dir", str(PLUGINS / "configs"), *tiny, NAMED, f"out={tmp_path}"]
    )
    out, err = capsys.readouterr()
    assert code == 0, err
    (run,) = find_runs(tmp_path)
    assert Path(out.splitlines()[-1]).name == run.id
    assert (run.norm, run.option("norm.groups")) == ("gn", 2)
    for table in ("train", "landscape", "gradient_shift", "moments", "activations", "curvature"):
        assert len(run.table(table))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["norm=gn", "norm.groups=0"], "norm.groups: expected a number of at least 1; got 0"),
        (["norm=gn", "norm.group=2"], "norm.group"),
        (["plugins=[not_there]"], "plugins: expected modules that can be imported; 'not_there'"),
        (["norm=gm"], "norm: expected one of"),
    ],
)
def test_what_is_wrong_with_them_is_said_in_one_line(
    overrides: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "model=dln", NAMED, *overrides, f"out={tmp_path}"]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_two_things_of_one_name_are_refused() -> None:
    with pytest.raises(UserError, match=r"norm: expected different names.*'bn'"):
        registry.NORMS.register("bn")(nn.Identity)
