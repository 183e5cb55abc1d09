"""Draws any column of any table over steps or any setting; runs that differ in seeds are bands.

bnexp plot train.loss --hue batch_size --col optim.lr --log y
bnexp plot eval.accuracy --x batch_size --log x --where split=test
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bnexp.commands.choose import filtered, where_option
from bnexp.commands.runs import found, runs_option
from bnexp.figures.draw import FORMATS, write_figure
from bnexp.figures.plot import INDICES, Plot
from bnexp.registry import expect, one_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``bnexp plot``."""
    add = parser.add_argument
    add("what", metavar="TABLE.COLUMN", help="such as train.loss or smoothness.beta")
    key = "a config key or a column of the table"
    add("--x", default="step", metavar="KEY", help=f"{key} (default: step)")
    add("--hue", default="norm", metavar="KEY", help=f"a line for each value of {key}")
    add("--col", default="", metavar="KEY", help="likewise a column of panels")
    add("--row", default="", metavar="KEY", help="likewise a row of panels")
    add("--log", default="", choices=["", "x", "y", "xy"], help="logarithmic axes")
    where_option(parser)
    runs_option(parser)
    add("--out", type=Path, metavar="FILE", help=".png or .pdf (default: beside the runs)")


def main(arguments: argparse.Namespace) -> int:
    """Draw, say on stderr what was pooled, print where the file is; returns 0."""
    table, _, column = arguments.what.partition(".")
    expect(bool(table and column), "TABLE.COLUMN", "such as train.loss", arguments.what)
    root = arguments.runs.parent if arguments.runs.name == "runs" else arguments.runs
    out: Path = arguments.out or root / "figures" / f"{table}.{column}.png"
    one_of("--out", out.suffix[1:], FORMATS)
    on_rows = [c for c in arguments.where if c.partition("=")[0].strip() in (*INDICES, "step")]
    runs = found(arguments.runs)
    expect(bool(runs), f"--runs {arguments.runs}", "a folder with runs", "none")
    runs = filtered(runs, [c for c in arguments.where if c not in on_rows])
    rows = {key.strip(): text.split(",") for key, _, text in (c.partition("=") for c in on_rows)}
    axes = {name: getattr(arguments, name) for name in ("x", "hue", "col", "row", "log")}
    page = Plot(table, column, **axes, rows=rows).draw(runs)
    for warning in page.warnings:
        print(f"bnexp: {warning}", file=sys.stderr)
    print(write_figure(page.figure, out))
    return 0
