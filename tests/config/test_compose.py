"""Every config composes and checks; presets change sizes and never a definition."""

from __future__ import annotations

import itertools
from pathlib import Path

import pandas as pd
import pytest

from bnexp.config import check, compose, config_dir, expand
from bnexp.config.compose import choices
from bnexp.config.expand import recipe_configs, recipes
from bnexp.errors import UserError


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (config_dir() / group).glob("*.yaml"))


MODELS, PRESETS = names("model"), names("preset")


@pytest.mark.parametrize(("model", "preset"), list(itertools.product(MODELS, PRESETS)))
def test_every_model_composes_under_every_preset(model: str, preset: str) -> None:
    config = check(compose([f"model={model}", f"preset={preset}"]))
    images = "cifar10" if preset in ("cpu", "paper") else config.data.name
    assert config.model.name == model
    assert config.data.name == ("gaussian" if model == "dln" else images)


def test_the_defaults_are_the_papers() -> None:
    vgg = compose([])
    assert (vgg["model"]["depth"], vgg["model"]["width"]) == (16, 1.0)
    assert (vgg["steps"], vgg["batch_size"]) == (15_000, 128)
    optim = vgg["optim"]
    assert (optim["lr"], optim["momentum"], optim["weight_decay"]) == (0.1, 0.0, 5e-4)
    assert set(vgg["probes"]["landscape"]["etas"]) >= {0.5, 1, 2, 4}
    assert vgg["probes"]["landscape"]["every"] == vgg["probes"]["gradient_shift"]["every"] == 100
    dln = compose(["model=dln"])
    assert (dln["model"]["k"], dln["model"]["d"], dln["steps"]) == (25, 10, 10_000)
    assert (dln["batch_size"], dln["precision"], dln["optim"]["lr"]) == (None, "float64", 1e-6)
    assert dln["probes"]["landscape"]["etas"] == pytest.approx([10**e for e in (-2, -1, 0, 1, 1.5)])
    assert dln["model"]["loss"] == "sum_squares"
    assert dln["data"]["samples"] == 1000


SIZES = ("model.width", "model.init", "steps", "batch_size", "preset", "data.", "measure.")


@pytest.mark.parametrize(("model", "preset"), list(itertools.product(MODELS, PRESETS)))
def test_a_preset_changes_only_sizes_and_schedules(model: str, preset: str) -> None:
    configs = [compose([f"model={model}", f"preset={p}"]) for p in ("none", preset)]
    of_none, of_preset = (pd.json_normalize(config).T[0].to_dict() for config in configs)
    differing = {k for k in of_none | of_preset if of_none.get(k) != of_preset.get(k)}
    schedules = {key for key in differing if key.startswith("probes.")}
    assert all(key.startswith(SIZES) for key in differing - schedules)
    assert all(key.endswith((".every", ".layers")) for key in schedules)
    if preset == "paper":
        assert all(key.startswith(("preset", "data.")) for key in differing)


@pytest.mark.parametrize("name", recipes())
def test_every_recipe_composes(name: str) -> None:
    seeds: dict[str, set[int]] = {}
    for request in expand([f"experiment={name}", "preset=quick"]):
        kind = {key: v for key, v in request.items() if not key.startswith("seed")}
        seeds.setdefault(str(kind), set()).add(request["seed"])
        if len(seeds[str(kind)]) == 1:
            check(request)
    assert len(set(map(frozenset, seeds.values()))) == 1, "every kind of run has the same seeds"


def test_a_swept_config_is_the_one_that_hydra_composes() -> None:
    axes = {"model": ["dln", "vgg"], "norm": ["none", "bn"], "seed": ["0", "1"]}
    axes |= {"measure.every": ["3", "4"], "out": ["a", "'b c'"]}
    axes |= {"probes.landscape.etas": ["[1,2]", "[3]"]}
    sweep = [f"{key}={','.join(values)}" for key, values in axes.items()]
    configs = list(expand([*sweep, "seed_data=7"]))
    alone = list(itertools.product(*([f"{k}={v}" for v in values] for k, values in axes.items())))
    assert len(configs) == len(alone) == 2**6
    for config, overrides in list(zip(configs, alone, strict=True))[::13]:
        assert config == compose([*overrides, "seed_data=7"])


def test_an_override_replaces_what_a_recipe_sweeps_over() -> None:
    requests = recipe_configs(["fig5a"], ["preset=quick", "norm=l1", "seed=4,5"])
    assert {(r["norm"]["name"], r["seed"]) for r in requests} == {("l1", 4), ("l1", 5)}


def test_overrides_of_some_networks_leave_the_others_alone() -> None:
    both = ["data=digits", "model.width=0.5", "model.k=3", "data.samples=20", "steps=7"]
    requests = recipe_configs(["fig3a", "fig3b"], both)
    vgg, dln = requests[0], requests[-1]
    assert (vgg["model"]["width"], vgg["data"]["name"], vgg["steps"]) == (0.5, "digits", 7)
    assert (dln["model"]["k"], dln["data"]["name"], dln["data"]["samples"]) == (3, "gaussian", 20)
    with pytest.raises(UserError, match=r"model\.foo"):
        recipe_configs(["fig3a", "fig3b"], ["model.foo=3"])


def test_equal_values_spelled_otherwise_are_one_config() -> None:
    left, right = (check(compose([f"optim.lr={text}"])) for text in ("0.1", "'1e-1'"))
    assert left.plain == right.plain


def test_yaml_of_the_users_own_is_found(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "norm").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\nhydra: {sweeper: {params: {norm: 'gentle,bn', seed: '0,1'}}}\n"
    )
    (tmp_path / "norm" / "gentle.yaml").write_text("name: bn\neps: 0.1\nmomentum: 0.1\n")
    search = f"hydra.searchpath=[{tmp_path}]"
    assert "gentle" in choices("norm", [search])
    found = {(r["norm"]["eps"], r["seed"]) for r in recipe_configs(["mine"], [search])}
    assert found == set(itertools.product((0.1, 1e-5), (0, 1)))
