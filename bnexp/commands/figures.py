"""``bnexp figures``: only draws, from the runs that are there."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from bnexp.commands.choose import filtered, where_option
from bnexp.commands.runs import found, number_of, plugins_option, runs_option
from bnexp.errors import UserError
from bnexp.figures import FORMATS, draw_figures, figure, figure_ids, message
from bnexp.registry import expect, load_plugins, one_of
from bnexp.runs import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``bnexp figures``."""
    add = parser.add_argument
    add("ids", nargs="*", metavar="ID", help="figures to draw (default: the paper's)")
    runs_option(parser)
    add("--out", type=Path, help="where to put them (default: beside the runs)")
    add("--format", default="png,pdf", help="default: png,pdf")
    add("--no-paper", action="store_true", help="leave the paper's own curves out")
    where_option(parser)
    add("--norms", help="draw these instead of the figure's own: none,bn,gn")
    add("--lr", help="draw these learning rates instead of the figure's own")
    plugins_option(parser)


def main(arguments: argparse.Namespace) -> int:
    """Run ``bnexp figures``.

    Returns 0, or 1 when a figure was asked for by number and none of its runs are there.
    """
    load_plugins(arguments.plugins)
    wanted = chosen(arguments.ids)
    formats_of(arguments.format)
    norms = [] if arguments.norms is None else list(map(str.strip, arguments.norms.split(",")))
    ok = "" not in norms and len(set(norms)) == len(norms)
    expect(ok, "--norms", "different names separated by commas", arguments.norms)
    lrs = lrs_of(arguments.lr)
    runs = filtered(found(arguments.runs), arguments.where)
    root = arguments.runs.parent if arguments.runs.name == "runs" else arguments.runs
    out = arguments.out or root / "figures"
    paper = not arguments.no_paper
    drawn = draw(wanted, runs, out, arguments.format, paper=paper, norms=norms, lrs=lrs)
    print(out)
    return 1 if arguments.ids and drawn < len(wanted) else 0


def chosen(ids: Sequence[str]) -> list[str]:
    """The figures named by ``ids`` (``4``, ``04``, ``fig4``, ``E5``, a plug-in's) or the paper's.

    Raises:
        UserError: there is no such figure.
    """
    known, names = figure_ids(), list[str]()
    for name in map(str.strip, ids):
        number = number_of("figures", name, known)
        expect(number not in names, "figures", "each figure once", name)
        names.append(number)
    return names or [name for name in known if figure(name).of_paper]


def lrs_of(text: str | None) -> list[float]:
    """The learning rates given by ``--lr``."""
    try:
        rates = [] if text is None else [float(part) for part in text.split(",")]
    except ValueError:
        rates = [math.nan]
    ok = all(0 < rate < math.inf for rate in rates)
    expect(ok, "--lr", "positive numbers separated by commas", text)
    return list(dict.fromkeys(rates))


def formats_of(formats: str) -> list[str]:
    """The file formats named by ``formats``, separated by commas; `UserError` for unknown ones."""
    names = [name.strip() for name in formats.split(",")]
    for name in names:
        one_of("--format", name, FORMATS)
    return list(dict.fromkeys(names))


def draw(
    ids: Sequence[str],
    runs: Sequence[Run],
    out: Path,
    formats: str,
    *,
    paper: bool,
    norms: Sequence[str] = (),
    lrs: Sequence[float] = (),
) -> int:
    """Draw, say on stderr what was drawn and what is missing; returns how many were drawn."""
    try:
        results = draw_figures(ids, runs, out, formats_of(formats), paper, norms, lrs)
    except OSError as error:
        raise UserError(
            f"--out {out}: expected a folder that can be written; {error.strerror}"
        ) from None
    lines = [str(path) for result in results for path in result.paths]
    print(*filter(None, [*lines, message(results)]), sep="\n", file=sys.stderr)
    return sum(bool(result.paths) for result in results)
