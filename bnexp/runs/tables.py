"""The tables of one run, each in parts: Parquet files written once, whole, and with a checkpoint.

A manifest lists the parts of each table, with the rows and the SHA-256 of each. It stands in the
status and in every checkpoint, so that a part that is missing, of other bytes or too many is named.
Runs from before there were manifests have every part that lies in their folders.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bnexp.errors import UserError
from bnexp.runs.files import expect_plain, sync_folder, write_atomic

INTEGERS = frozenset({"step", "layer", "unit", "iterations"})
"""Columns that count: int64 whatever they are given as. All other numbers are doubles, so that a
column's type never depends on the values in one part."""

KEYS = frozenset({"eta", "beta_eta", "lr"})
"""Columns by whose values rows are found."""

Manifest = dict[str, list[dict[str, Any]]]
"""Per table its parts by step, each with ``name``, ``rows``, ``bytes`` and ``sha256``."""


def parts_in(tables_dir: Path) -> Manifest:
    """The parts that lie in ``tables_dir``, of which only the names are known."""
    names = re.compile(r"\d{9,}-\d{9,}\.parquet")  # the first and the last step
    return {
        folder.name: [{"name": p.name} for p in sorted(folder.iterdir()) if names.fullmatch(p.name)]
        for folder in sorted(tables_dir.glob("*/"))
    }


def missing(tables_dir: Path, manifest: Manifest, ended: bool) -> list[str]:
    """What of ``manifest`` is not in ``tables_dir``, in words, by names and sizes.

    Parts beyond it count where the run ``ended``; before that the next checkpoint may list them.
    """
    problems = []
    there = parts_in(tables_dir)
    for table in sorted({*manifest, *there}):
        names = {part["name"] for part in there.get(table, [])}
        for part in manifest.get(table, []):
            if part["name"] not in names:
                problems.append(f"table {table}: part {part['name']} is missing")
            elif (tables_dir / table / part["name"]).stat().st_size != part["bytes"]:
                problems.append(f"table {table}: part {part['name']} is damaged")
            names.discard(part["name"])
        if ended:
            problems += [f"table {table}: part {name} does not belong to it" for name in names]
    return problems


class TableWriter:
    """Adds rows to the tables in ``tables_dir``, as its one writer (see `RunDirectory.lock`).

    All rows of one step come between two flushes. ``check`` is called before anything is written;
    it raises where the run is not this process's. In the tables named in ``single``, numbers that
    fit are written in single precision, but those of `KEYS`.
    """

    def __init__(
        self,
        tables_dir: Path,
        check: Callable[[], None] = lambda: None,
        single: Collection[str] = (),
    ) -> None:
        self._folder, self._check, self._single = tables_dir, check, single
        self._rows: dict[str, list[dict[str, np.ndarray[Any, Any]]]] = {}
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
        values = [_values(name, value) for name, value in columns.items()]
        added = self._rows.setdefault(table, [])
        if added and added[0].keys() != columns.keys():
            raise ValueError(f"table {table} has columns {[*added[0]]}, not {[*columns]}")
        named = dict(zip(columns, np.broadcast_arrays(*values), strict=True))
        if len(np.atleast_1d(named["step"])):
            added.append(named)
            sizes = (sum(map(len, v.flat)) if v.dtype == object else v.size for v in values)
            self.buffered += sum(sizes)

    def flush(self) -> Manifest:
        """Write one part per table that has new rows; returns the manifest of all parts."""
        self._check()
        for table, added in self._rows.items():
            if added:
                rows = pa.table({name: _column(name, added) for name in added[0]}).sort_by("step")
                parts = self._manifest.setdefault(table, [])
                first = rows["step"][0].as_py()
                if parts and first <= _steps(parts[-1])[1]:
                    raise ValueError(f"{table}: step {first} or a later one was written before")
                rows = _in_single(rows) if table in self._single else rows
                parts.append(_write_part(self._folder / table, rows))
                added.clear()
        self.buffered = 0
        return deepcopy(self._manifest)

    def restore(self, manifest: Manifest) -> None:
        """Go back to ``manifest``: forget rows in memory and remove the parts it does not list.

        Write the status with this manifest first: it must not list parts that are removed.
        """
        self._check()
        if problems := missing(self._folder, manifest, ended=False):
            what = "; ".join(problems)
            raise UserError(f"{self._folder.parent}: {what}; remove it to start anew")
        for table, parts in manifest.items():
            for part in parts:
                read_part(self._folder / table, part, ["step"])
        for table, parts in parts_in(self._folder).items():
            listed = {part["name"] for part in manifest.get(table, [])}
            for name in {part["name"] for part in parts} - listed:
                (self._folder / table / name).unlink()
            sync_folder(self._folder / table)
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
    tables = []
    for part in (parts_in(tables_dir) if manifest is None else manifest).get(name, []):
        first, last = _steps(part)
        if any(first <= step <= last for step in wanted.get("step", [first])):
            needed = None if chosen is None else [*dict.fromkeys([*chosen, "step"])]
            tables.append(read_part(tables_dir / name, part, needed, wanted))
    if not tables:
        return pd.DataFrame(columns=chosen, dtype=np.float64)
    try:
        # Permissive: older runs may have whole numbers in one part and fractions in the next.
        rows = pa.concat_tables(tables, promote_options="permissive")
        types = {f.name: pa.float64() if f.type == pa.float32() else f.type for f in rows.schema}
        rows = rows.cast(pa.schema(types.items()))
    except pa.ArrowException as error:
        raise UserError(f"{tables_dir / name}: its parts do not go together: {error}") from error
    steps = rows["step"].to_numpy()
    if (np.diff(steps) < 0).any():
        rows = rows.take(np.argsort(steps, kind="stable"))
    return pd.DataFrame({n: rows[n].to_numpy() for n in chosen or rows.column_names})


