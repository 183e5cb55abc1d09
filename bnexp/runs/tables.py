"""Append-only tables of one run: rows are buffered, then written in whole parts."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from bnexp.errors import UserError
from bnexp.runs.columns import count, keep, to_arrow
from bnexp.runs.files import sync_folder
from bnexp.runs.parts import Part, list_parts, read_part, write_part

BUFFERED_VALUES = 1 << 22
"""So many values of one table are held in memory, 32 MB as doubles, before they become a part."""


class TableWriter:
    """Adds rows to the tables in ``tables_dir``, as its one writer (see `RunDirectory.lock`).

    Rows of one table are flushed in the order of their steps. What is killed between two flushes
    loses the rows since the last one and nothing else.
    """

    def __init__(self, tables_dir: Path) -> None:
        self._folder = tables_dir
        self._added: defaultdict[str, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
        self._values: Counter[str] = Counter()

    def add(self, table: str, columns: Mapping[str, Any]) -> None:
        """Add rows to ``table``, in memory until `flush` or until there are very many.

        Costs microseconds, but for the rare call that finds the memory full.

        Args:
            table: a lower-case name.
            columns: by name, the values of as many rows: a list or array of numbers, a list of
                strings, a list of number sequences (or a 2-D array), or one scalar for all rows.
                Scalars alone are one row. ``step`` must be among them. Values are copied.

        Raises:
            ValueError: unequal lengths, other columns than before, no ``step``, a bad name.
            OSError: the memory was full and the disk is, too.
        """
        rows, kept = keep(columns)
        added = self._added[table]
        if not added:
            if not re.fullmatch("[a-z][a-z0-9_]*", table):
                raise ValueError(f"expected a lower-case table name, not {table!r}")
            if "step" not in kept:
                raise ValueError(f"table {table} has no column step")
        elif kept.keys() != added[0][1].keys():
            raise ValueError(f"table {table} has columns {[*added[0][1]]}, not {[*kept]}")
        if not rows:
            return
        # Only between two steps: a step lies in one part.
        full = self._values[table] >= BUFFERED_VALUES
        if full and np.min(kept["step"]) > np.max(added[-1][1]["step"]):
            self._flush(table)
        added.append((rows, kept))
        self._values[table] += count(kept)

    def flush(self) -> None:
        """Write one part per table that has new rows.

        If the disk fails, the error goes on; tables already written stay written, the rows of the
        others stay in memory, and `flush` may be called again.

        Raises:
            ValueError: a row's step comes before one already on the disk (see `truncate`).
        """
        for table in self._added:
            self._flush(table)

    def _flush(self, table: str) -> None:
        if added := self._added[table]:
            _append(self._folder / table, to_arrow(added))
            added.clear()
            self._values[table] = 0

    def truncate(self, step: int) -> None:
        """Remove every row with this ``step`` or a later one, to resume from there.

        A reader sees each part either before or after. When killed half-way, call it again.
        """
        self.flush()
        for table in table_names(self._folder):
            # From the end, so that what is left is at any moment the beginning of the table.
            for part in reversed(list_parts(self._folder / table)):
                if part.last >= step:
                    _cut(part, step)

    def check(self) -> None:
        """Read all that is on the disk.

        Raises:
            UserError: a part is damaged; the message names it.
        """
        for table in table_names(self._folder):
            for part in list_parts(self._folder / table):
                read_part(part.path)


def table_names(tables_dir: Path) -> list[str]:
    """The tables in ``tables_dir`` that have rows, by name."""
    if not tables_dir.is_dir():
        return []
    return sorted(path.name for path in tables_dir.iterdir() if list_parts(path))


def read_table(tables_dir: Path, name: str) -> pd.DataFrame:
    """All rows of table ``name``, by step; an empty frame when there are none.

    A table may be read while it is being written.

    Raises:
        UserError: a part is damaged (the message names it) or does not go with the others.
    """
    folder = tables_dir / name
    parts = _read_parts(folder)
    if not parts:
        return pd.DataFrame()
    try:
        frame: pd.DataFrame = _join(parts).to_pandas()
    except pa.ArrowException as error:
        raise UserError(f"{folder}: expected parts with the same columns: {error}") from error
    if frame["step"].is_monotonic_increasing:
        return frame
    return frame.sort_values("step", kind="stable", ignore_index=True)


def _read_parts(folder: Path) -> list[pa.Table]:
    for _ in range(10):
        try:
            return [read_part(part.path) for part in list_parts(folder)]
        except FileNotFoundError:  # its run was resumed meanwhile and cut the part: look again
            continue
    raise UserError(f"{folder}: its parts change faster than they can be read; try again")


def _join(parts: list[pa.Table]) -> pa.Table:
    # Permissive: whole numbers in one part and fractions in the next are numbers.
    return pa.concat_tables(parts, promote_options="permissive")


# A part's name never understates its last step: names tell `truncate` which parts to open. So a
# part that grows is renamed before its rows are written, one that shrinks after.


def _append(folder: Path, rows: pa.Table) -> None:
    steps = rows["step"].to_numpy()
    new = Part(int(steps[0]), int(steps[-1]), folder)
    before = list_parts(folder)
    if new.first < 0:
        raise ValueError(f"{folder.name}: step {new.first} is negative")
    if not before or before[-1].last < new.first:
        write_part(new.path, rows)
        return
    old = before[-1]
    if new.first < old.last:
        raise ValueError(f"{folder.name}: step {new.first} comes after step {old.last} was written")
    # More rows of the last step: one step lies in one part.
    grown = Part(old.first, new.last, folder)
    joined = _join([read_part(old.path), rows])
    old.path.rename(grown.path)
    try:
        write_part(grown.path, joined)
    except BaseException:
        grown.path.rename(old.path)
        raise


def _cut(part: Part, step: int) -> None:
    if part.first < step:
        rows = read_part(part.path)
        steps = rows["step"].to_numpy()
        kept = rows.filter(pa.array(steps < step))
        write_part(part.path, kept)
        last = int(np.max(steps[steps < step]))
        part.path.rename(Part(part.first, last, part.folder).path)
    else:
        part.path.unlink()
    sync_folder(part.folder)
