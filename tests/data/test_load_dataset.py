from __future__ import annotations

import sys
from typing import Any

import pytest

from bnexp.data import dataset_options, fingerprint, load_dataset
from bnexp.errors import UserError
from bnexp.registry import DATASETS, load_plugins
from tests.data.conftest import CONFIGS, defaults

PLUGIN = """
import torch
from dataclasses import dataclass
from bnexp.data import DataOptions, Dataset, Split
from bnexp.registry import DATASETS, positive

@dataclass(frozen=True)
class LineOptions(DataOptions):
    slope: float

    def check(self, key):
        super().check(key)
        positive(f"{key}.slope", self.slope)

@DATASETS.register(
    "line_of_a_user", LineOptions, task="regression", fingerprint=lambda options: str(options.slope)
)
def line(options, seed):
    x = torch.arange(3, dtype=torch.float64)[:, None] + seed
    return Dataset(options.label or "line", Split(x, options.slope * x))
"""


def test_a_users_own_data_set_is_one_file(tmp_path: Any, monkeypatch: Any) -> None:
    (tmp_path / "line_plugin.py").write_text(PLUGIN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    built_in = {name: DATASETS[name] for name in DATASETS.names()}
    monkeypatch.setattr(DATASETS, "_entries", built_in)
    load_plugins(["line_plugin"])
    cfg = {"name": "line_of_a_user", "label": None, "augment": False, "slope": 2}
    data = load_dataset(cfg, 5)
    assert data.train.targets.flatten().tolist() == [10, 12, 14]
    assert (data.label, fingerprint(cfg)) == ("line", "2.0")
    with pytest.raises(UserError, match=r"data\.slope: expected a positive number; got -1"):
        fingerprint(cfg | {"slope": -1})
    with pytest.raises(UserError, match=r"data\.slop: no such key.*did you mean data\.slope\?"):
        fingerprint(cfg | {"slop": 1})


def test_every_data_set_has_a_file_of_defaults_that_its_options_accept() -> None:
    names = {path.stem for path in CONFIGS.glob("*.yaml")}
    assert names == set(DATASETS.names())
    for name in names:
        given = {"images": {"path": "x"}, "gaussian": {"d": 3}}.get(name, {})
        assert dataset_options(defaults(name, **given)).name == name


@pytest.mark.parametrize("name", ["mnist", None, 3])
def test_unknown_name_lists_the_known_ones(name: object) -> None:
    for function in (fingerprint, lambda cfg: load_dataset(cfg, 0)):
        with pytest.raises(UserError, match=r"data: expected one of .*cifar10.*got"):
            function({"name": name})
