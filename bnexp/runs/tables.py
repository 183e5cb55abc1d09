"""The tables of one run, each in parts: Parquet files written once, whole, and with a checkpoint.

A manifest says per table which parts there are, with the rows and the SHA-256 of each. It stands in
the status and in every checkpoint, so that a part that is missing, of other bytes or too many is
named. Runs from before there were manifests have every part that lies in their folders.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bnexp.errors import UserError
from bnexp.runs.files import sync_folder, write_atomic

INTEGERS = frozenset({"step", "layer", "unit", "iterations"})
"""Columns that count: int64 whatever they are given as. All other numbers are doubles, so that a
column's type never depends on the values in one part."""

_NAME = re.compile(r"(\d{9,})-(\d{9,})\.parquet")

Values = np.ndarray[Any, Any] | list[np.ndarray[Any, Any]]
Manifest = dict[str, list[dict[str, Any]]]
"""Per table the ``name``, ``rows``, ``bytes`` and ``sha256`` of its parts, by step."""


@dataclass(frozen=True)
class Part:
    """A part of a table, named after its first and last step, and its manifest entry if any."""

    path: Path
    entry: Mapping[str, Any] | None = None

    @property
    def steps(self) -> tuple[int, int]:
        """Its first and its last step."""
        first, last = map(int, self.path.stem.split("-"))
        return first, last


def list_parts(folder: Path, manifest: Manifest | None = None) -> list[Part]:
    """The parts of the table in ``folder`` by step: those that ``manifest`` lists, or all there."""
    if manifest is not None:
        return [Part(folder / entry["name"], entry) for entry in manifest.get(folder.name, [])]
    there = folder.iterdir() if folder.is_dir() else ()
    parts = [Part(path) for path in there if _NAME.fullmatch(path.name)]
    return sorted(parts, key=lambda part: part.steps)


def table_names(tables_dir: Path, manifest: Manifest | None = None) -> list[str]:
    """The tables that have rows, by name: those in ``manifest``, or all in ``tables_dir``."""
    if manifest is not None:
        return sorted(table for table, parts in manifest.items() if parts)
    return sorted(path.name for path in tables_dir.glob("*/") if list_parts(path))


def missing(tables_dir: Path, manifest: Manifest, ended: bool) -> list[str]:
    """What of ``manifest`` is not in ``tables_dir``, in words, by names and sizes.

    Parts beyond it count where the run ``ended``; before that the next checkpoint may list them.
    """
    problems = []
    for table in sorted({*manifest, *table_names(tables_dir)}):
        there = {part.path.name: part.path for part in list_parts(tables_dir / table)}
        for entry in manifest.get(table, []):
            path = there.pop(entry["name"], None)
            if path is None or path.stat().st_size != entry["bytes"]:
                state = "missing" if path is None else "damaged"
                problems.append(f"table {table}: part {entry['name']} is {state}")
        if ended:
            problems += [f"table {table}: part {name} does not belong to it" for name in there]
    return problems


