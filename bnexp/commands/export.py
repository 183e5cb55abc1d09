"""Writes all tables, joined with the settings of their runs, as files that other tools read.

Not-a-number and infinities are kept by csv, parquet and duckdb, and null in json.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from bnexp.commands.choose import filtered, where_option
from bnexp.commands.runs import found, runs_option
from bnexp.errors import UserError
from bnexp.registry import expect
from bnexp.runs import joined, settings
from bnexp.runs.files import TEMPORARY_SUFFIX

FORMATS = ("csv", "parquet", "json", "duckdb")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``bnexp export``."""
    kinds = "a file per table, for duckdb one with all (default: parquet)"
    parser.add_argument("--format", default="parquet", choices=FORMATS, help=kinds)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="a new or empty folder"
    )
    where_option(parser)
    runs_option(parser)


def main(arguments: argparse.Namespace) -> int:
    """Write the folder, whole or not at all, and print where it is; returns 0."""
    out = arguments.out
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
            write(joined(runs, keys, name), name, arguments.format, part)
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    print(out)
    return 0


def write(frame: pd.DataFrame, name: str, kind: str, folder: Path) -> None:
    """Write table ``name`` in the format ``kind``; into one file with all others for duckdb."""
    file = folder / f"{name}.{kind}"
    if kind == "parquet":
        frame.to_parquet(file, index=False)
    elif kind == "json":
        frame.to_json(file, orient="records", double_precision=15)
    elif kind == "csv":
        for column in frame.select_dtypes("object"):
            frame[column] = frame[column].map(_list_as_text, na_action="ignore")
        frame.to_csv(file, index=False, na_rep="nan")
    else:
        try:
            import duckdb
        except ImportError:
            raise UserError(
                "--format duckdb: expected the package duckdb; pip install 'bnexp[duckdb]'"
            ) from None
        with duckdb.connect(str(folder / "bnexp.duckdb")) as database:
            database.register("rows", pa.Table.from_pandas(frame, preserve_index=False))
            database.execute(f'CREATE TABLE "{name}" AS SELECT * FROM rows')


def _list_as_text(value: object) -> object:
    return json.dumps(value.tolist()) if isinstance(value, np.ndarray) else value
