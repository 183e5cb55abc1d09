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
    named = os.environ.get("BNEXP_PLUGINS", "")
    parser.add_argument(
        "--plugins",
        type=lambda text: [name for name in text.split(",") if name],
        default=[name for name in named.split(",") if name],
        metavar="MODULE,..",
        help="modules with figures and claims of your own (default: $BNEXP_PLUGINS)",
    )


def main(arguments: argparse.Namespace) -> int:
    """Run ``bnexp runs``; returns the exit code."""
    return run(arguments.runs)


def found(root: Path) -> list[Run]:
    """The runs below ``root``; where there are none, says on stderr in which folders some are."""
    there = find_runs(root)
    below = [str(folder) for folder in folders_of_runs(root)] if not there else []
    if below:
        print(f"bnexp: no runs in {root}; there are some in {', '.join(below)}", file=sys.stderr)
    return there


def run(root: Path) -> int:
    """Print one line per run below ``root``; returns the exit code."""
    there = found(root)
    rows = [("id", "model", "norm", "data", "lr", "seed", "state", "step")]
    for one in there:
        step = f"{one.status.get('step', 0)}/{one.status.get('steps', one.steps)}"
        data = one.data
        lr, seed = f"{one.lr:g}", str(one.seed)
        rows.append((one.id, one.model, one.norm, data, lr, seed, one.state, step))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
    return 0