class TableWriter:
    """Adds rows to the tables in ``tables_dir``, as its one writer (see `RunDirectory.lock`).

    Rows come in the order of their steps, all of one step between two flushes. ``check`` is called
    before anything is written; it raises where the run is not this process's.
    """

    def __init__(self, tables_dir: Path, check: Callable[[], None] = lambda: None) -> None:
        self._folder, self._check = tables_dir, check
        self._rows: dict[str, list[tuple[int, dict[str, Values]]]] = {}
        self._manifest: Manifest = {}
        self.buffered = 0
        """The number of values in memory; a checkpoint writes them."""

    def add(self, table: str, columns: Mapping[str, Any]) -> None:
        """Add rows to ``table``, in memory until `flush`; costs microseconds.

        ``columns`` gives by name, ``step`` among them, the values of as many rows: numbers,
        strings, number sequences (or a 2-D array), or one scalar for all rows. Values are copied.
        """
        if not re.fullmatch("[a-z][a-z0-9_]*", table) or "step" not in columns:
            raise ValueError(f"expected a lower-case table name and a column step; got {table!r}")
        values = {name: _values(name, value) for name, value in columns.items()}
        lengths = {len(v) for v in values.values() if isinstance(v, list) or v.ndim} or {1}
        if len(lengths) > 1:
            raise ValueError(f"table {table}: columns have {sorted(lengths)} rows")
        added = self._rows.setdefault(table, [])
        if added and added[0][1].keys() != values.keys():
            raise ValueError(f"table {table} has columns {[*added[0][1]]}, not {[*values]}")
        if rows := lengths.pop():
            added.append((rows, values))
            self.buffered += _size(values)

    def flush(self) -> Manifest:
        """Write one part per table that has new rows; returns the manifest of all parts.

        If the disk fails, rows not yet written stay in memory, and `flush` may be called again.
        """
        self._check()
        for table, added in self._rows.items():
            if added:
                rows = _joined(added)
                parts = self._manifest.setdefault(table, [])
                first = rows["step"][0].as_py()
                if parts and first <= Part(Path(parts[-1]["name"])).steps[1]:
                    raise ValueError(f"{table}: step {first} or a later one was written before")
                parts.append(_write_part(self._folder / table, rows))
                self.buffered -= sum(_size(values) for _, values in added)
                added.clear()
        return deepcopy(self._manifest)

    def restore(self, manifest: Manifest) -> None:
        """Go back to ``manifest``: forget rows in memory and remove the parts it does not list.

        Write the status with this manifest first: it must not list parts that are removed.
        """
        self._check()
        if problems := missing(self._folder, manifest, ended=False):
            what = "; ".join(problems)
            raise UserError(f"{self._folder.parent}: {what}; remove it to start anew")
        for part in [p for table in manifest for p in list_parts(self._folder / table, manifest)]:
            read_part(part, ["step"])
        for folder in self._folder.glob("*/"):
            listed = {part.path for part in list_parts(folder, manifest)}
            for part in list_parts(folder):
                if part.path not in listed:
                    part.path.unlink()
            sync_folder(folder)
        self._rows, self._manifest, self.buffered = {}, deepcopy(manifest), 0


def read_table(
    tables_dir: Path,
    name: str,
    manifest: Manifest | None = None,
    columns: Collection[str] | None = None,
    **where: Any,
) -> pd.DataFrame:
    """The rows of table ``name`` by step; an empty frame when there are none.

    ``manifest`` says which parts to read and what they must be; without it all that are there.
    ``columns`` and ``where`` are as in `Run.table`. It may be written meanwhile.
    """
    wanted: dict[str, list[Any]] = {
        key: [value] if isinstance(value, int | float | str) else list(value)
        for key, value in where.items()
    }
    chosen = None if columns is None else list(dict.fromkeys(columns))
    needed = None if chosen is None else {*chosen, "step"}
    tables = [
        read_part(part, needed, wanted)
        for part in list_parts(tables_dir / name, manifest)
        if all(wanted.values())
        and any(part.steps[0] <= step <= part.steps[1] for step in wanted.get("step", part.steps))
    ]
    if not tables:
        return pd.DataFrame({column: pd.Series(dtype=np.float64) for column in chosen or ()})
    try:
        # Permissive: older runs may have whole numbers in one part and fractions in the next.
        frame: pd.DataFrame = pa.concat_tables(tables, promote_options="permissive").to_pandas()
    except pa.ArrowException as error:
        raise UserError(f"{tables_dir / name}: its parts do not go together: {error}") from error
    if not frame["step"].is_monotonic_increasing:
        frame = frame.sort_values("step", kind="stable", ignore_index=True)
    return frame if chosen is None else frame[chosen]


