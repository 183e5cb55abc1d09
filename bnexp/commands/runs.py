"""One line per run that is there: id, config, state, progress."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from bnexp.runs import Run, find_runs, folders_of_runs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``bnexp runs``."""
    runs_option(parser)


def runs_option(parser: argparse.ArgumentParser) -> None:
    """``--runs``, as all commands have it that read runs."""
    parser.add_argument(
        "--runs", type=Path, default=Path("outputs"), metavar="DIR", help="default: outputs"
    )


def plugins_option(parser: argparse.ArgumentParser) -> None:
    """``--plugins``: what a run directory's config names is never imported."""
    parser.add_argument(
        "--plugins",
        type=lambda text: [name for name in text.split(",") if name],
        default=os.environ.get("BNEXP_PLUGINS", ""),  # as argparse does, through type
        metavar="MODULE,..",
        help="modules with figures and claims of your own (default: $BNEXP_PLUGINS)",
    )


def found(root: Path) -> list[Run]:
    """The runs below ``root``; where there are none, says on stderr in which folders some are."""
    there = find_runs(root)
    below = [str(folder) for folder in folders_of_runs(root)] if not there else []
    if below:
        print(f"bnexp: no runs in {root}; there are some in {', '.join(below)}", file=sys.stderr)
    return there


def main(arguments: argparse.Namespace) -> int:
    """Print one line per run; returns the exit code."""
    rows = [("id", "model", "norm", "data", "lr", "seed", "state", "step")]
    for run in found(arguments.runs):
        step = f"{run.status.get('step', 0)}/{run.status.get('steps', run.steps)}"
        named = (run.id, run.model, run.norm, run.data)
        rows.append((*named, f"{run.lr:g}", str(run.seed), run.state, step))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(map(str.ljust, row, widths)).rstrip())
    return 0
