from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bnexp.runs import EXCLUDED, siblings, versions
from bnexp.runs import run_id as name_of

from .conftest import DLN, VGG, changed


def run_id(config: dict[str, Any], fingerprint: str, code: str = "07c1e5") -> str:
    return name_of(config, fingerprint, code)


def test_an_id_reads_as_model_norm_and_hashes_of_config_and_code() -> None:
    model, norm, digest, code = run_id(VGG, "f").split("-")
    assert (model, norm, code) == ("vgg16", "bn", "07c1")
    assert len(digest) == 12
    int(digest, 16)


def test_an_id_is_the_same_on_every_machine_and_in_every_version() -> None:
    # Changing it orphans everybody's runs. Made with sha256sum from
    # {"config":{"model":{"name":"dln"},"norm":{"name":"l1"},"seed":1},"data":"f"}
    config = {"model": {"name": "dln"}, "norm": {"name": "l1"}, "seed": 1}
    assert run_id(config, "f") == "dln-l1-bd0b0f0a2a8c-07c1"


def test_runs_of_other_code_are_known_by_their_names(tmp_path: Path) -> None:
    names = [run_id(VGG, "f", code) for code in ("aaaa", "bbbb", "cccc")]
    others = [run_id(DLN, "f", "dddd"), names[0][:-5], f"{names[0]}-more", f"{names[0][:-4]}eeee"]
    for name in [*names, *others[:-1]]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").touch()
    assert [path.name for path in siblings(tmp_path, names[0])] == names[1:]
    assert siblings(tmp_path / "none", names[0]) == []


def test_versions_of_the_code_are_counted_among_runs_of_one_kind() -> None:
    old, new = name_of(DLN, "Gaussian", "a" * 4), name_of(DLN, "Gaussian", "b" * 4)
    vgg = name_of(VGG, "digits", "c" * 4)
    assert versions([(old, DLN), (vgg, VGG)]) == 1
    assert versions([(old, DLN), (new, DLN), (vgg, VGG)]) == 2
    assert versions([("vgg16-bn-7bbe34da4a02", VGG), (vgg, VGG)]) == 2


@pytest.mark.parametrize("name", ["../../etc", "a/b", "", "été", "A B"])
def test_an_id_is_one_plain_folder_name(name: str) -> None:
    made = run_id(changed(VGG, model__name=name), "f")
    assert Path(made).name == made
    assert made.isascii()
    assert not made.startswith((".", "-"))


@pytest.mark.parametrize(
    ("key", "one", "other"),
    [
        ("optim__lr", 1, 1.0),
        ("optim__lr", 0.1, 1e-1),
        ("optim__lr", 1e-6, 0.000001),
        ("optim__lr", 0.5, np.float64(0.5)),
        ("optim__momentum", 0.0, -0.0),
        ("seed", 3, np.int64(3)),
        ("probes__landscape__etas", [1, 2], (1.0, 2.0)),
        ("data__extra", Path("a/b"), "a/b"),
    ],
)
def test_the_spelling_of_a_value_does_not_matter(key: str, one: Any, other: Any) -> None:
    assert run_id(changed(VGG, **{key: one}), "f") == run_id(changed(VGG, **{key: other}), "f")


@pytest.mark.parametrize("key", sorted(EXCLUDED))
@pytest.mark.parametrize("value", ["x", {"nested": 1}, None])
def test_what_cannot_change_the_numbers_does_not_matter(key: str, value: Any) -> None:
    assert run_id(changed(VGG, **{key.replace(".", "__"): value}), "f") == run_id(VGG, "f")


def test_of_the_device_only_the_type_matters() -> None:
    ids = {d: run_id(changed(VGG, device=d), "f") for d in ("cpu", "cuda", "cuda:0", "cuda:1")}
    assert ids["cuda"] == ids["cuda:0"] == ids["cuda:1"]
    assert ids["cpu"] != ids["cuda"]


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, True), (0, False), (0, None), (1, "1"), (0.1, 0.1 + 2**-56), ([1, 2], [2, 1])],
)
def test_values_that_differ_are_told_apart(one: Any, other: Any) -> None:
    assert run_id(changed(VGG, x=one), "f") != run_id(changed(VGG, x=other), "f")
