from __future__ import annotations

from collections.abc import Callable

import pytest

from bnexp.errors import UserError
from bnexp.runs import RunDirectory

from .conftest import VGG

MakeRun = Callable[..., RunDirectory]


def test_a_config_round_trips(make_run: MakeRun) -> None:
    odd = {"text": "1e-6", "yes": "on", "tiny": 1e-6, "no": None, "many": [1, 2.5], "é": "ü: #"}
    config = make_run("a", norm=odd).read_config()
    assert config == {**VGG, "norm": odd}
    assert [*config] == [*VGG]  # in the order in which it was given, to be read by people


def test_no_flipped_bit_of_a_config_or_status_gives_other_values(make_run: MakeRun) -> None:
    directory = make_run("a")
    directory.write_status(state="done", step=123, tables={})
    for file, read in (
        (directory.config_file, directory.read_config),
        (directory.status_file, directory.read_status),
    ):
        expected, whole = read(), file.read_bytes()
        for bit in range(0, 8 * len(whole), 13):
            damaged = bytearray(whole)
            damaged[bit // 8] ^= 1 << bit % 8
            file.write_bytes(bytes(damaged))
            try:
                found = read()
            except UserError:
                continue
            # The name of the seal was hit.
            assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize("file", ["config_file", "status_file"])
def test_a_file_of_another_run_is_refused_by_name(make_run: MakeRun, file: str) -> None:
    mine, other = make_run("a"), make_run("b")
    for directory in (mine, other):
        directory.write_status(state="done", step=3)
    getattr(mine, file).write_bytes(getattr(other, file).read_bytes())
    with pytest.raises(UserError, match=r"of run a; it is of run b"):
        _ = mine.read_config(), mine.read_status()