def read_part(
    part: Part,
    columns: Collection[str] | None = None,
    where: Mapping[str, Collection[Any]] | None = None,
) -> pa.Table:
    """The ``columns`` (all if None) of the rows that have one of the values in ``where``."""
    path, where = part.path, where or {}
    try:
        data = path.read_bytes()
        if part.entry is not None and part.entry["sha256"] != hashlib.sha256(data).hexdigest():
            raise ValueError("SHA-256")
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        if not pa.types.is_int64(file.schema_arrow.field("step").type):
            raise ValueError("the steps are no whole numbers")
        if lacking := {*(columns or ()), *where} - {*file.schema_arrow.names}:
            raise ValueError(f"no column {', '.join(sorted(lacking))}")
        needed = None if columns is None else [*{*columns, *where}]
        rows = file.read(columns=needed, use_threads=False)
        for name, values in where.items():
            rows = rows.filter(pc.is_in(rows[name], pa.array(values, rows[name].type)))
    except FileNotFoundError:
        raise UserError(f"{path}: table {path.parent.name}: part {path.name} is missing") from None
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        reason = str(error).partition("\n")[0][:120]
        raise UserError(
            f"{path}: expected a table part as bnexp wrote it; the file is damaged ({reason})"
        ) from error
    return rows if columns is None else rows.select([*columns])


def _write_part(folder: Path, rows: pa.Table) -> dict[str, Any]:
    """Write ``rows``, sorted by step, as a part in ``folder``; returns its manifest entry."""
    steps, sink = rows["step"], pa.BufferOutputStream()
    # Doubles hardly repeat, so a dictionary of them only costs; it would also merge kinds of NaN.
    repeating = [f.name for f in rows.schema if f.type in (pa.int64(), pa.string())]
    options = {"compression": "zstd", "write_statistics": False, "write_page_checksum": True}
    pq.write_table(rows, sink, use_dictionary=repeating, store_schema=False, **options)
    data = sink.getvalue().to_pybytes()
    name = f"{steps[0].as_py():09d}-{steps[-1].as_py():09d}.parquet"
    write_atomic(folder / name, data)
    digest = hashlib.sha256(data).hexdigest()
    return {"name": name, "rows": rows.num_rows, "bytes": len(data), "sha256": digest}


def _values(name: str, value: Any) -> Values:
    """A copy of ``value`` as int64, float64 (None is NaN), bool or, for text, objects."""
    is_column = isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim)
    if is_column and len(value) and np.ndim(value[0]):
        return [np.array(row, np.float64) for row in value]
    array = np.array(value)
    if name in INTEGERS:
        if not np.array_equal(whole := array.astype(np.int64), array):
            raise ValueError(f"column {name} counts: expected whole numbers")
        return whole
    if array.dtype.kind == "U":
        return array.astype(object)
    return array if array.dtype.kind == "b" else array.astype(np.float64)


def _size(values: Mapping[str, Values]) -> int:
    return sum(sum(map(len, v)) if isinstance(v, list) else v.size for v in values.values())


def _joined(added: list[tuple[int, dict[str, Values]]]) -> pa.Table:
    """All rows, one below the other, sorted by step."""
    table = pa.table({name: _column(name, added) for name in added[0][1]})
    steps = table["step"].to_numpy()
    return table.take(np.argsort(steps, kind="stable")) if np.any(np.diff(steps) < 0) else table


def _column(name: str, added: list[tuple[int, dict[str, Values]]]) -> pa.Array:
    if isinstance(added[0][1][name], list):
        lists = [row for _, values in added for row in values[name]]
        offsets = np.cumsum([0, *map(len, lists)], dtype=np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(lists)))
    arrays = [np.broadcast_to(values[name], rows) for rows, values in added]
    if len({array.dtype for array in arrays}) > 1:
        raise ValueError(f"column {name} mixes kinds of values")
    values = np.concatenate(arrays)
    return pa.array(values, pa.string() if values.dtype.kind == "O" else None)
