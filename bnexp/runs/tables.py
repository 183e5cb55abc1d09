"""The tables of one run: rows are kept in memory and written in whole parts with a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from bnexp.errors import UserError
from bnexp.runs.files import sync_folder
from bnexp.runs.parts import Manifest, Part, list_parts, missing, read_part, write_part

INTEGERS = frozenset({"step", "layer", "unit", "iterations"})
"""Columns that count: int64 whatever they are given as. All other numbers are doubles, so that a
column's type never depends on the values in one part."""

Values = np.ndarray[Any, Any] | list[np.ndarray[Any, Any]]


class TableWriter:
    """Adds rows to the tables in ``tables_dir``, as its one writer (see `RunDirectory.lock`).

    Rows come in the order of their steps, all of one step between two flushes.

    Args:
        tables_dir: the folder of the tables.
        check: called before anything is written; it raises where the run is not this process's.
    """

    def __init__(self, tables_dir: Path, check: Callable[[], None] = lambda: None) -> None:
        self._folder, self._check = tables_dir, check
        self._rows: dict[str, list[tuple[int, dict[str, Values]]]] = {}
        self._manifest: Manifest = {}
        self.buffered = 0
        """The number of values in memory; a checkpoint writes them."""

    def add(self, table: str, columns: Mapping[str, Any]) -> None:
        """Add rows to ``table``, in memory until `flush`; costs microseconds.

        Args:
            table: a lower-case name.
            columns: by name, the values of as many rows: a list or array of numbers, a list of
                strings, a list of number sequences (or a 2-D array), or one scalar for all rows.
                Scalars alone are one row. ``step`` must be among them. Values are copied.

        Raises:
            ValueError: unequal lengths, other columns than before, no ``step``, a bad name, a
                column that mixes text and numbers, or a counting one with a fraction.
        """
        if not re.fullmatch("[a-z][a-z0-9_]*", table):
            raise ValueError(f"expected a lower-case table name, not {table!r}")
        if "step" not in columns:
            raise ValueError(f"table {table} has no column step")
        values = {name: _values(name, value) for name, value in columns.items()}
        lengths = {len(v) for v in values.values() if isinstance(v, list) or v.ndim} or {1}
        if len(lengths) > 1:
            raise ValueError(f"table {table}: columns have {sorted(lengths)} rows")
        added = self._rows.setdefault(table, [])
        if added and added[0][1].keys() != values.keys():
            raise ValueError(f"table {table} has columns {[*added[0][1]]}, not {[*values]}")
        if rows := lengths.pop():
            added.append((rows, values))
            self.buffered += sum(map(_size, values.values()))

    def flush(self) -> Manifest:
        """Write one part per table that has new rows; returns the manifest of all parts.

        If the disk fails, the error goes on; tables already written stay written, the rows of the
        others stay in memory, and `flush` may be called again.

        Raises:
            ValueError: a row's step does not come after those already on the disk.
        """
        self._check()
        for table, added in self._rows.items():
            if added:
                rows = _joined(added)
                parts = self._manifest.setdefault(table, [])
                first = rows["step"][0].as_py()
                last = Part(Path(parts[-1]["name"])).last if parts else -1
                if first <= last:
                    raise ValueError(f"{table}: step {first} comes after step {last} was written")
                parts.append(write_part(self._folder / table, rows))
                self.buffered -= sum(_size(v) for _, values in added for v in values.values())
                added.clear()
        return deepcopy(self._manifest)

    def restore(self, manifest: Manifest) -> None:
        """Go back to ``manifest``: forget rows in memory and remove the parts it does not list.

        Write the status with this manifest first: it must not list parts that are removed.

        Raises:
            UserError: a listed part is missing or of other bytes; nothing is removed then.
        """
        self._check()
        problems = missing(self._folder, manifest, ended=False)
        if problems:
            raise UserError(
                f"{self._folder.parent}: {'; '.join(problems)}; remove it to start anew"
            )
        for table in manifest:
            for part in list_parts(self._folder / table, manifest):
                read_part(part, ["step"])
        listed = {(table, entry["name"]) for table, parts in manifest.items() for entry in parts}
        for folder in self._folder.glob("*/"):
            for part in list_parts(folder):
                if (folder.name, part.path.name) not in listed:
                    part.path.unlink()
            sync_folder(folder)
        self._rows, self._manifest, self.buffered = {}, deepcopy(manifest), 0


