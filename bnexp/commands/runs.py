"""One line per run that is there: id, config, state, progress; or those behind a number."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bnexp.analysis.select import select
from bnexp.registry import load_plugins, one_of
from bnexp.runs import Run, find_runs, folders_of_runs, versions
from bnexp.runs.files import read_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``bnexp runs``."""
    runs_option(parser)
    plugins_option(parser)
    parser.add_argument(
        "--of",
        metavar="ID",
        help="only the runs that a figure (fig4) or claim (4.7) is made from, with their revision",
    )


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


def number_of(option: str, name: str, known: Sequence[str]) -> str:
    """The one of ``known`` that ``name`` means: ``4``, ``04`` or ``fig4``; `UserError` if none."""
    number = name if name in known else name.lower().removeprefix("fig").lstrip("0").upper()
    one_of(option, number if number in known else name, known)
    return number


def behind(name: str, runs: Sequence[Run]) -> list[Run]:
    """Those of ``runs`` that the figure or claim ``name`` is made from.

    Raises:
        UserError: there is no such figure or claim.
    """
    from bnexp.claims import all_claims
    from bnexp.figures import figure, figure_ids

    needs = {number: figure(number).needs for number in figure_ids()}
    needs |= {number: claim.needs for number, claim in all_claims().items()}
    matches = select(needs[number_of("--of", name, list(needs))], runs).matches
    made_from = {run.id for met in matches.values() for run in met}
    return [run for run in runs if run.id in made_from]


def main(arguments: argparse.Namespace) -> int:
    """Print one line per run; returns the exit code."""
    load_plugins(arguments.plugins)
    rows = [["id", "model", "norm", "data", "lr", "seed", "state", "step"]]
    runs = found(arguments.runs)
    if arguments.of is not None:
        runs = behind(arguments.of, runs)
        rows[0].append("revision")
    for run in runs:
        step = f"{run.status.get('step', 0)}/{run.status.get('steps', run.steps)}"
        named = [run.id, run.model, run.norm, run.data]
        rows.append([*named, f"{run.lr:g}", str(run.seed), run.state, step])
        if arguments.of is not None:
            rows[-1].append(str(read_json(run.directory.env_file).get("git_revision")))
    if (codes := versions((run.id, run.config) for run in runs)) > 1:
        words = f"{codes} versions of the code: the last four characters of their ids differ"
        print(f"bnexp: runs of one kind were made by {words}", file=sys.stderr)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(map(str.ljust, row, widths)).rstrip())
    return 0
