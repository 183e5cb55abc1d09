"""Writes all tables, joined with the settings of their runs, as files that other tools read.

Not-a-number and infinities are kept by csv, parquet and duckdb, and null in json.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from bnexp.commands.choose import filtered, where_option
from bnexp.commands.runs import found, runs_option
from bnexp.errors import UserError
from bnexp.registry import expect
from bnexp.runs import joined, settings
from bnexp.runs.files import TEMPORARY_SUFFIX


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``bnexp export``."""
    kinds = "a file per table, for duckdb one with all (default: parquet)"
    parser.add_argument("--format", default="parquet", choices=list(WRITERS), help=kinds)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="a new or empty folder"
    )
    where_option(parser)
    runs_option(parser)


def main(arguments: argparse.Namespace) -> int:
    """Write the folder, whole or not at all, and print where it is; returns 0."""
    write, out = WRITERS[arguments.format], arguments.out
    expect(not out.exists() or (out.is_dir() and not any(out.iterdir())), "--out",
           "a new or empty folder", str(out))  # fmt: skip
    runs = filtered(found(arguments.runs), arguments.where)
    names = sorted({name for run in runs for name in run.table_names()})
    expect(bool(names), f"--runs {arguments.runs}", "runs with tables", "none")
    keys = settings(runs)
    part = out.with_name(f".{out.name}{TEMPORARY_SUFFIX}")
    shutil.rmtree(part, ignore_errors=True)  # of a call that was killed
    part.mkdir(parents=True)
    try:
        for name in names:
            write(joined(runs, keys, name), name, part)
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    print(out)
    return 0


def _csv(frame: pd.DataFrame, name: str, folder: Path) -> None:
    for column in (name for name in frame if frame[name].dtype == object):
        frame[column] = frame[column].map(_list_as_text, na_action="ignore")
    frame.to_csv(folder / f"{name}.csv", index=False, na_rep="nan")


def _list_as_text(value: object) -> object:
    return json.dumps(value.tolist()) if isinstance(value, np.ndarray) else value


def _parquet(frame: pd.DataFrame, name: str, folder: Path) -> None:
    frame.to_parquet(folder / f"{name}.parquet", index=False)


def _json(frame: pd.DataFrame, name: str, folder: Path) -> None:
    frame.to_json(folder / f"{name}.json", orient="records", double_precision=15)


def _duckdb(frame: pd.DataFrame, name: str, folder: Path) -> None:
    try:
        import duckdb
    except ImportError:
        raise UserError(
            "--format duckdb: expected the package duckdb; pip install 'bnexp[duckdb]' brings it"
        ) from None
    frame.to_parquet(folder / "part.parquet", index=False)
    with duckdb.connect(str(folder / "bnexp.duckdb")) as database:
        source = str(folder / "part.parquet").replace("'", "''")
        database.execute(f"CREATE TABLE \"{name}\" AS SELECT * FROM read_parquet('{source}')")
    (folder / "part.parquet").unlink()


WRITERS: dict[str, Callable[[pd.DataFrame, str, Path], None]] = {
    "csv": _csv,
    "parquet": _parquet,
    "json": _json,
    "duckdb": _duckdb,
}