def read_part(
    folder: Path,
    part: Mapping[str, Any],
    columns: list[str] | None = None,
    where: Mapping[str, Collection[Any]] | None = None,
) -> pa.Table:
    """The ``columns`` (all if None) of the rows that have one of the values in ``where``."""
    path, where = folder / part["name"], where or {}
    expect_plain(path)
    try:
        data = path.read_bytes()
        if part.get("sha256") not in (None, hashlib.sha256(data).hexdigest()):
            raise ValueError("SHA-256")
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        needed = None if columns is None else [*dict.fromkeys([*columns, *where])]
        if needed and (lacking := {*needed} - {*file.schema_arrow.names}):
            raise ValueError(f"no column {', '.join(sorted(lacking))}")
        rows = file.read(needed, use_threads=False)
        for name, values in where.items():
            rows = rows.filter(pc.is_in(rows[name], pa.array(values, rows[name].type)))
        if not pa.types.is_int64(rows.schema.field("step").type):
            raise ValueError("the steps are no whole numbers")
        return rows
    except FileNotFoundError:
        raise UserError(f"{path}: table {folder.name}: part {path.name} is missing") from None
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        reason = str(error).partition("\n")[0][:120]
        raise UserError(
            f"{path}: expected a table part as bnexp wrote it; the file is damaged ({reason})"
        ) from error


def _steps(part: Mapping[str, Any]) -> tuple[int, int]:
    """The first and the last step in a part, which is named after them."""
    first, last = part["name"].removesuffix(".parquet").split("-")
    return int(first), int(last)


def _write_part(folder: Path, rows: pa.Table) -> dict[str, Any]:
    """Write ``rows``, sorted by step, as a part in ``folder``; returns its manifest entry."""
    steps, sink = rows["step"], pa.BufferOutputStream()
    # Doubles hardly repeat, so a dictionary of them only costs; it would also merge kinds of NaN.
    repeating = [f.name for f in rows.schema if f.type in (pa.int64(), pa.string())]
    singles = {f.name: "BYTE_STREAM_SPLIT" for f in rows.schema if f.type == pa.float32()}
    options = {"compression": "zstd", "write_statistics": False, "write_page_checksum": True}
    options |= {"use_dictionary": repeating, "column_encoding": singles or None}
    pq.write_table(rows, sink, store_schema=False, **options)
    data = sink.getvalue().to_pybytes()
    name = f"{steps[0].as_py():09d}-{steps[-1].as_py():09d}.parquet"
    write_atomic(folder / name, data)
    digest = hashlib.sha256(data).hexdigest()
    return {"name": name, "rows": rows.num_rows, "bytes": len(data), "sha256": digest}


def _in_single(rows: pa.Table) -> pa.Table:
    """``rows`` with its columns of doubles in single precision, where that can hold them."""
    for place, field in enumerate(rows.schema):
        if field.type == pa.float64() and field.name not in KEYS:
            sizes = np.abs(rows[field.name].to_numpy())
            sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
            if not len(sizes) or (sizes.min() > 1e-37 and sizes.max() < 1e38):
                single = rows[field.name].cast(pa.float32(), safe=False)
                rows = rows.set_column(place, field.name, single)
    return rows


def _values(name: str, value: Any) -> np.ndarray[Any, Any]:
    """A copy of ``value`` as int64, float64 (None is NaN), bool or, for text and lists, objects."""
    array: np.ndarray[Any, Any]
    is_column = isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim)
    if is_column and len(value) and np.ndim(value[0]):
        array = np.empty(len(value), object)
        for place, row in enumerate(value):
            array[place] = np.array(row, np.float64)
        return array
    array = np.array(value)
    if name in INTEGERS:
        if not np.array_equal(whole := array.astype(np.int64), array):
            raise ValueError(f"column {name} counts: expected whole numbers")
        return whole
    kinds = {"U": object, "b": bool}
    return array.astype(kinds.get(array.dtype.kind, np.float64))


def _column(name: str, added: list[dict[str, np.ndarray[Any, Any]]]) -> pa.Array:
    """The values of column ``name``, one below the other."""
    arrays = [np.atleast_1d(values[name]) for values in added]
    if len({array.dtype for array in arrays}) > 1:
        raise ValueError(f"column {name} mixes kinds of values")
    return pa.array(np.concatenate(arrays))
