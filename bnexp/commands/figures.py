"""``bnexp figures``: only draws, from the runs that are there."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bnexp.commands.runs import found, plugins_option, runs_option
from bnexp.errors import UserError
from bnexp.figures import FIGURES, FORMATS, PAPER, draw_figures, missing_message, select
from bnexp.registry import load_plugins
from bnexp.runs import Run


def run(ids: Sequence[str], *, runs: Path, out: Path | None, formats: str, paper: bool) -> int:
    """Draw the figures ``ids`` (all by default) from the runs below ``runs``.

    Returns 0, or 1 when a figure was asked for by number and none of its runs are there.
    """
    wanted = chosen(ids)
    formats_of(formats)
    there = found(runs)
    if not ids:  # of our own figures those that there are runs for
        wanted += [one for one in FIGURES if one not in PAPER and _drawable(one, there)]
    target = out or (runs.parent if runs.name == "runs" else runs) / "figures"
    drawn = draw(wanted, there, target, formats, paper=paper)
    print(target)
    return 1 if ids and drawn < len(wanted) else 0


def chosen(ids: Sequence[str]) -> list[str]:
    """The figures named by ``ids`` (``4``, ``04``, ``fig4``, ``E5``), each once.

    By default all of the paper's.

    Raises:
        UserError: there is no such figure.
    """
    names: list[str] = []
    for given in ids:
        name = given.strip().lower().removeprefix("fig").lstrip("0").upper()
        if name not in FIGURES:
            raise UserError(f"figures: expected all or some of {','.join(FIGURES)}; got '{given}'")
        if name in names:
            raise UserError(f"figures: expected each figure once; got {name} twice")
        names.append(name)
    return names or list(PAPER)


def _drawable(one: str, runs: Sequence[Run]) -> bool:
    """Whether there are runs that were made for it, not only for the paper's figures."""
    found = select(FIGURES[one].needs, runs).found
    return any(met for need, met in found.items() if need.beyond_the_paper)


def formats_of(formats: str) -> list[str]:
    """The file formats named by ``formats``, separated by commas.

    Raises:
        UserError: one of them is not known.
    """
    names = [name.strip() for name in formats.split(",")]
    for name in names:
        if name not in FORMATS:
            raise UserError(f"--format: expected some of {','.join(FORMATS)}; got '{name}'")
    return list(dict.fromkeys(names))


def draw(ids: Sequence[str], runs: Sequence[Run], out: Path, formats: str, *, paper: bool) -> int:
    """Draw, say on stderr what was drawn and what is missing; returns how many were drawn."""
    try:
        results = draw_figures(ids, runs, out, formats_of(formats), paper)
    except OSError as error:
        raise UserError(
            f"--out {out}: expected a folder that can be written; {error.strerror}"
        ) from None
    for one in results:
        for path in one.paths:
            print(path, file=sys.stderr)
    if (message := missing_message(results)) is not None:
        print(message, file=sys.stderr)
    return sum(bool(one.paths) for one in results)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``bnexp figures``."""
    parser.add_argument("ids", nargs="*", metavar="ID", help="figures to draw (default: all)")
    runs_option(parser)
    parser.add_argument("--out", type=Path, help="where to put them (default: beside the runs)")
    parser.add_argument("--format", default="png,pdf", help="default: png,pdf")
    parser.add_argument("--no-paper", action="store_true", help="leave the paper's own curves out")
    plugins_option(parser)


def main(arguments: argparse.Namespace) -> int:
    """Run ``bnexp figures``; returns the exit code."""
    load_plugins(arguments.plugins)
    return run(
        arguments.ids,
        runs=arguments.runs,
        out=arguments.out,
        formats=arguments.format,
        paper=not arguments.no_paper,
    )
