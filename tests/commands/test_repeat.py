"""The command of a run composes to the run's own config, whatever was set."""

from __future__ import annotations

import shlex

import pytest

from bnexp.commands.repeat import command
from bnexp.commands.sweep import planned
from bnexp.config import check, compose
from bnexp.config.expand import recipe_configs


def same_run(config: dict) -> bool:
    """Whether the command of ``config`` asks for the run with the same id."""
    (wanted,) = planned([config])
    words = shlex.split(command(wanted.config.plain))
    assert words[:2] == ["bnexp", "train"]
    return planned([compose(words[2:])])[0].id == wanted.id


@pytest.mark.parametrize(
    "overrides",
    [
        "preset=quick model=vgg norm=noisy_bn norm.n_sigma=1.5 seed=7 optim.lr=0.03",
        "preset=quick model=dln model.dropout=0.25",
        "preset=quick model=dln norm=l1 seed=3 seed_data=11 data.samples=50 ~probes.moments",
        "preset=cpu model=vgg data=digits probes=sharpness model.head=[32,16] batch_size=64",
        "preset=quick model=resnet norm=bn measure.every=7 probes.landscape.direction=random",
        "preset=none model=dln probes=theory steps=123 optim.weight_decay=1e-3 precision=float32",
        "preset=quick model=vgg probes=none batch_size=16 optim.momentum=0.9",
    ],
)
def test_the_command_of_a_run_makes_the_run_with_its_id(overrides: str) -> None:
    assert same_run(compose(shlex.split(overrides)))


def test_so_does_that_of_a_recipes_run() -> None:
    for config in recipe_configs(["figE3b", "figE5a"], ["preset=quick", "seed=2"])[::2]:
        assert same_run(config)


def test_a_config_of_another_version_has_no_command() -> None:
    config = check(compose(["preset=quick", "model=dln"])).plain
    for other in ({**config, "warp": 9}, {**config, "model": {**config["model"], "gone": 1}}):
        assert command(other) == ""
    assert command({key: value for key, value in config.items() if key != "precision"}) == ""
    assert command({**config, "norm": {"name": "nowhere"}}) == ""