def table_names(tables_dir: Path, manifest: Manifest | None = None) -> list[str]:
    """The tables that have rows, by name: those in ``manifest``, or all in ``tables_dir``."""
    if manifest is not None:
        return sorted(table for table, parts in manifest.items() if parts)
    if not tables_dir.is_dir():
        return []
    return sorted(path.name for path in tables_dir.iterdir() if list_parts(path))


def read_table(
    tables_dir: Path,
    name: str,
    manifest: Manifest | None = None,
    columns: Collection[str] | None = None,
    **where: Any,
) -> pd.DataFrame:
    """The rows of table ``name`` by step; an empty frame when there are none.

    A table may be read while it is being written.

    Args:
        tables_dir: the folder of the tables.
        name: the table.
        manifest: the parts to read and what they must be; without it all that are there.
        columns: which columns, in this order; all if None.
        where: by column, the value or collection of values that rows must have.

    Raises:
        UserError: a part is missing or damaged, lacks a column or does not go with the others.
    """
    folder = tables_dir / name
    wanted: dict[str, list[Any]] = {
        key: [value] if isinstance(value, int | float | str) else list(value)
        for key, value in where.items()
    }
    chosen = None if columns is None else list(dict.fromkeys(columns))
    needed = None if chosen is None else {*chosen, "step"}
    tables = [
        read_part(part, needed, wanted)
        for part in list_parts(folder, manifest)
        if all(wanted.values()) and part.may_hold(wanted.get("step"))
    ]
    if not tables:
        return pd.DataFrame({column: pd.Series(dtype=np.float64) for column in chosen or ()})
    try:
        # Permissive: older runs may have whole numbers in one part and fractions in the next.
        joined = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise UserError(f"{folder}: expected parts with the same columns: {error}") from error
    frame: pd.DataFrame = joined.to_pandas()
    if not frame["step"].is_monotonic_increasing:
        frame = frame.sort_values("step", kind="stable", ignore_index=True)
    return frame if chosen is None else frame[chosen]


def _values(name: str, value: Any) -> Values:
    """A copy of ``value`` as int64, float64 (None is NaN), bool or, for text, objects."""
    if (
        isinstance(value, list | tuple)
        and value
        and isinstance(value[0], list | tuple | np.ndarray)
    ):
        return [np.array(row, np.float64) for row in value]
    array = np.array(value)
    if array.ndim > 1:
        return [np.array(row, np.float64) for row in array]
    kind = array.dtype.kind
    if kind in "UO":
        # NumPy makes text of numbers beside text, so ask the values themselves.
        texts = [isinstance(item, str) for item in (value if array.ndim else [value])]
        if any(texts):
            if name in INTEGERS or not all(texts):
                raise ValueError(f"column {name} mixes text and numbers")
            return array.astype(object)
    if name in INTEGERS:
        numbers = array if kind in "iu" else array.astype(np.float64)
        if not np.all(np.isfinite(numbers) & (numbers % 1 == 0)):
            raise ValueError(f"column {name} counts: expected whole numbers")
        return array.astype(np.int64)
    return array if kind == "b" else array.astype(np.float64)


def _size(values: Values) -> int:
    return sum(row.size for row in values) if isinstance(values, list) else values.size


def _joined(added: list[tuple[int, dict[str, Values]]]) -> pa.Table:
    """All rows, one below the other, sorted by step."""
    table = pa.table({name: _column(name, added) for name in added[0][1]})
    steps = table["step"].to_numpy()
    if np.any(steps[1:] < steps[:-1]):
        table = table.take(np.argsort(steps, kind="stable"))
    return table


def _column(name: str, added: list[tuple[int, dict[str, Values]]]) -> pa.Array:
    pieces = [(rows, values[name]) for rows, values in added]
    if isinstance(pieces[0][1], list):
        lists = [row for _, value in pieces for row in value]
        offsets = np.cumsum([0, *map(len, lists)], dtype=np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(lists)))
    arrays = [np.broadcast_to(value, rows) for rows, value in pieces]
    if len({array.dtype for array in arrays}) > 1:
        raise ValueError(f"column {name} mixes kinds of values")
    values = np.concatenate(arrays)
    return pa.array(values, pa.string() if values.dtype.kind == "O" else None)
