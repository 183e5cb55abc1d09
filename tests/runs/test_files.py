from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bnexp.errors import UserError
from bnexp.runs import write_atomic
from bnexp.runs.files import SEAL, read_json, write_json


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("content", [b"\x00\xff", "é\n", b""])
def test_what_is_written_is_read(tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "new" / "folder" / "file"
    write_atomic(path, content)
    write_atomic(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert names(path.parent) == ["file"]


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("error", [FULL, KeyboardInterrupt()])
@pytest.mark.parametrize("call", ["os.fsync", "pathlib.Path.replace"])
def test_a_full_disk_or_an_interrupt_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: BaseException
) -> None:
    def full(*args: Any) -> None:
        assert path.read_text() == "old"
        raise error

    path = tmp_path / "file"
    write_atomic(path, "old")
    monkeypatch.setattr(call, full)
    with pytest.raises(type(error)):
        write_atomic(path, "new")
    assert names(tmp_path) == ["file"]
    assert path.read_text() == "old"


def test_json_is_strict_and_round_trips(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    write_json(path, {"step": np.int64(3), "loss": float("nan"), "at": Path("x"), "é": (1, 2.5)})

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    strict = json.loads(path.read_text(), parse_constant=refuse)
    del strict[SEAL]
    assert strict == read_json(path) == {"step": 3, "loss": None, "at": "x", "é": [1, 2.5]}


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000])
def test_damaged_json_is_named_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "status.json"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_json(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
