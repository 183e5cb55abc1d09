"""The one place that opens files for writing: whole or not at all, never half there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from bnexp.errors import UserError

TEMPORARY_SUFFIX = ".tmp"

SEAL = "sha256"
"""The key of a JSON file whose value is the SHA-256 of the others, so that damage is seen."""


def write_atomic(path: Path, content: bytes | str) -> None:
    """Make ``content`` (text as UTF-8) the content of ``path`` in one step, complete on the disk.

    Until then it lies beside ``path`` under a hidden name. If the disk fails, that is removed,
    ``path`` is as it was, and the ``OSError`` goes on to the caller. The folder is made if need be.
    """
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        sync_folder(path.parent.parent)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}{TEMPORARY_SUFFIX}")
    try:
        with temporary.open("xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in ``folder`` to the disk, lest a checkpoint outlive the tables before it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # Some network file systems refuse to sync a folder; the files themselves are safe.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def expect_plain(path: Path) -> None:
    """Raise a `UserError` where ``path`` is a pipe or device, which would be read for ever."""
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: expected a plain file")


def read_text(path: Path) -> str:
    """The UTF-8 text of ``path``; a file that cannot be read is a `UserError` naming it."""
    try:
        expect_plain(path)
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: expected UTF-8 text; the file is damaged") from error


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``; a damaged file is a `UserError`. Old ones have no seal."""
    try:
        value = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: expected a JSON object; the file is damaged") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected a JSON object")
    if value.pop(SEAL, None) not in (None, _seal(value)):
        raise UserError(f"{path}: expected it as bnexp wrote it; the file is damaged")
    return value


def as_yaml(value: Mapping[str, Any]) -> str:
    """``value`` as YAML, by libyaml where it is there."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump(value, Dumper=dumper, sort_keys=False, allow_unicode=True))


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write ``value`` as JSON, sealed; NaN and infinities, which JSON lacks, become null."""
    finite = json.loads(json.dumps(plain(value)), parse_constant=lambda _: None)
    sealed = {**finite, SEAL: _seal(finite)}
    write_atomic(path, json.dumps(sealed, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _seal(value: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def plain(value: Any) -> Any:
    """``value`` in dicts with string keys, lists, str, int, float, bool and None only."""

    def reduced(item: Any) -> Any:
        if isinstance(item, Path):
            return str(item)
        if hasattr(item, "tolist"):  # NumPy's arrays and numbers
            return item.tolist()
        raise TypeError(f"no plain form for {item!r} of type {type(item).__name__}")

    return json.loads(json.dumps(value, default=reduced))
