"""``bnexp figures``: only draws, from the runs that are there."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from bnexp.analysis.select import Selection
from bnexp.commands.choose import filtered, where_option
from bnexp.commands.runs import found, number_of, plugins_option, runs_option
from bnexp.figures import FORMATS, draw_figures, figure_ids, message
from bnexp.registry import expect, load_plugins, one_of
from bnexp.runs import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``bnexp figures``."""
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
    wanted, formats = chosen(arguments.ids), formats_of(arguments.format)
    norms, lrs = listed(arguments.norms), lrs_of(arguments.lr)
    runs = filtered(found(arguments.runs), arguments.where)
    root = arguments.runs.parent if arguments.runs.name == "runs" else arguments.runs
    out = arguments.out or root / "figures"
    drawn = draw(wanted, runs, out, formats, not arguments.no_paper, norms, lrs)
    print(out)
    return 1 if arguments.ids and any(its.empty for its in drawn.values()) else 0


def listed(text: str | None) -> list[str]:
    """The different parts of ``text`` between commas; none of None."""
    return [] if text is None else list(dict.fromkeys(map(str.strip, text.split(","))))


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
    return names or [name for name in known if name.isdecimal()]


def lrs_of(text: str | None) -> list[float]:
    """The learning rates given by ``--lr``."""
    try:
        rates = [float(part) for part in listed(text)]
    except ValueError:
        rates = [math.nan]
    ok = all(0 < rate < math.inf for rate in rates)
    expect(ok, "--lr", "positive numbers separated by commas", text)
    return rates


def formats_of(text: str) -> list[str]:
    """The file formats given by ``--format``; `UserError` for unknown ones."""
    for name in listed(text):
        one_of("--format", name, FORMATS)
    return listed(text)


def draw(
    ids: Sequence[str],
    runs: Sequence[Run],
    out: Path,
    formats: Sequence[str],
    paper: bool,
    norms: Sequence[str] = (),
    lrs: Sequence[float] = (),
) -> dict[str, Selection]:
    """`draw_figures`; says on stderr what was drawn and what is missing."""
    paths, drawn = draw_figures(ids, runs, out, formats, paper, norms, lrs)
    print(*filter(None, [*map(str, paths), message(drawn)]), sep="\n", file=sys.stderr)
    return drawn
