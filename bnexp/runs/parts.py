"""The parts of a table: Parquet files that are written once, whole, and listed in a manifest.

The manifest says per table which parts there are, with the rows and the SHA-256 of each. It stands
in the status and in every checkpoint, so that a part that is missing, of other bytes or too many is
named. Runs from before there were manifests have every part that lies in their folders.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bnexp.errors import UserError
from bnexp.runs.files import write_atomic

_NAME = re.compile(r"(\d{9,})-(\d{9,})\.parquet")

Manifest = dict[str, list[dict[str, Any]]]
"""Per table the ``name``, ``rows``, ``bytes`` and ``sha256`` of its parts, by step."""


@dataclass(frozen=True)
class Part:
    """A part of a table with steps ``first`` .. ``last``, and its entry in the manifest if any."""

    path: Path
    entry: Mapping[str, Any] | None = None

    @property
    def first(self) -> int:
        """The first step, as in the file's name."""
        return int(self.path.name.split("-")[0])

    @property
    def last(self) -> int:
        """The last step, as in the file's name."""
        return int(self.path.stem.split("-")[1])

    def may_hold(self, steps: Collection[int] | None) -> bool:
        """Whether one of ``steps`` (None: any at all) may be in it."""
        return steps is None or any(self.first <= step <= self.last for step in steps)


def list_parts(folder: Path, manifest: Manifest | None = None) -> list[Part]:
    """The parts of the table in ``folder`` by step: those that ``manifest`` lists, or all there."""
    if manifest is not None:
        return [Part(folder / entry["name"], entry) for entry in manifest.get(folder.name, [])]
    if not folder.is_dir():
        return []
    parts = [Part(path) for path in folder.iterdir() if _NAME.fullmatch(path.name)]
    return sorted(parts, key=lambda part: (part.first, part.last))


def missing(tables_dir: Path, manifest: Manifest, ended: bool) -> list[str]:
    """What of ``manifest`` is not in ``tables_dir``, in words, by names and sizes.

    Where the run ``ended``, parts beyond the manifest count, too; before that there may be some
    that the next checkpoint will list.
    """
    problems = []
    folders = {path.name for path in tables_dir.glob("*/") if list_parts(path)}
    for table in sorted({*manifest, *folders}):
        there = {part.path.name: part.path for part in list_parts(tables_dir / table)}
        for entry in manifest.get(table, []):
            path = there.pop(entry["name"], None)
            if path is None:
                problems.append(f"table {table}: part {entry['name']} is missing")
            elif path.stat().st_size != entry["bytes"]:
                problems.append(f"table {table}: part {entry['name']} is damaged")
        if ended:
            problems += [f"table {table}: part {name} does not belong to it" for name in there]
    return problems


def write_part(folder: Path, rows: pa.Table) -> dict[str, Any]:
    """Write ``rows``, sorted by step, as a part in ``folder``; returns its manifest entry."""
    steps = rows["step"]
    sink = pa.BufferOutputStream()
    # Doubles hardly repeat, so a dictionary of them only costs; it would also merge kinds of NaN.
    repeating = [
        f.name for f in rows.schema if pa.types.is_integer(f.type) or f.type == pa.string()
    ]
    pq.write_table(
        rows,
        sink,
        compression="zstd",
        use_dictionary=repeating,
        write_statistics=False,
        write_page_checksum=True,
        store_schema=False,
    )
    data = sink.getvalue().to_pybytes()
    name = f"{steps[0].as_py():09d}-{steps[-1].as_py():09d}.parquet"
    write_atomic(folder / name, data)
    digest = hashlib.sha256(data).hexdigest()
    return {"name": name, "rows": rows.num_rows, "bytes": len(data), "sha256": digest}


def read_part(
    part: Part,
    columns: Collection[str] | None = None,
    where: Mapping[str, Collection[Any]] | None = None,
) -> pa.Table:
    """The ``columns`` (all if None) of the rows whose columns have one of the values in ``where``.

    Raises:
        UserError: as `open_part`, or the part lacks a column.
    """
    file, where = open_part(part.path, part.entry), where or {}
    with _named(part.path):
        if lacking := {*(columns or ()), *where} - {*file.schema_arrow.names}:
            raise ValueError(f"no column {', '.join(sorted(lacking))}")
        needed = None if columns is None else [*{*columns, *where}]
        rows = file.read(columns=needed, use_threads=False)
        for name, values in where.items():
            rows = rows.filter(pc.is_in(rows[name], pa.array(values, rows[name].type)))
        return rows if columns is None else rows.select([*columns])


def open_part(path: Path, entry: Mapping[str, Any] | None = None) -> pq.ParquetFile:
    """The part ``path``, in memory, known to be the one that its manifest ``entry`` lists.

    Raises:
        UserError: the part is missing, damaged or cannot be read; the message names it.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: table {path.parent.name}: part {path.name} is missing") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    with _named(path):
        if entry is not None and entry["sha256"] != hashlib.sha256(data).hexdigest():
            raise ValueError("SHA-256")
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        if not pa.types.is_int64(file.schema_arrow.field("step").type):
            raise ValueError("the steps are no whole numbers")
        return file


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        reason = str(error).partition("\n")[0][:120]
        raise UserError(
            f"{path}: expected a table part as bnexp wrote it; the file is damaged ({reason})"
        ) from error
