from __future__ import annotations

import pytest

from bnexp.data import dataset_options, fingerprint, load_dataset
from bnexp.errors import UserError
from bnexp.registry import DATASETS
from tests.data.conftest import CONFIGS, defaults


def test_every_data_set_has_a_file_of_defaults_that_its_options_accept() -> None:
    names = {path.stem for path in CONFIGS.glob("*.yaml")}
    assert names == set(DATASETS.names())
    for name in names:
        given = {"images": {"path": "x"}, "gaussian": {"d": 3}}.get(name, {})
        assert dataset_options(defaults(name, **given)).name == name


@pytest.mark.parametrize("name", ["imagenet", None, 3])
def test_unknown_name_lists_the_known_ones(name: object) -> None:
    for function in (fingerprint, lambda cfg: load_dataset(cfg, 0)):
        with pytest.raises(UserError, match=r"data: expected one of .*cifar10.*got"):
            function({"name": name})
