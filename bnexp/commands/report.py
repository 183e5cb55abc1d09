"""Writes the report: one HTML page with the answer, figures, runs and what was not run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from bnexp.claims import Judgement
from bnexp.commands import claims
from bnexp.commands.choose import filtered, where_option
from bnexp.commands.repeat import command
from bnexp.commands.runs import found, plugins_option, runs_option
from bnexp.errors import UserError
from bnexp.registry import load_plugins
from bnexp.report import html
from bnexp.runs import Run, write_atomic


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``bnexp report``."""
    runs_option(parser)
    where_option(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: report.html by the runs")
    plugins_option(parser)


def main(arguments: argparse.Namespace) -> int:
    """Run ``bnexp report``: write the page and print where; returns 0."""
    load_plugins(arguments.plugins)
    root = arguments.runs
    runs = filtered(found(root), arguments.where)
    if not runs:
        raise UserError(f"--runs {root}: expected a folder of runs; there are none in it")
    where = root.parent if root.name == "runs" else root
    out = arguments.out or where / "report.html"
    print(write(runs, claims.judge([], runs, root), out))
    return 0


def write(runs: Sequence[Run], judgements: Sequence[Judgement], out: Path) -> Path:
    """Write the page of ``runs`` and ``judgements`` to the file ``out``, which is returned."""
    text = html(runs, judgements, {run.id: command(run.config) for run in runs})
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, text)
    return out
